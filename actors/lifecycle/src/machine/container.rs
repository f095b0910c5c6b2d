//! The containers: image, instance, restart.

use super::PodMachine;
use super::after_ms;
use super::backoff::{
    CONFIG_MAX_MS, CONFIG_MS, FORGIVEN_AFTER_S, PULL_ERROR_SHOWN_MS, RESTART_MAX_MS, RESTART_MS,
    shown,
};
use super::effect::{Effect, PullPolicy};
use super::fact::{Exit, ImageFailure, Instance, PullReport};
use super::state::{Container, Ended, Image, Life, Sandbox, Volumes};
use jiff::Timestamp;

/// The reason of an instance that never ran; the code is that of a command that cannot start.
const START_ERROR: &str = "StartError";
const START_ERROR_CODE: i32 = 128;

impl PodMachine {
    /// Emits what is due for one container while the pod is to run.
    pub(super) fn advance_container(&mut self, index: usize, now: Timestamp) {
        self.stop_when_due(index, now);
        self.restart_when_ended(index, now);
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
            self.emit(Effect::CreateContainer(instance));
        }
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

    fn advance_image(&mut self, index: usize, now: Timestamp) {
        let policy = self.pull_policy(index);
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        let ask = match &mut container.image {
            Image::Unknown => true,
            Image::Failed { retry_at, .. } if *retry_at <= now => true,
            Image::Failed {
                reason,
                message,
                shown_until,
                ..
            } if shown_until.is_some_and(|at| at <= now) => {
                let image = &container.image_name;
                *message = format!("Back-off pulling image {image:?}: {reason}: {message}");
                *reason = "ImagePullBackOff".to_string();
                *shown_until = None;
                let image = image.clone();
                self.record_of(
                    index,
                    false,
                    "BackOff",
                    format!("Back-off pulling image {image:?}"),
                );
                self.record_of(index, true, "Failed", "Error: ImagePullBackOff".to_string());
                return;
            }
            _ => false,
        };
        if ask {
            container.image = Image::Pulling;
            let effect = Effect::PullImage {
                container: container.name.clone(),
                image: container.image_name.clone(),
                policy,
            };
            self.emit(effect);
        }
    }

    fn pull_policy(&self, index: usize) -> PullPolicy {
        let container = self.spec().containers.get(index);
        match container.and_then(|c| c.image_pull_policy.as_deref()) {
            Some("Always") => PullPolicy::Always,
            Some("Never") => PullPolicy::Never,
            _ => PullPolicy::IfNotPresent,
        }
    }

    /// An ended instance that is to have a successor becomes a waiting container.
    fn restart_when_ended(&mut self, index: usize, now: Timestamp) {
        let policy = self.spec().restart_policy.clone().unwrap_or_default();
        let pod = self.described();
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        let Life::Ended(ended) = &container.life else {
            return;
        };
        if !container.replacing && !restarts(&policy, ended.exit_code) {
            return;
        }
        let ended = ended.clone();
        let finished = ended.finished_at.unwrap_or(now);
        let ran_s = ended
            .started_at
            .map_or(0, |at| finished.as_second() - at.as_second());
        if ran_s >= FORGIVEN_AFTER_S {
            container.restart_backoff.reset();
        }
        let never_ran = ended.reason == START_ERROR && ended.exit_code == START_ERROR_CODE;
        let delay_ms = match (container.replacing, never_ran) {
            (true, _) => 0,
            (false, true) => container.restart_backoff.fail(RESTART_MS, RESTART_MAX_MS),
            (false, false) => container
                .restart_backoff
                .fail_free_once(RESTART_MS, RESTART_MAX_MS),
        };
        container.replacing = false;
        container.stop = None;
        container.image = Image::Unknown;
        let message = ended.message.clone();
        container.last = Some(ended);
        let retry_at = Some(after_ms(finished, delay_ms)).filter(|at| *at > now);
        if retry_at.is_none() {
            container.life = Life::creating();
            return;
        }
        let name = container.name.clone();
        let (reason, message) = match never_ran {
            true => ("RunContainerError", message),
            false => (
                "CrashLoopBackOff",
                Some(format!(
                    "back-off {} restarting failed container={name} pod={pod}",
                    shown(delay_ms)
                )),
            ),
        };
        container.life = Life::Waiting {
            reason: reason.to_string(),
            message,
            retry_at,
        };
        let text = format!("Back-off restarting failed container {name} in pod {pod}");
        self.record_of(index, true, "BackOff", text);
    }

    /// `web_default(uid)`, as kubelet names pods in messages.
    fn described(&self) -> String {
        let meta = &self.pod.metadata;
        let of = |text: &Option<String>| text.clone().unwrap_or_default();
        format!(
            "{}_{}({})",
            of(&meta.name),
            of(&meta.namespace),
            of(&meta.uid)
        )
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.state.containers.iter().position(|c| c.name == name)
    }

