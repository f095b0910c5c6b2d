//! What controllers ask of a pod: whether it counts, is ready, is available.

use crate::requests::whole_second;
use jiff::{SignedDuration, Timestamp};
use kabuki_model::k8s_openapi::api::core::v1::{Pod, PodCondition};
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const DISRUPTION: &str = "DisruptionTarget";

/// The pod's phase; empty when it has none yet.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|s| s.phase.as_deref())
        .unwrap_or_default()
}

/// Whether it has ended for good.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it is on its way out: marked, and not ended yet.
pub(crate) fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && !is_finished(pod)
}

/// Whether it counts towards the wanted number: neither ended nor on its way out.
pub(crate) fn is_active(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && !is_finished(pod)
}

/// Whether it has a node.
pub(crate) fn is_assigned(pod: &Pod) -> bool {
    node_name(pod).is_some()
}

/// Its node, when it has one.
pub(crate) fn node_name(pod: &Pod) -> Option<&str> {
    let node = pod.spec.as_ref()?.node_name.as_deref()?;
    (!node.is_empty()).then_some(node)
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|c| c.type_ == "Ready" && c.status == "True")
}

/// Whether it is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some()
}

/// Since when it has been ready, when it is.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod)?
        .last_transition_time
        .as_ref()
        .map(|t| t.0)
}

/// When it is available: ready for `min_ready_s` without a break. `None` while it is not ready.
pub(crate) fn available_at(pod: &Pod, min_ready_s: i32) -> Option<Timestamp> {
    let since = ready_condition(pod)?
        .last_transition_time
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |t| t.0);
    let age = SignedDuration::from_secs(i64::from(min_ready_s.max(0)));
    Some(since.checked_add(age).unwrap_or(Timestamp::MAX))
}

/// Whether it is available.
pub(crate) fn is_available(pod: &Pod, min_ready_s: i32, now: Timestamp) -> bool {
    match available_at(pod, min_ready_s) {
        Some(_) if min_ready_s <= 0 => true,
        Some(at) => at <= now,
        None => false,
    }
}

/// Its conditions with `DisruptionTarget` among them, which says why the pod is about to be taken
/// away; `None` when that is there already.
pub(crate) fn disrupted(
    pod: &Pod,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Option<Vec<PodCondition>> {
    let held = pod.status.as_ref().and_then(|s| s.conditions.clone());
    let mut conditions = held.unwrap_or_default();
    if conditions
        .iter()
        .any(|c| c.type_ == DISRUPTION && c.status == "True")
    {
        return None;
    }
    conditions.retain(|c| c.type_ != DISRUPTION);
    conditions.push(PodCondition {
        type_: DISRUPTION.to_string(),
        status: "True".to_string(),
        reason: Some(reason.to_string()),
        message: Some(message.to_string()),
        last_transition_time: Some(Time(whole_second(now))),
        ..PodCondition::default()
    });
    Some(conditions)
}

/// How often its most restarted container was restarted.
pub(crate) fn restarts(pod: &Pod) -> i32 {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|s| s.container_statuses.as_ref());
    statuses
        .into_iter()
        .flatten()
        .map(|s| s.restart_count)
        .max()
        .unwrap_or(0)
}
