//! One pod's life as a state machine (Kubernetes, "Pod Lifecycle").
//!
//! The node agent's `Pod` actor feeds [`Fact`]s and performs the [`Effect`]s that come back.
//! Every fact is applied to the state first; then [`PodMachine`] looks at the whole state and
//! emits what is due. So a fact that arrives twice, late or out of order does no harm, and a
//! state that was read back after a restart goes on where it stood.
//!
//! Invariants:
//! - of one container, no two instances are created, starting or running at once;
//! - no effect follows [`Effect::Finished`];
//! - once the pod is to end and its containers have ended, [`Effect::TeardownSandbox`] and (when
//!   it was deleted) [`Effect::Finished`] follow;
//! - every effect that names its outcome is answered by exactly one fact before its like is
//!   emitted again.
//!
//! Not known here: what a sandbox, an image or a volume is made of.

mod backoff;
mod container;
mod effect;
mod fact;
mod health;
mod image;
mod order;
mod resize;
mod restart;
mod resume;
mod sandbox;
mod state;
mod stop;
#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use effect::{Effect, HookKind, PodEvent, PullPolicy};
pub use fact::{Exit, Fact, ImageFailure, Instance, PullReport, RunsAs, Seen, SeenContainer};
pub use resize::Resize;
pub use state::{
    Condition, Container, Deletion, Ended, Failure, Health, Hook, Image, Life, PodState, Sandbox,
    Stop, Volumes,
};

use crate::containers::containers;
use crate::status;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use std::sync::Arc;

/// What a pod's status says of its node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// The node's addresses, the primary one first.
    pub ips: Vec<String>,
}

/// The state machine of one pod.
#[derive(Debug, Clone)]
pub struct PodMachine {
    pub(crate) pod: Arc<Pod>,
    pub(crate) host: Host,
    pub(crate) state: PodState,
    status: PodStatus,
    wake_at: Option<Timestamp>,
    effects: Vec<Effect>,
}

impl PodMachine {
    /// A pod that nothing runs of on this node yet. What the API's status says of an earlier
    /// life (restart counts, how containers ended) is carried on.
    pub fn new(pod: Arc<Pod>, host: Host, now: Timestamp) -> Self {
        let state = resume::from_api(&pod);
        Self::with(pod, host, state, now)
    }

    /// A pod that was found running: the state that was stored with it, and what is there now.
    pub fn resume(
        pod: Arc<Pod>,
        host: Host,
        stored: PodState,
        seen: &[SeenContainer],
        now: Timestamp,
    ) -> Self {
        let mut machine = Self::with(pod, host, stored, now);
        machine.adopt(seen, now);
        machine
    }

    fn with(pod: Arc<Pod>, host: Host, state: PodState, now: Timestamp) -> Self {
        let mut machine = Self {
            pod,
            host,
            state,
            status: PodStatus::default(),
            wake_at: None,
            effects: Vec::new(),
        };
        machine.state.start_time.get_or_insert(now);
        machine.match_spec();
        machine
    }

    /// What is to be done first.
    pub fn start(&mut self, now: Timestamp) -> Vec<Effect> {
        self.notice_deletion(now);
        self.ask_again();
        self.settle(now)
    }

    /// Takes a fact and says what is to be done.
    pub fn handle(&mut self, fact: Fact, now: Timestamp) -> Vec<Effect> {
        if self.state.finished {
            return Vec::new();
        }
        self.apply(fact, now);
        self.settle(now)
    }

    /// The status as it is to be reported.
    pub fn status(&self) -> &PodStatus {
        &self.status
    }

    /// The manifest as last seen.
    pub fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    /// The state, to be stored where it outlives the agent.
    pub fn state(&self) -> &PodState {
        &self.state
    }

    /// Whether the pod's life is over and nothing of it is left.
    pub fn is_finished(&self) -> bool {
        self.state.finished
    }

    fn apply(&mut self, fact: Fact, now: Timestamp) {
        match fact {
            // The alarm has rung: what is still to come needs another one.
            Fact::Woken => self.wake_at = None,
            Fact::PodChanged(pod) => {
                self.pod = pod;
                self.match_spec();
                self.notice_image_changes(now);
                self.notice_deletion(now);
                self.notice_resize();
            }
            Fact::PodVanished => self.vanish(now),
            Fact::Evicted {
                reason,
                message,
                grace_s,
            } => self.evict(&reason, &message, grace_s, now),
            Fact::VolumesReady => self.volumes_ready(),
            Fact::VolumesFailed { volume, message } => self.volumes_failed(&volume, &message, now),
            Fact::SandboxReady { ips } => self.sandbox_ready(ips),
            Fact::SandboxFailed { message } => self.sandbox_failed(&message, now),
            Fact::SandboxLost => self.sandbox_lost(now),
            Fact::SandboxGone => self.sandbox_gone(),
            Fact::PullStarted { container } => self.pull_started(&container),
            Fact::ImageReady {
                container,
                image_id,
                pulled,
            } => {
                self.image_ready(&container, image_id, pulled);
            }
            Fact::ImageFailed {
                container,
                failure,
                message,
            } => {
                self.image_failed(&container, failure, message, now);
            }
            Fact::ContainerCreated { instance, user } => self.container_created(&instance, user),
            Fact::ConfigFailed { instance, message } => {
                self.create_failed(&instance, "CreateContainerConfigError", message, now);
            }
            Fact::CreateFailed { instance, message } => {
                self.create_failed(&instance, "CreateContainerError", message, now);
            }
            Fact::ContainerStarted { instance, at } => self.container_started(&instance, at),
            Fact::StartFailed { instance, message } => self.start_failed(&instance, message, now),
            Fact::ContainerExited { instance, exit } => self.container_exited(&instance, exit, now),
            Fact::HookEnded {
                instance,
                hook,
                failed,
            } => self.hook_ended(&instance, hook, failed, now),
            Fact::ProbeTurned {
                instance,
                probe,
                healthy,
            } => self.probe_turned(&instance, probe, healthy, now),
            Fact::RoomDecided { requests, verdict } => self.room_decided(requests, verdict),
            Fact::ResourcesApplied {
                containers,
                whole,
                error,
            } => self.resources_applied(&containers, whole, error, now),
        }
    }

