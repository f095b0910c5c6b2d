//! What may change of a pod after its creation: images, additions to its tolerations, a grace
//! period that was negative, and its metadata (Kubernetes, "Pod update and replacement").

mod ephemeral;
mod resize;

pub use ephemeral::validate_ephemeral_update;
pub use resize::validate_resize;

use super::super::path::Path;
use super::validate::tolerations;
use crate::status::Cause;
use k8s_openapi::api::core::v1::{Pod, PodSpec, Toleration};
use serde_json::Value;

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
/// How many differences a refusal lists.
const DIFFERENCES: usize = 16;
/// Set on pods that a node runs without being told to by the control plane.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";

/// Everything that an update of a pod may not change.
pub(super) fn validate_update(new: &Pod, old: &Pod) -> Vec<Cause> {
    let mut causes = Vec::new();
    mirror(new, old, &mut causes);
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else {
        return causes;
    };
    if new == old {
        return causes;
    }
    if new.containers.len() != old.containers.len() {
        let why = "pod updates may not add or remove containers";
        causes.push(Cause::forbidden("spec.containers", why));
        return causes;
    }
    only_added(new, old, &mut causes);
    let differences = differences(&with_updatable(new, old), old);
    if !differences.is_empty() {
        let why = format!(
            "pod updates may not change fields other than {UPDATABLE}\n{}",
            differences.join("\n")
        );
        causes.push(Cause::forbidden("spec", &why));
    }
    causes
}

fn mirror(new: &Pod, old: &Pod, causes: &mut Vec<Cause>) {
    fn value(pod: &Pod) -> Option<&String> {
        pod.metadata
            .annotations
            .as_ref()
            .and_then(|a| a.get(MIRROR))
    }
    if value(new) != value(old) {
        let why = match value(old) {
            Some(_) => "may not remove or update mirror pod annotation",
            None => "may not add mirror pod annotation",
        };
        let path = Path::Root("metadata.annotations");
        causes.push(Cause::forbidden(path.key(MIRROR), why));
    }
}

fn only_added(new: &PodSpec, old: &PodSpec, causes: &mut Vec<Cause>) {
    let now = new.tolerations.as_deref().unwrap_or_default();
    let kept = |had: &Toleration| {
        now.iter().any(|t| {
            let mut t = t.clone();
            t.toleration_seconds = had.toleration_seconds;
            t == *had
        })
    };
    let path = Path::Root("spec.tolerations");
    match old.tolerations.iter().flatten().all(kept) {
        true => tolerations(now, &path, causes),
        false => {
            let why = "existing toleration can not be modified except its tolerationSeconds";
            causes.push(Cause::forbidden(path, why));
        }
    }
}

/// The new spec with everything that may change as it was.
fn with_updatable(new: &PodSpec, old: &PodSpec) -> PodSpec {
    let mut spec = new.clone();
    for (container, was) in spec.containers.iter_mut().zip(&old.containers) {
        container.image.clone_from(&was.image);
    }
    let was = old.init_containers.iter().flatten();
    for (container, was) in spec.init_containers.iter_mut().flatten().zip(was) {
        container.image.clone_from(&was.image);
    }
    spec.active_deadline_seconds = old.active_deadline_seconds;
    spec.tolerations.clone_from(&old.tolerations);
    let was = old.termination_grace_period_seconds;
    if was.is_some_and(|s| s < 0) && new.termination_grace_period_seconds == Some(1) {
        spec.termination_grace_period_seconds = was;
    }
    spec
}

/// What differs, one line for each field; nothing and an empty list or map are the same.
fn differences(new: &PodSpec, old: &PodSpec) -> Vec<String> {
    let mut lines = Vec::new();
    let value = |spec: &PodSpec| serde_json::to_value(spec).unwrap_or_default();
    compare(
        Some(&value(old)),
        Some(&value(new)),
        &Path::Root("spec"),
        &mut lines,
    );
    lines
}

fn compare(old: Option<&Value>, new: Option<&Value>, path: &Path, lines: &mut Vec<String>) {
    let present = |value: &&Value| match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        value => !value.is_null(),
    };
    let (old, new) = (old.filter(present), new.filter(present));
    if old == new || lines.len() >= DIFFERENCES {
        return;
    }
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let added = new.keys().filter(|k| !old.contains_key(*k));
            for key in old.keys().chain(added) {
                compare(old.get(key), new.get(key), &path.child(key), lines);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for index in 0..old.len().max(new.len()) {
                compare(old.get(index), new.get(index), &path.index(index), lines);
            }
        }
        (old, new) => {
            let shown =
                |value: Option<&Value>| value.map_or("<none>".to_string(), Value::to_string);
            lines.push(format!("{path}: {} -> {}", shown(old), shown(new)));
        }
    }
}

#[cfg(test)]
mod tests;
