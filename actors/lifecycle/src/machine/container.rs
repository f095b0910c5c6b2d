//! The instances of containers: set up, started, ended.

use super::PodMachine;
use super::after_ms;
use super::backoff::{CONFIG_MAX_MS, CONFIG_MS};
use super::effect::Effect;
use super::fact::{Exit, Instance, RunsAs};
use super::state::{Container, Ended, Health, Image, Life, Sandbox, Volumes};
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use std::borrow::Cow;

/// What an instance ends with that could not be started (containerd's words): nobody says so of a
/// program that ran, whatever it ended with.
const START_ERROR: &str = "StartError";
const START_ERROR_CODE: i32 = 128;

impl PodMachine {
    /// Emits what is due for one container while the pod is to run.
    pub(super) fn advance_container(&mut self, index: usize, now: Timestamp) {
        let Some(container) = self.state.containers.get(index) else {
            return;
        };
        let Life::Waiting { retry_at, .. } = &container.life else {
            return self.start_when_created(index);
        };
        if retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.advance_image(index, now);
        let ready = self.state.sandbox == Sandbox::Ready && self.state.volumes == Volumes::Ready;
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        if ready && container.image == Image::Ready {
            container.life = Life::Creating;
            let instance = container.next_instance();
            self.note_actual(&instance.container);
            self.emit(Effect::CreateContainer(instance));
        }
    }

    /// What the manifest says of a container.
    pub(super) fn manifest_of(&self, index: usize) -> Option<Cow<'_, core::Container>> {
        let name = &self.state.containers.get(index)?.name;
        crate::containers::container(&self.pod, name).map(|(_, container)| container)
    }

    fn start_when_created(&mut self, index: usize) {
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        if container.life == Life::Created {
            container.life = Life::Starting;
            let instance = container.instance();
            self.emit(Effect::StartContainer(instance));
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.state.containers.iter().position(|c| c.name == name)
    }

    pub(super) fn container_created(&mut self, instance: &Instance, user: Option<RunsAs>) {
        let Some(index) = self.find(&instance.container) else {
            return;
        };
        let container = &mut self.state.containers[index];
        if container.life != Life::Creating || container.next_instance() != *instance {
            return;
        }
        container.life = Life::Created;
        container.user = user;
        container.attempt = Some(instance.attempt);
        container.health = Health::default();
        container.create_backoff.reset();
        let text = format!("Created container: {}", instance.container);
        self.record_of(index, false, "Created", text);
    }

    pub(super) fn create_failed(
        &mut self,
        instance: &Instance,
        reason: &str,
        message: String,
        now: Timestamp,
    ) {
        let Some(index) = self.find(&instance.container) else {
            return;
        };
        let container = &mut self.state.containers[index];
        if container.life != Life::Creating || container.next_instance() != *instance {
            return;
        }
        let delay_ms = container.create_backoff.fail(CONFIG_MS, CONFIG_MAX_MS);
        container.image = Image::Unknown;
        container.life = Life::Waiting {
            reason: reason.to_string(),
            message: Some(message.clone()),
            shown_until: None,
            retry_at: Some(after_ms(now, delay_ms)),
        };
        self.record_of(index, true, "Failed", format!("Error: {message}"));
    }

    pub(super) fn container_started(&mut self, instance: &Instance, at: Timestamp) {
        let Some(index) = self.find(&instance.container) else {
            return;
        };
        let container = &mut self.state.containers[index];
        if container.life != Life::Starting || container.instance() != *instance {
            return;
        }
        container.life = Life::Running { started_at: at };
        let text = format!("Started container {}", instance.container);
        self.record_of(index, false, "Started", text);
    }

    /// The program did not start: an end like any other, of which the rest follows. Some runtimes
    /// find out when they set the instance up already: for people that is the same.
    pub(super) fn start_failed(&mut self, instance: &Instance, message: String, now: Timestamp) {
        let Some(index) = self.find(&instance.container) else {
            return;
        };
        let container = &mut self.state.containers[index];
        let expected = match container.life {
            Life::Starting => container.instance(),
            Life::Creating => container.next_instance(),
            _ => return,
        };
        if expected != *instance {
            return;
        }
        container.attempt = Some(instance.attempt);
        container.life = Life::Ended(Ended {
            attempt: Some(instance.attempt),
            exit_code: START_ERROR_CODE,
            reason: START_ERROR.to_string(),
            message: Some(message.clone()),
            started_at: Some(Timestamp::UNIX_EPOCH),
            finished_at: Some(now),
        });
        container.stop = None;
        self.record_of(index, true, "Failed", format!("Error: {message}"));
        self.emit(Effect::RemoveContainer(instance.clone()));
    }

    pub(super) fn container_exited(&mut self, instance: &Instance, exit: Exit, now: Timestamp) {
        let Some(index) = self.find(&instance.container) else {
            return;
        };
        let container = &mut self.state.containers[index];
        let was_starting = container.life == Life::Starting;
        let running = matches!(container.life, Life::Running { .. });
        if !(was_starting || running) || container.instance() != *instance {
            return;
        }
        let started_at = match (exit.started_at, &container.life) {
            (None, Life::Running { started_at }) => Some(*started_at),
            (at, _) => at,
        };
        let exit = Exit { started_at, ..exit };
        container.life = Life::Ended(ended(Some(instance.attempt), exit, now));
        container.stop = None;
        if was_starting {
            // The end overtook the news of the start.
            let text = format!("Started container {}", instance.container);
            self.record_of(index, false, "Started", text);
        }
        self.emit(Effect::RemoveContainer(instance.clone()));
    }
}

pub(super) fn ended(attempt: Option<u32>, exit: Exit, now: Timestamp) -> Ended {
    let reason = match (exit.oom_killed, exit.code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        (false, _) => "Error",
    };
    Ended {
        attempt,
        exit_code: exit.code,
        reason: reason.to_string(),
        message: exit.message,
        started_at: exit.started_at,
        finished_at: Some(exit.finished_at.unwrap_or(now)),
    }
}

impl Ended {
    /// Whether the program was never there.
    pub(super) fn never_ran(&self) -> bool {
        self.reason == START_ERROR
    }
}

impl Container {
    /// The newest instance.
    pub(super) fn instance(&self) -> Instance {
        Instance {
            container: self.name.clone(),
            attempt: self.attempt.unwrap_or(0),
        }
    }

    /// The instance that is made next.
    pub(super) fn next_instance(&self) -> Instance {
        let attempt = self.attempt.map_or(0, |n| n.saturating_add(1));
        Instance {
            container: self.name.clone(),
            attempt,
        }
    }
}
