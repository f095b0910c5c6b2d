//! Requests and limits (Kubernetes, "Resource Management for Pods and Containers").

use super::super::super::path::Path;
use super::super::unsupported::{self, refuse, refuse_resource};
use crate::quantity::Quantity;
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use std::collections::BTreeMap;

type Amounts = BTreeMap<String, Quantity>;

pub(super) fn requirements(
    requirements: &ResourceRequirements,
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    let limits = amounts(requirements.limits.as_ref(), &path.child("limits"), causes);
    let path_requests = path.child("requests");
    let requests = amounts(requirements.requests.as_ref(), &path_requests, causes);
    for (name, request) in &requests {
        let may_overcommit = !name.contains('/') && !is_huge(name);
        let Some(limit) = limits.get(name) else {
            if !may_overcommit {
                let why = "Limit must be set for non overcommitable resources";
                causes.push(Cause::required(path.child("limits"), why));
            }
            continue;
        };
        let relation = match may_overcommit {
            true if request > limit => "less than or equal to",
            false if request != limit => "equal to",
            _ => continue,
        };
        let why = format!("must be {relation} {name} limit of {limit}");
        causes.push(Cause::invalid(path_requests, request.to_string(), &why));
    }
    let mut names = limits.keys().chain(requests.keys());
    let compute = |name: &String| matches!(name.as_str(), "cpu" | "memory");
    if names.clone().any(|name| is_huge(name)) && !names.any(compute) {
        let why = "HugePages require cpu or memory";
        causes.push(Cause::forbidden(path, why));
    }
    refuse(unsupported::RESOURCES, requirements, path, causes);
}

/// What a pod costs beside its containers.
pub(in super::super::super) fn overhead(
    written: Option<&BTreeMap<String, Written>>,
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    amounts(written, path, causes);
}

