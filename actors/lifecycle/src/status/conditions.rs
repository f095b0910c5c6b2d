//! `conditions` (Kubernetes, "Pod conditions").

use super::{resize, whole_seconds};
use crate::containers::{self, Role};
use crate::machine::{Condition, Container, PodState, Sandbox};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};

/// A condition before it has a time.
struct Value {
    type_: &'static str,
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

/// All conditions; those of others (readiness gates, disruption) are kept as the API has them.
pub(super) fn of(
    pod: &Pod,
    state: &mut PodState,
    phase: &str,
    resizing: bool,
    now: Timestamp,
) -> Vec<PodCondition> {
    let containers_ready = containers_ready(pod, state, phase);
    let values = [
        plain("PodReadyToStartContainers", state.sandbox == Sandbox::Ready),
        initialized(state, phase),
        ready(pod, &containers_ready),
        containers_ready,
        plain("PodScheduled", true),
    ];
    let held = pod
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_deref())
        .unwrap_or_default();
    let mut conditions: Vec<PodCondition> = values
        .into_iter()
        .map(|value| timed(pod, held, state, value, now))
        .collect();
    let foreign = held
        .iter()
        .filter(|h| !conditions.iter().any(|c| c.type_ == h.type_))
        .filter(|h| !resize::OWN.contains(&h.type_.as_str()));
    let foreign: Vec<PodCondition> = foreign.cloned().collect();
    for condition in resize::of(state, resizing) {
        let value = Value {
            type_: condition.type_,
            status: true,
            reason: condition.reason,
            message: condition.message,
        };
        let mut timed = timed(pod, held, state, value, now);
        timed.observed_generation = condition.generation.or(timed.observed_generation);
        conditions.push(timed);
    }
    state.conditions.retain(|name, _| {
        !resize::OWN.contains(&name.as_str()) || conditions.iter().any(|c| c.type_ == *name)
    });
    conditions.extend(foreign);
    conditions
}

fn plain(type_: &'static str, status: bool) -> Value {
    Value {
        type_,
        status,
        reason: None,
        message: None,
    }
}

fn initialized(state: &PodState, phase: &str) -> Value {
    let value = plain("Initialized", true);
    if phase == "Succeeded" {
        return Value {
            reason: Some("PodCompleted"),
            ..value
        };
    }
    let open: Vec<&str> = state
        .containers
        .iter()
        .filter(|c| c.role.is_init() && !c.passed)
        .map(|c| c.name.as_str())
        .collect();
    if open.is_empty() || state.was_initialized() {
        return value;
    }
    let message = format!("containers with incomplete status: [{}]", open.join(" "));
    Value {
        status: false,
        reason: Some("ContainersNotInitialized"),
        message: Some(message),
        ..value
    }
}

fn containers_ready(pod: &Pod, state: &PodState, phase: &str) -> Value {
    let value = plain("ContainersReady", false);
    match phase {
        "Succeeded" => {
            return Value {
                reason: Some("PodCompleted"),
                ..value
            };
        }
        "Failed" => {
            return Value {
                reason: Some("PodFailed"),
                ..value
            };
        }
        _ => {}
    }
    let unready = |c: &&Container| {
        let spec = containers::container(pod, &c.name).map(|(_, c)| c);
        matches!(c.role, Role::Main | Role::Sidecar) && !c.is_ready(spec.as_deref())
    };
    let unready = state.containers.iter().filter(unready);
    let unready: Vec<&str> = unready.map(|c| c.name.as_str()).collect();
    if unready.is_empty() {
        return Value {
            status: true,
            ..value
        };
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Value {
        reason: Some("ContainersNotReady"),
        message: Some(message),
        ..value
    }
}

/// Ready is that all containers are, and all readiness gates are true.
fn ready(pod: &Pod, containers: &Value) -> Value {
    let value = plain("Ready", containers.status);
    if !containers.status {
        return Value {
            reason: containers.reason,
            message: containers.message.clone(),
            ..value
        };
    }
    let gates = pod
        .spec
        .iter()
        .flat_map(|s| s.readiness_gates.iter().flatten());
    let held = pod
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    let mut missing = Vec::new();
    for gate in gates {
        let type_ = &gate.condition_type;
        match held.clone().find(|c| c.type_ == *type_) {
            None => missing.push(format!(
                "corresponding condition of pod readiness gate {type_:?} does not exist."
            )),
            Some(c) if c.status != "True" => missing.push(format!(
                "the status of pod readiness gate {type_:?} is not \"True\", but {}",
                c.status
            )),
            Some(_) => {}
        }
    }
    if missing.is_empty() {
        return value;
    }
    let message = Some(missing.join(", "));
    Value {
        status: false,
        reason: Some("ReadinessGatesNotReady"),
        message,
        ..value
    }
}

fn timed(
    pod: &Pod,
    held: &[PodCondition],
    state: &mut PodState,
    value: Value,
    now: Timestamp,
) -> PodCondition {
    let status = if value.status { "True" } else { "False" };
    let since = match state.conditions.get(value.type_) {
        Some(known) if known.status == status => known.since,
        Some(_) => now,
        // What the API says of an earlier agent, or of the scheduler, stands.
        None => held
            .iter()
            .find(|c| c.type_ == value.type_ && c.status == status)
            .and_then(|c| c.last_transition_time.as_ref())
            .map_or(now, |t| t.0),
    };
    let known = Condition {
        status: status.to_string(),
        since,
    };
    state.conditions.insert(value.type_.to_string(), known);
    PodCondition {
        type_: value.type_.to_string(),
        status: status.to_string(),
        reason: value.reason.map(str::to_string),
        message: value.message,
        last_transition_time: Some(whole_seconds(since)),
        last_probe_time: None,
        observed_generation: pod.metadata.generation,
    }
}
