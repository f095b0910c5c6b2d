//! Everything that can be wrong with a pod spec, in Kubernetes' words and with its field paths
//! (API reference, "Pod v1 core"). Both pods and templates come here, defaulted.

mod annotations;
mod container;
mod env;
mod ephemeral;
mod network;
mod probe;
mod resize;
mod resources;
mod restart;
mod scheduling;
mod security;
mod volume;

pub(super) use annotations::annotations;
pub(super) use network::ip;
pub(in super::super) use resources::overhead as validate_overhead;
pub(in super::super) use scheduling::tolerations;

use super::super::path::Path;
use super::unsupported::{self, refuse};
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::PodSpec;

/// What the rules of a part need to know of the whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// The pod's spec.
    pub spec: &'a PodSpec,
    /// Whether it is a pod's, not a template's.
    pub is_pod: bool,
}

impl Context<'_> {
    fn host_network(&self) -> bool {
        self.spec.host_network == Some(true)
    }
}

/// Everything that is wrong with a pod spec at `path`.
pub(super) fn validate_spec(context: Context, path: &Path, causes: &mut Vec<Cause>) {
    let spec = context.spec;
    if spec.termination_grace_period_seconds.is_none() {
        causes.push(Cause::required(
            path.child("terminationGracePeriodSeconds"),
            "",
        ));
    }
    let volumes = volume::volumes(spec.volumes.as_deref().unwrap_or_default(), path, causes);
    container::containers(context, &volumes, path, causes);
    path.child("restartPolicy").one_of(
        spec.restart_policy.as_deref(),
        &["Always", "OnFailure", "Never"],
        causes,
    );
    network::names(spec, path, causes);
    network::dns(spec, path, causes);
    security::pod(spec, path, causes);
    scheduling::placement(spec, path, causes);
    account(spec, path, causes);
    resources::pod(spec, path, causes);
    if let Some(name) = spec.runtime_class_name.as_deref().filter(|n| !n.is_empty()) {
        path.child("runtimeClassName")
            .check(name, syntax::dns_subdomain(name), causes);
    }
    resources::overhead(spec.overhead.as_ref(), &path.child("overhead"), causes);
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let (path, name) = (path.child("readinessGates"), &gate.condition_type);
        let path = path.index(index);
        path.child("conditionType")
            .check(name, syntax::qualified_name(name), causes);
    }
    if let Some(seconds) = spec.active_deadline_seconds {
        let path = path.child("activeDeadlineSeconds");
        path.in_range(seconds, 1, i64::from(i32::MAX), causes);
    }
    refuse(unsupported::POD_SPEC, spec, path, causes);
}

fn account(spec: &PodSpec, path: &Path, causes: &mut Vec<Cause>) {
    if let Some(name) = spec
        .service_account_name
        .as_deref()
        .filter(|n| !n.is_empty())
    {
        path.child("serviceAccountName")
            .check(name, syntax::dns_subdomain(name), causes);
    }
}

/// A path inside of something: relative, and never upwards.
fn descending(value: &str, path: &Path, causes: &mut Vec<Cause>) {
    if value.starts_with('/') {
        causes.push(Cause::invalid(path, value, "must be a relative path"));
    }
    no_backsteps(value, path, causes);
}

fn no_backsteps(value: &str, path: &Path, causes: &mut Vec<Cause>) {
    if value.split('/').any(|part| part == "..") {
        causes.push(Cause::invalid(path, value, "must not contain '..'"));
    }
}
