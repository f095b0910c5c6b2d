//! What a ReplicaSet says of its pods.

use super::Member;
use crate::pods;
use crate::reconciler::Outcome;
use crate::requests;
use jiff::Timestamp;
use kabuki_model::Stored;
use kabuki_model::k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Writes the status, when it is another than before.
pub(super) fn update(
    stored: &Stored,
    set: &ReplicaSet,
    members: &[Member],
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let before = set.status.clone().unwrap_or_default();
    let mut status = count(set, members, now, outcome);
    // Whatever had failed before did not fail now: this comes after all that can.
    status.conditions = before.conditions.clone().map(|conditions| {
        let others = conditions
            .into_iter()
            .filter(|c| c.type_.as_deref() != Some(REPLICA_FAILURE));
        others.collect()
    });
    if status.conditions.as_ref().is_some_and(Vec::is_empty) {
        status.conditions = None;
    }
    if set.status.as_ref() != Some(&status) {
        outcome.request(requests::set_status(stored, &status));
    }
}

fn count(
    set: &ReplicaSet,
    members: &[Member],
    now: Timestamp,
    outcome: &mut Outcome,
) -> ReplicaSetStatus {
    let min_ready_s = set.spec.min_ready_seconds.unwrap_or(0);
    let (mut all, mut labelled, mut ready, mut available, mut terminating) = (0, 0, 0, 0, 0);
    for pod in members.iter().map(|m| &*m.pod) {
        terminating += i32::from(pods::is_terminating(pod));
        if !pods::is_active(pod) {
            continue;
        }
        all += 1;
        labelled += i32::from(has_template_labels(set, pod));
        ready += i32::from(pods::is_ready(pod));
        if pods::is_available(pod, min_ready_s, now) {
            available += 1;
        } else if let Some(at) = pods::available_at(pod, min_ready_s) {
            outcome.look_again(at);
        }
    }
    ReplicaSetStatus {
        replicas: all,
        fully_labeled_replicas: Some(labelled),
        ready_replicas: Some(ready),
        available_replicas: Some(available),
        terminating_replicas: Some(terminating),
        observed_generation: set.metadata.generation,
        conditions: None,
    }
}

fn has_template_labels(set: &ReplicaSet, pod: &Pod) -> bool {
    let template = set.spec.template.as_ref().and_then(|t| t.metadata.as_ref());
    let wanted = template.and_then(|m| m.labels.as_ref());
    let found = pod.metadata.labels.as_ref();
    wanted
        .into_iter()
        .flatten()
        .all(|(key, value)| found.and_then(|f| f.get(key)) == Some(value))
}

/// Says that a pod could not be created or deleted.
pub(super) fn fail(
    stored: &Stored,
    set: &ReplicaSet,
    reason: &str,
    message: &str,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let mut status = set.status.clone().unwrap_or_default();
    let conditions = status.conditions.get_or_insert_default();
    let is_failure = |c: &ReplicaSetCondition| c.type_.as_deref() == Some(REPLICA_FAILURE);
    if conditions
        .iter()
        .any(|c| is_failure(c) && c.reason.as_deref() == Some(reason))
    {
        return;
    }
    conditions.retain(|c| !is_failure(c));
    conditions.push(ReplicaSetCondition {
        type_: Some(REPLICA_FAILURE.to_string()),
        status: Some("True".to_string()),
        reason: Some(reason.to_string()),
        message: Some(message.to_string()),
        last_transition_time: Some(Time(now)),
    });
    status.observed_generation = set.metadata.generation;
    outcome.request(requests::set_status(stored, &status));
}
