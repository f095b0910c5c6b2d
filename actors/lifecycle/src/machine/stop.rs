//! How a pod ends: deleted, failed as a whole, or because all its containers have ended.

use super::container::restarts;
use super::effect::Effect;
use super::state::{Container, Deletion, Ended, Failure, Life, Sandbox, Stop, Volumes};
use super::{PodMachine, after_ms};
use jiff::Timestamp;

/// What Kubernetes gives a pod that names nothing, in seconds.
const DEFAULT_GRACE_S: i64 = 30;
/// The exit code of a container that never ran and never will: that of a kill.
const UNKNOWN_CODE: i32 = 137;

impl PodMachine {
    /// Whether the pod is on its way out; there is no way back.
    pub(crate) fn is_ending(&self) -> bool {
        let state = &self.state;
        state.deletion.is_some() || state.failure.is_some() || self.all_ended_for_good()
    }

    /// Whether every container has ended and none is to run again.
    pub(crate) fn all_ended_for_good(&self) -> bool {
        let policy = self.spec().restart_policy.as_deref().unwrap_or_default();
        self.state.final_phase.is_some()
            || self.state.containers.iter().all(|c| match &c.life {
                Life::Ended(ended) => !c.replacing && !restarts(policy, ended.exit_code),
                _ => false,
            })
    }

    pub(super) fn grace_s(&self) -> i64 {
        let asked = self.spec().termination_grace_period_seconds;
        asked.unwrap_or(DEFAULT_GRACE_S).max(0)
    }

    /// Reads the deletion from the metadata. A second deletion may shorten the grace.
    pub(super) fn notice_deletion(&mut self, now: Timestamp) {
        let meta = &self.pod.metadata;
        if meta.deletion_timestamp.is_none() {
            return;
        }
        let grace_s = meta
            .deletion_grace_period_seconds
            .unwrap_or_else(|| self.grace_s());
        self.delete_by(after_ms(now, grace_s.max(0).saturating_mul(1000)));
    }

    /// Nobody waits for a pod that the API has already forgotten.
    pub(super) fn vanish(&mut self, now: Timestamp) {
        self.state.vanished = true;
        self.delete_by(now);
    }

    fn delete_by(&mut self, deadline: Timestamp) {
        let deadline = self
            .state
            .deletion
            .map_or(deadline, |held| held.deadline.min(deadline));
        self.state.deletion = Some(Deletion { deadline });
    }

    pub(super) fn fail_pod(&mut self, reason: &str, message: &str, now: Timestamp) {
        if self.is_ending() {
            return;
        }
        self.state.failure = Some(Failure {
            reason: reason.to_string(),
            message: message.to_string(),
            deadline: after_ms(now, self.grace_s().saturating_mul(1000)),
        });
        self.record(true, reason, message.to_string());
    }

    /// When the pod has been active for as long as it may (`activeDeadlineSeconds`).
    pub(super) fn active_deadline(&self) -> Option<Timestamp> {
        let seconds = self.spec().active_deadline_seconds?;
        Some(after_ms(
            self.state.start_time?,
            seconds.saturating_mul(1000),
        ))
    }

    pub(super) fn notice_deadline(&mut self, now: Timestamp) {
        if self.active_deadline().is_some_and(|at| at <= now) {
            let text = "Pod was active on the node longer than the specified deadline";
            self.fail_pod("DeadlineExceeded", text, now);
        }
    }

    /// Stops what runs, waits for what is in between, then takes the sandbox down.
    pub(super) fn advance_ending(&mut self, now: Timestamp) {
        let deadline = self.end_deadline(now);
        for index in 0..self.state.containers.len() {
            self.end_container(index, deadline, now);
        }
        let busy = self.state.containers.iter().any(Container::is_live)
            || self.state.volumes == Volumes::Preparing
            || self.state.sandbox == Sandbox::Preparing;
        let there = !matches!(
            self.state.sandbox,
            Sandbox::TearingDown { .. } | Sandbox::Gone
        );
        if busy {
            return;
        }
        self.conclude(now);
        if there {
            self.state.sandbox = Sandbox::TearingDown {
                keep_volumes: false,
            };
            self.emit(Effect::TeardownSandbox {
                keep_volumes: false,
            });
        }
    }

    /// Nothing runs any more: containers that wait have ended too, and the phase is final.
    fn conclude(&mut self, now: Timestamp) {
        if self.state.final_phase.is_some() {
            return;
        }
        let mut succeeded = self.state.failure.is_none();
        for container in &mut self.state.containers {
            if matches!(container.life, Life::Waiting { .. }) {
                let never_ran = Ended {
                    attempt: None,
                    exit_code: UNKNOWN_CODE,
                    reason: "ContainerStatusUnknown".to_string(),
                    message: Some(
                        "The container could not be located when the pod was terminated"
                            .to_string(),
                    ),
                    started_at: None,
                    finished_at: Some(now),
                };
                container.life = Life::Ended(container.last.take().unwrap_or(never_ran));
            }
            succeeded &= matches!(&container.life, Life::Ended(e) if e.exit_code == 0);
        }
        let phase = if succeeded { "Succeeded" } else { "Failed" };
        self.state.final_phase = Some(phase.to_string());
    }

    fn end_deadline(&self, now: Timestamp) -> Timestamp {
        let deletion = self.state.deletion.map(|d| d.deadline);
        let failure = self.state.failure.as_ref().map(|f| f.deadline);
        deletion.into_iter().chain(failure).min().unwrap_or(now)
    }

    fn end_container(&mut self, index: usize, deadline: Timestamp, now: Timestamp) {
        let container = &mut self.state.containers[index];
        match container.life {
            Life::Created => {
                // It never ran, so there is nothing to end: only to remove.
                container.life = Life::creating();
                let instance = container.instance();
                self.emit(Effect::RemoveContainer(instance));
            }
            Life::Running { .. } => {
                match &mut container.stop {
                    Some(stop) => stop.deadline = stop.deadline.min(deadline),
                    None => {
                        let text = format!("Stopping container {}", container.name);
                        self.begin_stop(index, deadline, text);
                    }
                }
                self.stop_when_due(index, now);
            }
            _ => {}
        }
    }

    /// Asks the running instance to end, and notes until when it may take.
    pub(super) fn begin_stop(&mut self, index: usize, deadline: Timestamp, text: String) {
        let container = &mut self.state.containers[index];
        container.stop = Some(Stop {
            deadline,
            killed: false,
        });
        let instance = container.instance();
        self.record_of(index, false, "Killing", text);
        self.emit(Effect::Signal(instance));
    }

    /// Kills the instance that was asked to end and did not in time.
    pub(super) fn stop_when_due(&mut self, index: usize, now: Timestamp) {
        let container = &mut self.state.containers[index];
        let running = matches!(container.life, Life::Running { .. });
        let instance = container.instance();
        if let Some(stop) = &mut container.stop
            && running
            && !stop.killed
            && stop.deadline <= now
        {
            stop.killed = true;
            self.emit(Effect::Kill(instance));
        }
    }
}