    /// Emits everything that is due, then the status and the next time to look.
    fn settle(&mut self, now: Timestamp) -> Vec<Effect> {
        if self.state.finished {
            return Vec::new();
        }
        self.end_with_sandbox(now);
        self.notice_deadline(now);
        for index in 0..self.state.containers.len() {
            self.advance_post_start(index);
        }
        self.note_passed();
        if !self.is_ending() {
            self.advance_volumes(now);
            self.advance_sandbox(now);
            for index in 0..self.state.containers.len() {
                self.advance_stop(index, now);
                self.restart_when_ended(index, now);
                self.note_back_off(index, now);
                if self.may_start(index) {
                    self.advance_container(index, now);
                }
            }
            self.advance_resize(now);
        }
        if self.is_ending() {
            self.advance_ending(now);
        }
        let resizing = self.is_resizing();
        let status = status::of(&self.pod, &self.host, &mut self.state, resizing, now);
        if status != self.status {
            self.status = status;
            self.effects.push(Effect::StatusChanged);
        }
        self.finish();
        self.plan_wake(now);
        std::mem::take(&mut self.effects)
    }

    /// The last effect of a deleted pod, after its last status.
    fn finish(&mut self) {
        if self.state.sandbox == Sandbox::Gone && self.state.deletion.is_some() {
            self.state.finished = true;
            let vanished = self.state.vanished;
            self.effects.push(Effect::Finished {
                delete_from_api: !vanished,
            });
        }
    }

    fn plan_wake(&mut self, now: Timestamp) {
        let next = match self.state.finished {
            true => None,
            false => self.next_due(now),
        };
        if next != self.wake_at {
            self.wake_at = next;
            if let Some(at) = next {
                self.effects.push(Effect::WakeAt(at));
            }
        }
    }

    fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let state = &self.state;
        let mut due: Vec<Timestamp> = Vec::new();
        for container in &state.containers {
            due.extend(self.stop_due(container));
            if !self.is_ending() {
                due.extend(container.due());
            }
        }
        if !self.is_ending() {
            due.extend(state.sandbox.retry_at());
            due.extend(state.volumes.retry_at());
            due.extend(self.active_deadline());
            due.extend(state.resize.retry_at);
        }
        due.into_iter().filter(|at| *at > now).min()
    }

    pub(crate) fn spec(&self) -> &PodSpec {
        static NONE: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
        self.pod.spec.as_ref().unwrap_or(&NONE)
    }

    /// Makes the list of containers that of the manifest. Later only ephemeral containers are
    /// added, so this matters at the start and for a stored state of another version.
    fn match_spec(&mut self) {
        let spec = self.pod.spec.clone().unwrap_or_default();
        let mut old = std::mem::take(&mut self.state.containers);
        for (role, wanted) in containers(&spec) {
            let held = old.iter().position(|c| c.name == wanted.name);
            let mut container = match held {
                Some(at) => old.swap_remove(at),
                None => Container::new(&wanted.name, wanted.image.as_deref().unwrap_or_default()),
            };
            container.role = role;
            self.state.containers.push(container);
        }
        self.grant_new();
    }

    pub(crate) fn record(&mut self, warning: bool, reason: &str, message: String) {
        self.effects.push(Effect::Record(PodEvent {
            warning,
            reason: reason.to_string(),
            message,
            container: None,
        }));
    }

    pub(crate) fn record_of(&mut self, index: usize, warning: bool, reason: &str, message: String) {
        let container = self.state.containers.get(index).map(|c| c.name.clone());
        self.effects.push(Effect::Record(PodEvent {
            warning,
            reason: reason.to_string(),
            message,
            container,
        }));
    }

    pub(crate) fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
}

/// `at` and so many milliseconds, at most the end of time.
pub(crate) fn after_ms(at: Timestamp, ms: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_millis(ms))
        .unwrap_or(Timestamp::MAX)
}
