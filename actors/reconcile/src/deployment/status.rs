//! Counters and conditions of a Deployment.

use super::rollout::Rollout;
use crate::reconciler::Outcome;
use crate::requests;
use jiff::{SignedDuration, Timestamp};
use kabuki_model::Stored;
use kabuki_model::k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentStatus, ReplicaSetStatus,
};
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
/// The reason of a Deployment that has all of the new and nothing of the old.
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
/// A deadline as long as this is none, as in Kubernetes.
const NO_DEADLINE: i32 = i32::MAX;

pub(super) fn find<'a>(
    status: &'a DeploymentStatus,
    kind: &str,
) -> Option<&'a DeploymentCondition> {
    let conditions = status.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_.as_deref() == Some(kind))
}

fn remove(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|c| c.type_.as_deref() != Some(kind));
        if conditions.is_empty() {
            status.conditions = None;
        }
    }
}

fn condition(
    kind: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: Some(kind.to_string()),
        status: Some(status.to_string()),
        reason: Some(reason.to_string()),
        message: Some(message),
        last_transition_time: Some(Time(now)),
        last_update_time: Some(Time(now)),
    }
}

/// Sets a condition, unless status and reason are what they were. The time of the transition
/// stays while the status does.
fn set(status: &mut DeploymentStatus, mut new: DeploymentCondition) {
    if let Some(present) = find(status, new.type_.as_deref().unwrap_or_default()) {
        if present.status == new.status && present.reason == new.reason {
            return;
        }
        if present.status == new.status {
            new.last_transition_time
                .clone_from(&present.last_transition_time);
        }
    }
    remove(status, new.type_.as_deref().unwrap_or_default());
    status.conditions.get_or_insert_default().push(new);
}

/// Says that the new ReplicaSet could not be created.
pub(super) fn creation_failed(
    stored: &Stored,
    deployment: &Deployment,
    message: String,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let mut status = deployment.status.clone().unwrap_or_default();
    set(
        &mut status,
        condition(PROGRESSING, "False", "ReplicaSetCreateError", message, now),
    );
    if deployment.status.as_ref() != Some(&status) {
        outcome.request(requests::set_status(stored, &status));
    }
}

