//! Whether and when an instance that ended has a successor (Kubernetes, "Container restarts").

use super::PodMachine;
use super::after_ms;
use super::backoff::{FORGIVEN_AFTER_S, RESTART_MAX_MS, RESTART_MS, RUN_ERROR_SHOWN_MS, shown};
use super::state::{Container, Image, Life};
use crate::containers::Role;
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;

impl PodMachine {
    /// An ended instance that is to have a successor becomes a waiting container.
    pub(super) fn restart_when_ended(&mut self, index: usize, now: Timestamp) {
        let Some(container) = self.state.containers.get(index) else {
            return;
        };
        let Life::Ended(ended) = &container.life else {
            return;
        };
        if !self.runs_again(container, ended.exit_code) {
            return;
        }
        let pod = self.described();
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        let Life::Ended(ended) = &container.life else {
            return;
        };
        let ended = ended.clone();
        let never_ran = ended.never_ran();
        let finished = ended.finished_at.unwrap_or(now);
        let ran_s = ended
            .started_at
            .filter(|_| !never_ran)
            .map_or(0, |at| finished.as_second() - at.as_second());
        if ran_s >= FORGIVEN_AFTER_S {
            container.restart_backoff.reset();
        }
        let delay_ms = match container.replacing {
            true => 0,
            false => container
                .restart_backoff
                .fail_free_once(RESTART_MS, RESTART_MAX_MS),
        };
        let shown_until = Some(after_ms(finished, RUN_ERROR_SHOWN_MS))
            .filter(|at| never_ran && !container.replacing && *at > now);
        container.replacing = false;
        container.unhealthy = false;
        container.stop = None;
        container.image = Image::Unknown;
        let retry_at = Some(after_ms(finished, delay_ms)).filter(|at| *at > now);
        container.life = match (shown_until, retry_at) {
            (Some(shown), _) => Life::Waiting {
                reason: "RunContainerError".to_string(),
                message: ended.message.clone(),
                shown_until: retry_at.and(shown_until),
                retry_at: retry_at.or(Some(shown)),
            },
            (None, Some(_)) => backing_off(&container.name, &pod, delay_ms, retry_at),
            (None, None) => Life::creating(),
        };
        container.last = Some(ended);
        if shown_until.is_none() && retry_at.is_some() {
            self.record_back_off(index, &pod);
        }
    }

    /// A container that could not be started has been shown so for long enough: from now on, that
    /// it waits.
    pub(super) fn note_back_off(&mut self, index: usize, now: Timestamp) {
        let Some(container) = self.state.containers.get(index) else {
            return;
        };
        let (shown_until, retry_at) = match container.life {
            Life::Waiting {
                shown_until,
                retry_at,
                ..
            } => (shown_until, retry_at),
            _ => return,
        };
        if shown_until.is_none_or(|at| at > now) {
            return;
        }
        let finished = container.last.as_ref().and_then(|e| e.finished_at);
        let delay = retry_at.zip(finished).map(|(at, f)| at.duration_since(f));
        let delay_ms = delay.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        let pod = self.described();
        if let Some(container) = self.state.containers.get_mut(index) {
            container.life = backing_off(&container.name, &pod, delay_ms, retry_at);
        }
        if retry_at.is_some_and(|at| at > now) {
            self.record_back_off(index, &pod);
        }
    }

    fn record_back_off(&mut self, index: usize, pod: &str) {
        let container = self.state.containers.get(index);
        let name = container.map(|c| c.name.as_str()).unwrap_or_default();
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

    /// Whether an instance that ended with `code` has a successor.
    pub(crate) fn runs_again(&self, container: &Container, code: i32) -> bool {
        if container.replacing {
            return true;
        }
        let spec = self.spec();
        let own = spec.init_containers.iter().flatten();
        let own = own
            .chain(&spec.containers)
            .find(|c| c.name == container.name);
        let of_pod = spec.restart_policy.as_deref().unwrap_or_default();
        match container.role {
            Role::Ephemeral => false,
            Role::Sidecar => true,
            // An init container that succeeded is done with, whatever the policy says.
            Role::Init => code != 0 && follows(of_pod, own, code),
            Role::Main => {
                let policy = own.and_then(|c| c.restart_policy.as_deref());
                let never = policy.unwrap_or(of_pod) == "Never";
                (container.unhealthy && !never) || follows(of_pod, own, code)
            }
        }
    }
}

fn backing_off(name: &str, pod: &str, delay_ms: i64, retry_at: Option<Timestamp>) -> Life {
    let delay = shown(delay_ms);
    Life::Waiting {
        reason: "CrashLoopBackOff".to_string(),
        message: Some(format!(
            "back-off {delay} restarting failed container={name} pod={pod}"
        )),
        shown_until: None,
        retry_at,
    }
}

/// Whether the policies let a container that ended with `code` run again: the first of its own
/// rules that matches, else its own policy, else the pod's (Kubernetes, "Container restarts").
fn follows(of_pod: &str, own: Option<&core::Container>, code: i32) -> bool {
    let rules = own.and_then(|c| c.restart_policy_rules.as_deref());
    for rule in rules.unwrap_or_default() {
        let Some(codes) = &rule.exit_codes else {
            continue;
        };
        let listed = codes.values.as_deref().unwrap_or_default().contains(&code);
        let matches = match codes.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        };
        if matches {
            return rule.action == "Restart";
        }
    }
    let policy = own.and_then(|c| c.restart_policy.as_deref());
    match policy.unwrap_or(of_pod) {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    }
}
