//! What kinds that make pods from a template share: their checks and their wide columns.

use super::pod;
use crate::selector::{LabelSelector, validate_label_selector};
use crate::status::Cause;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Written;
use std::collections::BTreeMap;

/// What Kubernetes says of a field that may not change.
pub(super) const IMMUTABLE: &str = "field is immutable";

pub(super) fn non_negative(value: Option<i64>, path: &str, causes: &mut Vec<Cause>) {
    if let Some(value) = value
        && value < 0
    {
        causes.push(Cause::invalid(
            path,
            value,
            "must be greater than or equal to 0",
        ));
    }
}

/// Checks `spec.selector` and `spec.template` of a workload whose pods always restart.
pub(super) fn validate_selected_template(
    selector: &Written,
    template: Option<&PodTemplateSpec>,
    causes: &mut Vec<Cause>,
) {
    validate_label_selector(selector, "spec.selector", causes);
    let empty = selector
        .match_labels
        .as_ref()
        .is_none_or(BTreeMap::is_empty)
        && selector
            .match_expressions
            .as_ref()
            .is_none_or(Vec::is_empty);
    if empty {
        causes.push(Cause::required("spec.selector", ""));
    }
    let Some(template) = template else {
        causes.push(Cause::required("spec.template", ""));
        return;
    };
    match LabelSelector::try_from(selector) {
        Ok(compiled) => {
            let labels = template
                .metadata
                .as_ref()
                .and_then(|m| m.labels.clone())
                .unwrap_or_default();
            if empty || !compiled.matches(&labels) {
                causes.push(Cause::invalid(
                    "spec.template.metadata.labels",
                    &labels,
                    "`selector` does not match template `labels`",
                ));
            }
        }
        Err(_) => causes.push(Cause::invalid(
            "spec.selector",
            selector,
            "invalid label selector",
        )),
    }
    pod::validate_template(template, "spec.template", causes);
    let spec = template.spec.as_ref();
    if let Some(policy) = spec.and_then(|s| s.restart_policy.as_deref())
        && policy != "Always"
    {
        causes.push(Cause::unsupported(
            "spec.template.spec.restartPolicy",
            policy,
            &["Always"],
        ));
    }
    if spec.is_some_and(|s| s.active_deadline_seconds.is_some()) {
        causes.push(Cause::forbidden(
            "spec.template.spec.activeDeadlineSeconds",
            "activeDeadlineSeconds in ReplicaSet is not Supported",
        ));
    }
}

/// Refuses counts in a status that contradict each other.
pub(super) fn at_most(
    value: Option<i32>,
    bound: Option<i32>,
    path: &str,
    bound_name: &str,
    causes: &mut Vec<Cause>,
) {
    let value = value.unwrap_or_default();
    if value > bound.unwrap_or_default() {
        causes.push(Cause::invalid(
            path,
            value,
            &format!("cannot be greater than {bound_name}"),
        ));
    }
}

/// The wide cells `CONTAINERS`, `IMAGES` and `SELECTOR`.
pub(super) fn wide_cells(template: Option<&PodTemplateSpec>, selector: &Written) -> [String; 3] {
    let containers = template
        .and_then(|t| t.spec.as_ref())
        .map_or(&[][..], |s| &s.containers);
    let names: Vec<&str> = containers.iter().map(|c| c.name.as_str()).collect();
    let images: Vec<&str> = containers
        .iter()
        .map(|c| c.image.as_deref().unwrap_or_default())
        .collect();
    let empty = *selector == Written::default();
    let shown = match LabelSelector::try_from(selector) {
        _ if empty => crate::printing::NONE.to_string(),
        Ok(compiled) => compiled.to_string(),
        Err(_) => "<error>".to_string(),
    };
    [names.join(","), images.join(","), shown]
}

/// `status.selector` of the `scale` subresource.
pub(super) fn scale_selector(selector: &Written) -> String {
    LabelSelector::try_from(selector).map_or_else(|_| String::new(), |s| s.to_string())
}