fn is_huge(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Huge pages come in whole pages of a size that the name says.
fn huge_pages(name: &str, amount: &Quantity, path: &Path, causes: &mut Vec<Cause>) {
    let Some(size) = name.strip_prefix("hugepages-") else {
        return;
    };
    let bytes = size.parse::<Quantity>().map(|q| q.value_ceil());
    let whole = match bytes {
        Ok(bytes) if bytes > 0 => amount.is_whole() && amount.value_ceil() % bytes == 0,
        _ => {
            let why = "must be a standard resource type or fully qualified";
            return causes.push(Cause::invalid(path, name, why));
        }
    };
    if !whole {
        let why = format!("{amount} is not positive integer multiple of {name}");
        causes.push(Cause::invalid(path, amount.to_string(), &why));
    }
}

/// What a pod says of itself as a whole: no less than its containers ask for together, and no
/// limit of theirs above its own.
pub(super) fn pod(spec: &PodSpec, path: &Path, causes: &mut Vec<Cause>) {
    let Some(resources) = &spec.resources else {
        return;
    };
    let at = path.child("resources");
    requirements(resources, &at, causes);
    for (list, written) in [
        ("limits", &resources.limits),
        ("requests", &resources.requests),
    ] {
        for name in written.iter().flatten().map(|(name, _)| name) {
            if !matches!(name.as_str(), "cpu" | "memory") {
                let list = at.child(list);
                causes.push(Cause::unsupported(list.key(name), name, &["cpu", "memory"]));
            }
        }
    }
    for name in ["cpu", "memory"] {
        let sum = super::super::together(spec, |c| Some(super::super::request(c, name)));
        let sum = sum.unwrap_or_default();
        if let Some(own) = super::super::pod_request(spec, name).filter(|own| *own < sum) {
            let list = at.child("requests");
            let why =
                format!("must be greater than or equal to aggregate container requests of {sum}");
            causes.push(Cause::invalid(list.key(name), own.to_string(), &why));
        }
        let Some(own) = super::super::pod_limit(spec, name) else {
            continue;
        };
        let containers = path.child("containers");
        for (index, container) in spec.containers.iter().enumerate() {
            let limit = super::super::limit(container, name);
            if limit > own {
                let (at, why) = (
                    containers.index(index),
                    format!("must be less than or equal to pod limits of {own}"),
                );
                let (at, limits) = (at.child("resources"), "limits");
                let at = at.child(limits);
                causes.push(Cause::invalid(at.key(name), limit.to_string(), &why));
            }
        }
    }
}

/// The amounts that are well formed; notes what is wrong with names and amounts.
fn amounts(
    written: Option<&BTreeMap<String, Written>>,
    path: &Path,
    causes: &mut Vec<Cause>,
) -> Amounts {
    let mut amounts = Amounts::new();
    for (name, written) in written.into_iter().flatten() {
        let path = path.key(name);
        let found = causes.len();
        resource_name(name, &path, causes);
        if causes.len() == found {
            refuse_resource(name, &path, causes);
        }
        let Some(amount) = quantity(written, &path, causes) else {
            continue;
        };
        if amount.is_negative() {
            let why = "must be greater than or equal to 0";
            causes.push(Cause::invalid(path, amount.to_string(), why));
        }
        huge_pages(name, &amount, &path, causes);
        if name.contains('/') && !amount.is_whole() {
            causes.push(Cause::invalid(
                path,
                amount.to_string(),
                "must be an integer",
            ));
        }
        amounts.insert(name.clone(), amount);
    }
    amounts
}

/// The amount that a text stands for; notes why when it is none.
pub(super) fn quantity(
    written: &Written,
    path: &Path,
    causes: &mut Vec<Cause>,
) -> Option<Quantity> {
    match Quantity::try_from(written) {
        Ok(amount) => Some(amount),
        Err(error) => {
            causes.push(Cause::invalid(path, &written.0, &error.to_string()));
            None
        }
    }
}

fn resource_name(name: &str, path: &Path, causes: &mut Vec<Cause>) {
    if let Some(why) = syntax::qualified_name(name) {
        return causes.push(Cause::invalid(path, name, &why));
    }
    let Some((domain, _)) = name.split_once('/') else {
        let of_containers = matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_huge(name);
        // Standard, but of other things than containers.
        let of_others = matches!(
            name,
            "pods"
                | "services"
                | "replicationcontrollers"
                | "resourcequotas"
                | "secrets"
                | "configmaps"
                | "persistentvolumeclaims"
                | "storage"
                | "requests.cpu"
                | "requests.memory"
                | "requests.storage"
                | "requests.ephemeral-storage"
                | "limits.cpu"
                | "limits.memory"
                | "limits.ephemeral-storage"
                | "services.nodeports"
                | "services.loadbalancers"
        );
        if !of_containers && !of_others {
            let why = "must be a standard resource type or fully qualified";
            causes.push(Cause::invalid(path, name, why));
        }
        if !of_containers {
            let why = "must be a standard resource for containers";
            causes.push(Cause::invalid(path, name, why));
        }
        return;
    };
    // Resources of the domain `kubernetes.io` are Kubernetes' own, and no container has one.
    let own = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
    if !own && domain.starts_with("requests.") {
        let why = "doesn't follow extended resource name standard";
        causes.push(Cause::invalid(path, name, why));
    }
}

/// The divisor of a `resourceFieldRef`.
pub(super) fn divisor(resource: &str, written: &Written, path: &Path, causes: &mut Vec<Cause>) {
    const BYTES: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    let Some(amount) = quantity(written, path, causes) else {
        return;
    };
    if amount.is_zero() {
        return;
    }
    let text = amount.to_string();
    let (allowed, kind) = match resource.split_once('.').map_or("", |r| r.1) {
        "cpu" if matches!(&*text, "1m" | "1") => return,
        "cpu" => ("1m and 1", "cpu"),
        "memory" => (BYTES, "memory"),
        "ephemeral-storage" => (BYTES, "local ephemeral storage"),
        _ => (BYTES, "hugepages"),
    };
    if kind == "cpu" || !BYTES.split(", ").any(|b| b == text) {
        let why = format!("only divisor's values {allowed} are supported with the {kind} resource");
        causes.push(Cause::invalid(path, resource, &why));
    }
}
