//! Images: asked for, there, or not to be had.

use super::backoff::{PULL_ERROR_SHOWN_MS, RESTART_MAX_MS, RESTART_MS, shown};
use super::effect::{Effect, PullPolicy};
use super::fact::{ImageFailure, PullReport};
use super::state::{Image, Life};
use super::{PodMachine, after_ms};
use crate::containers::{Role, containers};
use jiff::Timestamp;

impl PodMachine {
    pub(super) fn advance_image(&mut self, index: usize, now: Timestamp) {
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
        let container = self.manifest_of(index);
        match container
            .as_ref()
            .and_then(|c| c.image_pull_policy.as_deref())
        {
            Some("Always") => PullPolicy::Always,
            Some("Never") => PullPolicy::Never,
            _ => PullPolicy::IfNotPresent,
        }
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

    /// A changed image replaces the running instance (the only change that a running pod's
    /// containers accept). Init containers do not run again for it.
    pub(super) fn notice_image_changes(&mut self, now: Timestamp) {
        let pod = self.pod.clone();
        let Some(spec) = &pod.spec else { return };
        let grace_ms = self.grace_s().saturating_mul(1000);
        for (role, wanted) in containers(spec) {
            let image = wanted.image.clone().unwrap_or_default();
            let ending = self.is_ending();
            let Some(index) = self.find(&wanted.name) else {
                continue;
            };
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
                _ if matches!(role, Role::Init | Role::Ephemeral) => {}
                Life::Running { .. } if !ending && container.stop.is_none() => {
                    container.replacing = true;
                    let name = container.name.clone();
                    let text = format!("Container {name} definition changed, will be restarted");
                    self.begin_stop(index, after_ms(now, grace_ms), text, now);
                }
                _ => container.replacing = true,
            }
        }
    }
}
