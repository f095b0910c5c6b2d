//! The row of `kubectl get pods`.

use crate::printing::{NONE, age, creation_age, name};
use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Pod, PodStatus};
use k8s_openapi::jiff::Timestamp;

/// What the statuses of a pod's containers come to.
struct Summary {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

/// The word in the `STATUS` column.
pub fn display_status(pod: &Pod) -> String {
    summary(pod).reason
}

pub(super) fn row(pod: &Pod, now: Timestamp) -> Vec<String> {
    let summary = summary(pod);
    let sidecars = pod
        .spec
        .iter()
        .flat_map(|s| s.init_containers.iter().flatten());
    let sidecars = sidecars.filter(|c| stays(c)).count();
    let containers = sidecars + pod.spec.as_ref().map_or(0, |s| s.containers.len());
    let restarts = match (summary.restarts, summary.last_restart) {
        (0, _) | (_, None) => summary.restarts.to_string(),
        (count, Some(at)) => format!("{count} ({} ago)", age(at, now)),
    };
    let status = pod.status.as_ref();
    let or_none = |field: Option<&String>| match field {
        Some(text) if !text.is_empty() => text.clone(),
        _ => NONE.to_string(),
    };
    vec![
        name(&pod.metadata),
        format!("{}/{containers}", summary.ready),
        summary.reason,
        restarts,
        creation_age(&pod.metadata, now),
        or_none(status.and_then(|s| s.pod_ip.as_ref())),
        or_none(pod.spec.as_ref().and_then(|s| s.node_name.as_ref())),
        or_none(status.and_then(|s| s.nominated_node_name.as_ref())),
        readiness_gates(pod),
    ]
}

fn summary(pod: &Pod) -> Summary {
    let empty = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&empty);
    let text = |field: &Option<String>| field.clone().filter(|f| !f.is_empty());
    let phase = text(&status.phase).unwrap_or_default();
    let mut summary = Summary {
        reason: text(&status.reason).unwrap_or_else(|| phase.clone()),
        ready: 0,
        restarts: 0,
        last_restart: None,
    };
    let gated = |c: &&k8s_openapi::api::core::v1::PodCondition| {
        c.type_ == "PodScheduled" && c.reason.as_deref() == Some("SchedulingGated")
    };
    if status.conditions.iter().flatten().any(|c| gated(&c)) {
        summary.reason = "SchedulingGated".to_string();
    }
    let initializing = initializing(pod, status, &mut summary);
    if !initializing || condition(status, "Initialized") {
        (summary.restarts, summary.last_restart) = (0, None);
        for container in status.init_container_statuses.iter().flatten() {
            let mut specs = pod
                .spec
                .iter()
                .flat_map(|s| s.init_containers.iter().flatten());
            if specs.any(|s| s.name == container.name && stays(s)) {
                count_restarts(container, &mut summary);
            }
        }
        running(status, &mut summary);
    }
    if pod.metadata.deletion_timestamp.is_some() {
        // The node that would end the pod is gone: nobody knows what became of it.
        if status.reason.as_deref() == Some("NodeLost") {
            summary.reason = "Unknown".to_string();
        } else if !matches!(&*phase, "Succeeded" | "Failed") {
            summary.reason = "Terminating".to_string();
        }
    }
    summary
}

/// Looks at the init containers; whether one of them has not succeeded yet.
fn initializing(pod: &Pod, status: &PodStatus, summary: &mut Summary) -> bool {
    let specs = pod.spec.as_ref().and_then(|s| s.init_containers.as_deref());
    let specs = specs.unwrap_or_default();
    let total = specs.len();
    for (index, container) in status.init_container_statuses.iter().flatten().enumerate() {
        count_restarts(container, summary);
        let state = state(container);
        if state.terminated.as_ref().is_some_and(|t| t.exit_code == 0) {
            continue;
        }
        let accompanies = specs.iter().any(|s| s.name == container.name && stays(s));
        if accompanies && container.started == Some(true) {
            summary.ready += usize::from(container.ready);
            continue;
        }
        summary.reason = match ended(&state) {
            Some(reason) => format!("Init:{reason}"),
            None => match state
                .waiting
                .and_then(|w| w.reason)
                .filter(|r| !r.is_empty())
            {
                Some(reason) if reason != "PodInitializing" => format!("Init:{reason}"),
                _ => format!("Init:{index}/{total}"),
            },
        };
        return true;
    }
    false
}

/// Looks at the containers; the first one that has something to say gives the reason.
fn running(status: &PodStatus, summary: &mut Summary) {
    let mut has_running = false;
    for container in status.container_statuses.iter().flatten().rev() {
        count_restarts(container, summary);
        let state = state(container);
        let waiting = state
            .waiting
            .as_ref()
            .and_then(|w| w.reason.clone())
            .filter(|r| !r.is_empty());
        if let Some(reason) = waiting.or_else(|| ended(&state)) {
            summary.reason = reason;
        } else if container.ready && state.running.is_some() {
            has_running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && has_running {
        let ready = condition(status, "Ready");
        summary.reason = if ready { "Running" } else { "NotReady" }.to_string();
    }
}

/// Whether an init container stays while the others run.
fn stays(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn state(container: &ContainerStatus) -> ContainerState {
    container.state.clone().unwrap_or_default()
}

/// Why a container ended, when it has.
fn ended(state: &ContainerState) -> Option<String> {
    let ended = state.terminated.as_ref()?;
    let reason = ended.reason.clone().filter(|r| !r.is_empty());
    Some(
        reason.unwrap_or_else(|| match ended.signal.unwrap_or_default() {
            0 => format!("ExitCode:{}", ended.exit_code),
            signal => format!("Signal:{signal}"),
        }),
    )
}

fn count_restarts(container: &ContainerStatus, summary: &mut Summary) {
    summary.restarts += i64::from(container.restart_count);
    let last = container
        .last_state
        .as_ref()
        .and_then(|s| s.terminated.as_ref());
    let ended = last.and_then(|t| t.finished_at.as_ref()).map(|t| t.0);
    summary.last_restart = summary.last_restart.max(ended);
}

fn condition(status: &PodStatus, name: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|c| c.type_ == name && c.status == "True")
}

fn readiness_gates(pod: &Pod) -> String {
    let gates = pod
        .spec
        .as_ref()
        .and_then(|s| s.readiness_gates.as_deref())
        .unwrap_or_default();
    if gates.is_empty() {
        return NONE.to_string();
    }
    let empty = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&empty);
    let met = gates
        .iter()
        .filter(|g| condition(status, &g.condition_type))
        .count();
    format!("{met}/{}", gates.len())
}

#[cfg(test)]
mod tests;
