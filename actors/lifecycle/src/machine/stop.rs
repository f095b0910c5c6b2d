//! How a pod ends: deleted, failed as a whole, or because all its containers have ended.

use super::effect::{Effect, HookKind};
use super::state::{Container, Deletion, Ended, Failure, Hook, Life, Sandbox, Stop, Volumes};
use super::{PodMachine, after_ms};
use crate::containers::Role;
use jiff::Timestamp;

/// What Kubernetes gives a pod that names nothing, in seconds.
const DEFAULT_GRACE_S: i64 = 30;
/// One that is asked to end late (after its hook, or after others) gets at least so long.
const LATE_MS: i64 = 2_000;
/// The exit code of a container that never ran and never will: that of a kill.
const UNKNOWN_CODE: i32 = 137;

impl PodMachine {
    /// Whether the pod is on its way out; there is no way back.
    pub(crate) fn is_ending(&self) -> bool {
        let state = &self.state;
        state.deletion.is_some() || state.failure.is_some() || self.all_ended_for_good()
    }

    /// Whether all that the pod is for has ended and is not to run again, or never will run
    /// because its preparation failed.
    pub(crate) fn all_ended_for_good(&self) -> bool {
        let containers = &self.state.containers;
        let over = |c: &&Container| match &c.life {
            Life::Ended(ended) => !self.runs_again(c, ended.exit_code),
            _ => false,
        };
        self.state.final_phase.is_some()
            || containers.iter().any(|c| self.has_failed_to_prepare(c))
            || containers
                .iter()
                .filter(|c| c.role == Role::Main)
                .all(|c| over(&c))
    }

    fn has_failed_to_prepare(&self, container: &Container) -> bool {
        let failed = match &container.life {
            Life::Ended(ended) => ended.exit_code,
            _ => return false,
        };
        container.role == Role::Init && failed != 0 && !self.runs_again(container, failed)
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

    /// The node wants it gone, within so many seconds at most.
    pub(super) fn evict(
        &mut self,
        reason: &str,
        message: &str,
        grace_s: Option<i64>,
        now: Timestamp,
    ) {
        if self.is_ending() {
            return;
        }
        self.fail_pod(reason, message, now);
        if let (Some(grace_s), Some(failure)) = (grace_s, &mut self.state.failure) {
            let latest = after_ms(now, grace_s.saturating_mul(1000));
            failure.deadline = failure.deadline.min(latest);
        }
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
        for index in 0..self.state.containers.len() {
            self.advance_stop(index, now);
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

    /// Nothing runs any more, and the phase is final. Containers that wait have ended too, if
    /// they ever ran or could have: those of a pod that never came to them just wait.
    fn conclude(&mut self, now: Timestamp) {
        if self.state.final_phase.is_some() {
            return;
        }
        let initialized = self.state.was_initialized();
        let mut succeeded = self.state.failure.is_none();
        for container in &mut self.state.containers {
            if let Life::Waiting { .. } = container.life {
                let never_ran = (container.role == Role::Main && initialized).then(|| Ended {
                    attempt: None,
                    exit_code: UNKNOWN_CODE,
                    reason: "ContainerStatusUnknown".to_string(),
                    message: Some(
                        "The container could not be located when the pod was terminated"
                            .to_string(),
                    ),
                    started_at: None,
                    finished_at: Some(now),
                });
                if let Some(ended) = container.last.take().or(never_ran) {
                    container.life = Life::Ended(ended);
                }
            }
            let well = matches!(&container.life, Life::Ended(e) if e.exit_code == 0);
            succeeded &= container.role != Role::Main || well;
        }
        let phase = if succeeded { "Succeeded" } else { "Failed" };
        self.state.final_phase = Some(phase.to_string());
    }

    fn end_deadline(&mut self, now: Timestamp) -> Timestamp {
        let deletion = self.state.deletion.map(|d| d.deadline);
        let failure = self.state.failure.as_ref().map(|f| f.deadline);
        if let Some(deadline) = deletion.into_iter().chain(failure).min() {
            return deadline;
        }
        let own = after_ms(now, self.grace_s().saturating_mul(1000));
        *self.state.completion.get_or_insert(own)
    }

    fn end_container(&mut self, index: usize, deadline: Timestamp, now: Timestamp) {
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        match container.life {
            Life::Created => {
                // It never ran, so there is nothing to end: only to remove.
                container.life = Life::creating();
                let instance = container.instance();
                self.emit(Effect::RemoveContainer(instance));
            }
            Life::Running { .. } => match &mut container.stop {
                Some(stop) => stop.deadline = stop.deadline.min(deadline),
                None => {
                    let text = format!("Stopping container {}", container.name);
                    self.begin_stop(index, deadline, text, now);
                }
            },
            _ => {}
        }
    }

    /// Decides that the running instance is to end, and until when it may take. Its `preStop`
    /// hook comes first, within the grace.
    pub(super) fn begin_stop(
        &mut self,
        index: usize,
        deadline: Timestamp,
        text: String,
        now: Timestamp,
    ) {
        let has_hook = self.manifest_of(index).is_some_and(|c| {
            let hooks = c.lifecycle.as_ref();
            hooks.is_some_and(|l| l.pre_stop.is_some())
        });
        let runs_hook = has_hook && deadline > now;
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        container.stop = Some(Stop {
            deadline,
            killed: false,
            pre_stop: if runs_hook { Hook::Running } else { Hook::Done },
            asked_at: None,
            late: false,
        });
        let (instance, hook) = (container.instance(), HookKind::PreStop);
        self.record_of(index, false, "Killing", text);
        if runs_hook {
            self.emit(Effect::RunHook { instance, hook });
        }
    }

    /// Goes on with the end of an instance: hook, signal, kill.
    pub(super) fn advance_stop(&mut self, index: usize, now: Timestamp) {
        let Some(container) = self.state.containers.get(index) else {
            return;
        };
        let Some(mut stop) = container.stop.filter(|_| container.is_running()) else {
            return;
        };
        let instance = container.instance();
        if stop.pre_stop == Hook::Running && stop.deadline <= now {
            // It goes on, but nobody waits for it any more.
            stop.pre_stop = Hook::Done;
            stop.late = true;
        }
        if stop.pre_stop == Hook::Done && stop.asked_at.is_none() {
            if !self.is_ending() || self.may_end(index, stop.deadline, now) {
                stop.asked_at = Some(now);
                self.emit(Effect::Signal(instance.clone()));
            } else {
                stop.late = true;
            }
        }
        if !stop.killed && self.kill_at(&stop).is_some_and(|at| at <= now) {
            stop.killed = true;
            self.emit(Effect::Kill(instance));
        }
        if let Some(container) = self.state.containers.get_mut(index) {
            container.stop = Some(stop);
        }
    }

    /// When an instance that was asked to end is killed. Nobody waits for a pod that is gone.
    fn kill_at(&self, stop: &Stop) -> Option<Timestamp> {
        let asked_at = stop.asked_at?;
        let hurries = self.state.vanished || !stop.late;
        Some(match hurries {
            true => stop.deadline,
            false => stop.deadline.max(after_ms(asked_at, LATE_MS)),
        })
    }

    /// When something of an instance's end is due.
    pub(super) fn stop_due(&self, container: &Container) -> Option<Timestamp> {
        let stop = container.stop.filter(|s| !s.killed)?;
        Some(self.kill_at(&stop).unwrap_or(stop.deadline))
    }
}
