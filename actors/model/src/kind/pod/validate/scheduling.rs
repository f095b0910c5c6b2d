//! Where a pod may run: node name, selectors, affinity, tolerations, priority.

use super::super::super::metadata::validate_labels;
use super::super::super::path::Path;
use super::super::unsupported::{self, refuse};
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Toleration,
};

const BAD_OPERATOR: &str = "not a valid selector operator";

pub(super) fn placement(spec: &PodSpec, path: &Path, causes: &mut Vec<Cause>) {
    if let Some(name) = spec.node_name.as_deref().filter(|n| !n.is_empty()) {
        path.child("nodeName")
            .check(name, syntax::dns_subdomain(name), causes);
    }
    validate_labels(
        spec.node_selector.as_ref(),
        &path.child("nodeSelector"),
        causes,
    );
    if let Some(affinity) = &spec.affinity {
        self::affinity(affinity, &path.child("affinity"), causes);
    }
    tolerations(
        spec.tolerations.as_deref().unwrap_or_default(),
        &path.child("tolerations"),
        causes,
    );
    if spec.preemption_policy.is_some() {
        path.child("preemptionPolicy").one_of(
            spec.preemption_policy.as_deref(),
            &["PreemptLowerPriority", "Never"],
            causes,
        );
    }
}

fn affinity(affinity: &Affinity, path: &Path, causes: &mut Vec<Cause>) {
    if let Some(node) = &affinity.node_affinity {
        node_affinity(node, &path.child("nodeAffinity"), causes);
    }
    refuse(unsupported::AFFINITY, affinity, path, causes);
}

fn node_affinity(affinity: &NodeAffinity, path: &Path, causes: &mut Vec<Cause>) {
    if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
        let path = path.child("requiredDuringSchedulingIgnoredDuringExecution");
        let path = path.child("nodeSelectorTerms");
        if required.node_selector_terms.is_empty() {
            let why = "must have at least one node selector term";
            causes.push(Cause::required(path, why));
        }
        for (index, term) in required.node_selector_terms.iter().enumerate() {
            node_term(term, true, &path.index(index), causes);
        }
    }
    let preferred = affinity
        .preferred_during_scheduling_ignored_during_execution
        .as_deref();
    let path = path.child("preferredDuringSchedulingIgnoredDuringExecution");
    for (index, term) in preferred.unwrap_or_default().iter().enumerate() {
        let path = path.index(index);
        if !(1..=100).contains(&term.weight) {
            causes.push(Cause::invalid(
                path.child("weight"),
                term.weight,
                "must be in the range 1-100",
            ));
        }
        // What is only preferred may name values that no node can have.
        node_term(&term.preference, false, &path.child("preference"), causes);
    }
}

fn node_term(term: &NodeSelectorTerm, strict_values: bool, path: &Path, causes: &mut Vec<Cause>) {
    let expressions = path.child("matchExpressions");
    for (index, requirement) in term.match_expressions.iter().flatten().enumerate() {
        node_expression(
            requirement,
            strict_values,
            &expressions.index(index),
            causes,
        );
    }
    let fields = path.child("matchFields");
    for (index, requirement) in term.match_fields.iter().flatten().enumerate() {
        node_field(requirement, &fields.index(index), causes);
    }
}

fn node_expression(
    requirement: &NodeSelectorRequirement,
    strict_values: bool,
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    let values = requirement.values.as_deref().unwrap_or_default();
    let at = path.child("values");
    match &*requirement.operator {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            causes.push(Cause::required(at, why));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            causes.push(Cause::forbidden(at, why));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            causes.push(Cause::required(at, why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => causes.push(Cause::invalid(path.child("operator"), other, BAD_OPERATOR)),
    }
    let key = &requirement.key;
    path.child("key")
        .check(key, syntax::qualified_name(key), causes);
    for (index, value) in values.iter().enumerate().filter(|_| strict_values) {
        at.index(index)
            .check(value, syntax::label_value(value), causes);
    }
}

fn node_field(requirement: &NodeSelectorRequirement, path: &Path, causes: &mut Vec<Cause>) {
    let values = requirement.values.as_deref().unwrap_or_default();
    match &*requirement.operator {
        "In" | "NotIn" if values.len() != 1 => {
            let why =
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            causes.push(Cause::required(path.child("values"), why));
        }
        "In" | "NotIn" => {}
        other => causes.push(Cause::invalid(path.child("operator"), other, BAD_OPERATOR)),
    }
    if requirement.key != "metadata.name" {
        let why = "not a valid field selector key";
        return causes.push(Cause::invalid(path.child("key"), &requirement.key, why));
    }
    for (index, value) in values.iter().enumerate() {
        path.child("values")
            .index(index)
            .check(value, syntax::dns_subdomain(value), causes);
    }
}

/// Everything that is wrong with tolerations (Kubernetes, "Taints and Tolerations").
pub(in super::super::super) fn tolerations(
    tolerations: &[Toleration],
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let path = path.index(index);
        let text = |field: &'_ Option<String>| field.clone().unwrap_or_default();
        let (key, operator) = (text(&toleration.key), text(&toleration.operator));
        let (effect, value) = (text(&toleration.effect), text(&toleration.value));
        let at = path.child("operator");
        if !key.is_empty() {
            path.child("key")
                .check(&key, syntax::qualified_name(&key), causes);
        } else if operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            causes.push(Cause::invalid(at, &operator, why));
        }
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            causes.push(Cause::invalid(path.child("effect"), &effect, why));
        }
        match &*operator {
            "" | "Equal" => at.check(&value, syntax::label_value(&value), causes),
            "Exists" if !value.is_empty() => {
                let why = "value must be empty when `operator` is 'Exists'";
                causes.push(Cause::invalid(at, &value, why));
            }
            "Exists" => {}
            "Lt" | "Gt" => refuse(unsupported::TOLERATION, toleration, &path, causes),
            _ => causes.push(Cause::unsupported(at, &operator, &["Equal", "Exists"])),
        }
        if !effect.is_empty() {
            let allowed = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
            path.child("effect").one_of(Some(&effect), allowed, causes);
        }
    }
}
