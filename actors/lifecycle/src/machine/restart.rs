//! Whether and when an instance that ended has a successor (Kubernetes, "Container restarts").

use super::PodMachine;
use super::after_ms;
use super::backoff::{FORGIVEN_AFTER_S, RESTART_MAX_MS, RESTART_MS, shown};
use super::container::{START_ERROR, START_ERROR_CODE};
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
        container.unhealthy = false;
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
