//! `v1` `Pod` (Kubernetes, "Pod v1 core"), and what every kind with a pod template shares.
//!
//! | module | what |
//! |---|---|
//! | `app_armor` | profiles by annotation |
//! | `defaults` | what Kubernetes fills in |
//! | `template` | the same for templates |
//! | `validate` | what can be wrong with a spec |
//! | `unsupported` | the fields that this version refuses by name |
//! | `update` | what may change after creation |
//! | `bind` | assigning a pod to a node |
//! | `status` | what the server sets of the status, and what nobody may |
//! | `references` | what of the API a pod refers to |
//! | `resources` | requests in total, class of service |
//! | `row` | the row of `kubectl get pods` |

mod app_armor;
mod bind;
mod defaults;
mod references;
mod resources;
mod row;
mod status;
mod template;
mod unsupported;
mod update;
mod validate;

pub use bind::{BindError, bind};
pub use defaults::{GRACE_PERIOD_S, admit_defaults, admit_tolerations};
pub use references::referenced;
pub use resources::{
    Qos, Totals, limit, overhead, pod_limit, pod_request, qos, request, requests, together,
};
pub use row::display_status;
pub use template::{default_template, validate_template};
pub use update::{validate_ephemeral_update, validate_resize};

pub(super) use validate::{tolerations as validate_tolerations, validate_overhead};

use super::path::Path;
use super::rules::{Column, KindRules, Names};
use crate::status::Cause;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use validate::Context;

pub(super) struct PodRules;

impl KindRules for PodRules {
    type Object = Pod;

    const NAMES: Names = Names {
        kind: "Pod",
        plural: "pods",
        singular: "pod",
        short: &["po"],
        categories: &["all"],
        group: "",
        version: "v1",
        namespaced: true,
    };
    const HAS_STATUS: bool = true;
    const HAS_GENERATION: bool = true;
    const FIELDS: &'static [&'static str] = &[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ];

    fn default(pod: &mut Pod) {
        defaults::default_pod(pod);
    }

    fn prepare_create(pod: &mut Pod) {
        status::prepare_create(pod);
    }

    /// A manifest that replaces a pod need not repeat what was added at its creation.
    fn prepare_update(new: &mut Pod, _old: &Pod) {
        if let Some(spec) = &mut new.spec {
            admit_tolerations(spec);
        }
    }

    fn validate(pod: &Pod) -> Vec<Cause> {
        let mut causes = Vec::new();
        let path = Path::Root("spec");
        let Some(spec) = &pod.spec else {
            return vec![Cause::required(path.child("containers"), "")];
        };
        let at = Path::Root("metadata.annotations");
        validate::annotations(&pod.metadata, spec, &at, &mut causes);
        let context = Context { spec, is_pod: true };
        validate::validate_spec(context, &path, &mut causes);
        causes
    }

    fn validate_update(new: &Pod, old: &Pod) -> Vec<Cause> {
        update::validate_update(new, old)
    }

    fn validate_status(new: &Pod, old: &Pod) -> Vec<Cause> {
        status::validate_status(new, old)
    }

    fn grace_period_s(pod: &Pod, requested: Option<i64>) -> i64 {
        grace_period_s(pod, requested)
    }

    fn fields(pod: &Pod) -> Vec<(&'static str, String)> {
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let text = |field: Option<&String>| field.cloned().unwrap_or_default();
        let host_network = spec.and_then(|s| s.host_network).unwrap_or_default();
        vec![
            (
                "spec.nodeName",
                text(spec.and_then(|s| s.node_name.as_ref())),
            ),
            (
                "spec.restartPolicy",
                text(spec.and_then(|s| s.restart_policy.as_ref())),
            ),
            (
                "spec.schedulerName",
                text(spec.and_then(|s| s.scheduler_name.as_ref())),
            ),
            (
                "spec.serviceAccountName",
                text(spec.and_then(|s| s.service_account_name.as_ref())),
            ),
            ("spec.hostNetwork", host_network.to_string()),
            ("status.phase", text(status.and_then(|s| s.phase.as_ref()))),
            ("status.podIP", text(status.and_then(|s| s.pod_ip.as_ref()))),
            (
                "status.nominatedNodeName",
                text(status.and_then(|s| s.nominated_node_name.as_ref())),
            ),
        ]
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::new("NAME"),
            Column::new("READY"),
            Column::new("STATUS"),
            Column::new("RESTARTS"),
            Column::new("AGE"),
            Column::wide("IP"),
            Column::wide("NODE"),
            Column::wide("NOMINATED NODE"),
            Column::wide("READINESS GATES"),
        ];
        COLUMNS
    }

    fn row(pod: &Pod, now: Timestamp) -> Vec<String> {
        row::row(pod, now)
    }
}

/// Seconds between the mark of deletion and removal. A pod without a node has nothing to end,
/// and one that has ended does not end again.
fn grace_period_s(pod: &Pod, requested: Option<i64>) -> i64 {
    let spec = pod.spec.as_ref();
    let node = spec
        .and_then(|s| s.node_name.as_deref())
        .unwrap_or_default();
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    if node.is_empty() || matches!(phase, Some("Succeeded" | "Failed")) {
        return 0;
    }
    let own = || spec.and_then(|s| s.termination_grace_period_seconds);
    let seconds = requested.or_else(own).unwrap_or(GRACE_PERIOD_S);
    // Kubernetes reads a negative period as one second.
    if seconds < 0 { 1 } else { seconds }
}

#[cfg(test)]
mod tests;
