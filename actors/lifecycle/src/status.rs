//! The `PodStatus` that follows from the machine's state (Kubernetes, "Pod Lifecycle").

mod conditions;
mod containers;
mod resize;

pub use containers::{container_id, instance_id};

use crate::containers::Role;
use crate::machine::{Host, Life, PodState};
use crate::resources::qos_class;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{HostIP, Pod, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The whole status. Notes in `state` since when each condition has its value.
pub(crate) fn of(
    pod: &Pod,
    host: &Host,
    state: &mut PodState,
    resizing: bool,
    now: Timestamp,
) -> PodStatus {
    let phase = phase(pod, state);
    let containers = containers::of(pod, state, Role::Main.list());
    let init = containers::of(pod, state, Role::Init.list());
    let added = containers::of(pod, state, Role::Ephemeral.list());
    let conditions = conditions::of(pod, state, &phase, resizing, now);
    let host_network = pod
        .spec
        .as_ref()
        .and_then(|s| s.host_network)
        .unwrap_or(false);
    let ips = match host_network && state.ips.is_empty() {
        true => host.ips.clone(),
        false => state.ips.clone(),
    };
    let failure = state.failure.as_ref();
    PodStatus {
        phase: Some(phase),
        conditions: Some(conditions),
        container_statuses: Some(containers),
        init_container_statuses: (!init.is_empty()).then_some(init),
        ephemeral_container_statuses: (!added.is_empty()).then_some(added),
        host_ip: host.ips.first().cloned(),
        host_ips: listed(&host.ips, |ip| HostIP { ip }),
        pod_ip: ips.first().cloned(),
        pod_ips: listed(&ips, |ip| PodIP { ip }),
        qos_class: Some(qos_class(pod).as_str().to_string()),
        start_time: state.start_time.map(whole_seconds),
        reason: failure.map(|f| f.reason.clone()),
        message: failure.map(|f| f.message.clone()),
        observed_generation: pod.metadata.generation,
        nominated_node_name: None,
        ..PodStatus::default()
    }
}

fn listed<T>(ips: &[String], wrap: impl Fn(String) -> T) -> Option<Vec<T>> {
    (!ips.is_empty()).then(|| ips.iter().cloned().map(wrap).collect())
}

/// Times in manifests have whole seconds; more would be lost on the way and look like a change.
pub(crate) fn whole_seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// The phase ("Pod phase"): waiting for a first start, running, or ended for good.
fn phase(pod: &Pod, state: &PodState) -> String {
    if let Some(phase) = &state.final_phase {
        return phase.clone();
    }
    let prepares = |c: &crate::machine::Container| match c.role {
        Role::Init => !c.passed,
        Role::Sidecar => !c.passed && !state.was_initialized(),
        Role::Main | Role::Ephemeral => false,
    };
    if state.containers.iter().any(prepares) {
        return "Pending".to_string();
    }
    let policy = pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref());
    let (mut waiting, mut running, mut stopped, mut succeeded) = (0, 0, 0, 0);
    for container in state.containers.iter().filter(|c| c.role == Role::Main) {
        match &container.life {
            // Its `postStart` hook is part of its start.
            Life::Running { .. } if container.is_settled() => running += 1,
            Life::Ended(ended) => {
                stopped += 1;
                succeeded += usize::from(ended.exit_code == 0);
            }
            // It has ended before and is to run again: whatever the pod's own policy says, the
            // phase cannot be final yet.
            _ if container.last.is_some() => running += 1,
            _ => waiting += 1,
        }
    }
    let always = matches!(policy, None | Some("Always"));
    // A final phase is told when nothing runs any more, also not what accompanies the pod.
    let accompanied = state.containers.iter().any(|c| {
        let others = matches!(c.role, Role::Sidecar | Role::Ephemeral);
        others && c.is_live()
    });
    let phase = match (waiting, running) {
        (1.., _) => "Pending",
        (0, 1..) => "Running",
        _ if always || accompanied => "Running",
        _ if stopped == succeeded => "Succeeded",
        _ if policy == Some("Never") => "Failed",
        _ => "Running",
    };
    phase.to_string()
}