    pub(super) fn pull_started(&mut self, name: &str) {
        let Some(index) = self.find(name) else { return };
        let image = self.state.containers[index].image_name.clone();
        self.record_of(index, false, "Pulling", format!("Pulling image {image:?}"));
    }

    pub(super) fn image_ready(&mut self, name: &str, id: String, pulled: Option<PullReport>) {
        let Some(index) = self.find(name) else { return };
        let container = &mut self.state.containers[index];
        if container.image != Image::Pulling {
            return;
        }
        container.image = Image::Ready;
        container.image_id = id;
        container.pull_backoff.reset();
        let image = container.image_name.clone();
        let text = match pulled {
            None => format!("Container image {image:?} already present on machine"),
            Some(report) => format!(
                "Successfully pulled image {image:?} in {} ({} including waiting). Image size: {} \
                 bytes.",
                shown(report.took_ms),
                shown(report.waited_ms),
                report.size_bytes
            ),
        };
        self.record_of(index, false, "Pulled", text);
    }

    pub(super) fn image_failed(
        &mut self,
        name: &str,
        failure: ImageFailure,
        message: String,
        now: Timestamp,
    ) {
        let Some(index) = self.find(name) else { return };
        let container = &mut self.state.containers[index];
        if container.image != Image::Pulling {
            return;
        }
        let image = container.image_name.clone();
        let delay_ms = container.pull_backoff.fail(RESTART_MS, RESTART_MAX_MS);
        let (reason, message, event, backs_off) = match failure {
            ImageFailure::InvalidName => {
                let text = format!("Failed to apply default image tag {image:?}: {message}");
                (
                    "InvalidImageName",
                    text.clone(),
                    ("InspectFailed", text),
                    false,
                )
            }
            ImageFailure::NeverPull => {
                let text =
                    format!("Container image {image:?} is not present with pull policy of Never");
                (
                    "ErrImageNeverPull",
                    text.clone(),
                    ("ErrImageNeverPull", text),
                    false,
                )
            }
            ImageFailure::Inspect => {
                let text = format!("Failed to inspect image {image:?}: {message}");
                (
                    "ImageInspectError",
                    text.clone(),
                    ("InspectFailed", text),
                    false,
                )
            }
            ImageFailure::Pull | ImageFailure::Unreachable => {
                let text = format!("Failed to pull image {image:?}: {message}");
                ("ErrImagePull", message, ("Failed", text), true)
            }
        };
        container.image = Image::Failed {
            reason: reason.to_string(),
            message,
            shown_until: backs_off.then(|| after_ms(now, PULL_ERROR_SHOWN_MS)),
            retry_at: after_ms(now, delay_ms),
        };
        self.record_of(index, true, event.0, event.1);
        self.record_of(index, true, "Failed", format!("Error: {reason}"));
    }

    pub(super) fn container_created(&mut self, instance: &Instance) {
        let Some(index) = self.find(&instance.container) else {
            return;
        };
        let container = &mut self.state.containers[index];
        if container.life != Life::Creating || container.next_instance() != *instance {
            return;
        }
        container.life = Life::Created;
        container.attempt = Some(instance.attempt);
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

    /// The program did not start. Some runtimes find out when they set the instance up already:
    /// for people that is the same.
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
            started_at: None,
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

    /// A changed image replaces the running instance (the only change that a running pod's
    /// containers accept).
    pub(super) fn notice_image_changes(&mut self, now: Timestamp) {
        let spec = self.pod.spec.clone().unwrap_or_default();
        let grace_ms = self.grace_s().saturating_mul(1000);
        for (index, wanted) in spec.containers.iter().enumerate() {
            let image = wanted.image.clone().unwrap_or_default();
            let ending = self.is_ending();
            let Some(container) = self.state.containers.get_mut(index) else {
                continue;
            };
            if container.image_name == image {
                continue;
            }
            container.image_name = image;
            match container.life {
                Life::Waiting { .. } => {
                    container.pull_backoff.reset();
                    if container.image != Image::Pulling {
                        container.image = Image::Unknown;
                    }
                }
                Life::Running { .. } if !ending && container.stop.is_none() => {
                    container.replacing = true;
                    let name = container.name.clone();
                    let text = format!("Container {name} definition changed, will be restarted");
                    self.begin_stop(index, after_ms(now, grace_ms), text);
                }
                _ => container.replacing = true,
            }
        }
    }
}

/// Whether a container that ended with `code` runs again (`restartPolicy`).
pub(super) fn restarts(policy: &str, code: i32) -> bool {
    match policy {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
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