impl Rollout<'_> {
    pub(super) fn has_deadline(&self) -> bool {
        let deadline = self.deployment.spec.progress_deadline_seconds;
        deadline.is_some_and(|d| d != NO_DEADLINE)
    }

    pub(super) fn set_progressing(&mut self, status: &str, reason: &str, message: String) {
        let new = condition(PROGRESSING, status, reason, message, self.now);
        set(&mut self.status, new);
    }

    /// Says that the Deployment was paused or resumed, so that the deadline begins anew.
    pub(super) fn note_pause(&mut self) {
        if !self.has_deadline() {
            return;
        }
        let present = find(&self.status, PROGRESSING).and_then(|c| c.reason.as_deref());
        let was_paused = present == Some(PAUSED);
        let paused = self.deployment.spec.paused == Some(true);
        if present == Some(TIMED_OUT) {
            return;
        }
        if paused && !was_paused {
            self.set_progressing("Unknown", PAUSED, "Deployment is paused".to_string());
        } else if !paused && was_paused {
            let message = "Deployment is resumed".to_string();
            self.set_progressing("Unknown", "DeploymentResumed", message);
        }
    }

    /// The counters and the condition `Available`.
    pub(super) fn update_status(&mut self) {
        let sum = |of: &dyn Fn(&ReplicaSetStatus) -> Option<i32>| -> i32 {
            let statuses = self.sets.iter().filter_map(|s| s.object.status.as_ref());
            statuses.filter_map(of).fold(0, i32::saturating_add)
        };
        let wanted_pods = self
            .sets
            .iter()
            .map(|s| s.replicas)
            .fold(0, i32::saturating_add);
        let new = self.new.and_then(|i| self.sets[i].object.status.as_ref());
        let available = sum(&|s| s.available_replicas);
        let counted = DeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            replicas: Some(sum(&|s| Some(s.replicas))),
            updated_replicas: Some(new.map_or(0, |s| s.replicas)),
            ready_replicas: Some(sum(&|s| s.ready_replicas)),
            available_replicas: Some(available),
            unavailable_replicas: Some((wanted_pods - available).max(0)),
            terminating_replicas: Some(sum(&|s| s.terminating_replicas)),
            collision_count: self.status.collision_count,
            conditions: self.status.conditions.take(),
        };
        self.status = counted;
        let new = match available >= self.wanted() - self.bounds.unavailable {
            true => {
                let message = "Deployment has minimum availability.".to_string();
                condition(
                    AVAILABLE,
                    "True",
                    "MinimumReplicasAvailable",
                    message,
                    self.now,
                )
            }
            false => {
                let message = "Deployment does not have minimum availability.".to_string();
                condition(
                    AVAILABLE,
                    "False",
                    "MinimumReplicasUnavailable",
                    message,
                    self.now,
                )
            }
        };
        set(&mut self.status, new);
    }

    /// Whether the status, as it is to be written, has all of the new and nothing of the old.
    pub(super) fn is_complete(&mut self) -> bool {
        self.update_status();
        let (status, wanted) = (&self.status, Some(self.wanted()));
        status.updated_replicas == wanted
            && status.replicas == wanted
            && status.available_replicas == wanted
    }

    fn has_progressed(&self) -> bool {
        let before = self.deployment.status.clone().unwrap_or_default();
        let old = |s: &DeploymentStatus| s.replicas.unwrap_or(0) - s.updated_replicas.unwrap_or(0);
        let more = |new: Option<i32>, was: Option<i32>| new.unwrap_or(0) > was.unwrap_or(0);
        more(self.status.updated_replicas, before.updated_replicas)
            || old(&self.status) < old(&before)
            || more(self.status.ready_replicas, before.ready_replicas)
            || more(self.status.available_replicas, before.available_replicas)
    }

    /// The status of a Deployment that is rolling out: counters, and how far it has come.
    pub(super) fn update_progress(&mut self) {
        let complete = self.is_complete();
        if !self.has_deadline() {
            remove(&mut self.status, PROGRESSING);
        } else if !self.was_complete() {
            self.estimate(complete);
        }
        self.update_failure();
        self.watch_deadline(complete);
    }

    /// Whether the last rollout has ended and no other one has begun.
    fn was_complete(&self) -> bool {
        let reason = find(&self.status, PROGRESSING).and_then(|c| c.reason.as_deref());
        self.status.replicas == self.status.updated_replicas && reason == Some(COMPLETE)
    }

    fn estimate(&mut self, complete: bool) {
        let subject = match self.new {
            Some(new) => format!("ReplicaSet \"{}\"", self.sets[new].name()),
            None => format!("Deployment \"{}\"", self.stored.key.name),
        };
        if complete {
            let message = format!("{subject} has successfully progressed.");
            self.set_progressing("True", COMPLETE, message);
        } else if self.has_progressed() {
            let message = format!("{subject} is progressing.");
            let mut new = condition(PROGRESSING, "True", "ReplicaSetUpdated", message, self.now);
            let present = find(&self.status, PROGRESSING);
            if let Some(present) = present.filter(|c| c.status.as_deref() == Some("True")) {
                new.last_transition_time
                    .clone_from(&present.last_transition_time);
            }
            // Each bit of progress begins the deadline anew.
            remove(&mut self.status, PROGRESSING);
            set(&mut self.status, new);
        } else if self.deadline().is_some_and(|at| at <= self.now) {
            let message = format!("{subject} has timed out progressing.");
            self.set_progressing("False", TIMED_OUT, message);
        }
    }

    /// When the rollout counts as stuck; `None` while it cannot.
    fn deadline(&self) -> Option<Timestamp> {
        let present = find(&self.status, PROGRESSING)?;
        let over = [COMPLETE, TIMED_OUT, PAUSED];
        if over.contains(&present.reason.as_deref().unwrap_or_default()) {
            return None;
        }
        let seconds = i64::from(self.deployment.spec.progress_deadline_seconds?);
        let since = present.last_update_time.as_ref()?.0;
        since.checked_add(SignedDuration::from_secs(seconds)).ok()
    }

    fn watch_deadline(&mut self, complete: bool) {
        if complete || !self.has_deadline() {
            return;
        }
        if let Some(at) = self.deadline() {
            self.look_again(at);
        }
    }

    /// Shows the failure of a ReplicaSet, the new one's before the others'.
    fn update_failure(&mut self) {
        let of = |i: usize| {
            let conditions = self.sets[i].object.status.as_ref()?.conditions.as_ref()?;
            conditions
                .iter()
                .find(|c| c.type_.as_deref() == Some(REPLICA_FAILURE))
                .cloned()
        };
        match self.new.and_then(of).or_else(|| self.old().find_map(of)) {
            None => remove(&mut self.status, REPLICA_FAILURE),
            Some(failure) => {
                let failed = DeploymentCondition {
                    type_: failure.type_,
                    status: failure.status,
                    reason: failure.reason,
                    message: failure.message,
                    last_transition_time: failure.last_transition_time.clone(),
                    last_update_time: failure.last_transition_time,
                };
                set(&mut self.status, failed);
            }
        }
    }
}
