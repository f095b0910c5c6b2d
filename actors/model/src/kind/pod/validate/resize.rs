//! `resizePolicy`: whether a container is restarted when what it may use changes (Kubernetes,
//! "Resize CPU and Memory Resources assigned to Containers").

use super::super::super::path::Path;
use crate::status::Cause;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use std::collections::HashSet;

/// The rules of one container; `stays` unless it is an init container that runs to its end.
pub(super) fn policy(
    spec: &PodSpec,
    container: &Container,
    stays: bool,
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    let policies = container.resize_policy.as_deref().unwrap_or_default();
    let path = path.child("resizePolicy");
    if !stays && !policies.is_empty() {
        let why = "must not be set for init containers";
        return causes.push(Cause::invalid(path, policies, why));
    }
    let never = spec.restart_policy.as_deref() == Some("Never")
        && container.restart_policy.as_deref() != Some("Always");
    let mut seen = HashSet::new();
    for policy in policies {
        if !seen.insert(&policy.resource_name) {
            causes.push(Cause::duplicate(path, &policy.resource_name));
        }
        path.one_of(Some(&policy.resource_name), &["cpu", "memory"], causes);
        path.one_of(
            Some(&policy.restart_policy),
            &["NotRequired", "RestartContainer"],
            causes,
        );
        if never && policy.restart_policy == "RestartContainer" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            causes.push(Cause::invalid(path, &policy.restart_policy, why));
        }
    }
}
