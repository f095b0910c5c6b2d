//! Annotations that mean something for pods (Kubernetes, "Well-Known Labels, Annotations and
//! Taints").

use super::super::super::path::Path;
use super::super::app_armor::{APP_ARMOR, containers, from_annotation};
use super::super::update::MIRROR;
use crate::status::Cause;
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Which pods of a ReplicaSet go first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Everything that is wrong with the annotations of a pod or a template, at `path`.
pub(in super::super) fn annotations(
    meta: &ObjectMeta,
    spec: &PodSpec,
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    for (key, value) in meta.annotations.iter().flatten() {
        let path = path.key(key);
        let node = spec.node_name.as_deref().unwrap_or_default();
        if key == MIRROR && node.is_empty() {
            let why = "must set spec.nodeName if mirror pod annotation is set";
            causes.push(Cause::invalid(path, value, why));
        }
        if key == DELETION_COST && !is_cost(value) {
            causes.push(Cause::invalid(path, value, "must be a 32bit integer"));
        }
        if let Some(container) = key.strip_prefix(APP_ARMOR) {
            app_armor(container, value, spec, &path, causes);
        }
    }
}

/// The older way to ask for an AppArmor profile. It must not contradict the field.
fn app_armor(container: &str, value: &str, spec: &PodSpec, path: &Path, causes: &mut Vec<Cause>) {
    let Some((_, context)) = containers(spec).find(|(name, _)| *name == container) else {
        causes.push(Cause::invalid(path, container, "container not found"));
        return;
    };
    let Some(asked) = from_annotation(value) else {
        let why = format!("invalid AppArmor profile name: {value:?}");
        causes.push(Cause::invalid(path, value, &why));
        return;
    };
    let field = context.and_then(|c| c.app_armor_profile.as_ref());
    if field.is_some_and(|field| *field != asked) {
        let why = "apparmor type in annotation and field must match";
        causes.push(Cause::forbidden(path, why));
    }
}

/// A 32 bit integer in its one form: no plus sign, no leading zeros.
fn is_cost(value: &str) -> bool {
    value
        .parse::<i32>()
        .is_ok_and(|cost| cost.to_string() == value)
}
