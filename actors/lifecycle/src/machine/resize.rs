//! Other resources for a pod that runs: asked of the node, granted, applied; or a restart where
//! the container's policy wants one.

use super::backoff::Backoff;
use super::effect::Effect;
use super::state::{Life, Sandbox};
use super::{PodMachine, after_ms};
use crate::containers::container;
use crate::resize::{self, Shares, Verdict};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kabuki_model::kind::pod::Totals;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the kernel refuses (less memory than is used) is tried again after these times.
const RETRY_MS: i64 = 1_000;
const RETRY_MAX_MS: i64 = 30_000;

/// What the containers of a pod have, and what is still to come of a resize.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Resize {
    /// What the node has granted each container.
    pub granted: Shares,
    /// What the present instance of each container has.
    pub actual: Shares,
    /// What the pod's cgroup was made or changed for.
    pub whole: Shares,
    /// What it has been widened for beforehand.
    #[serde(default)]
    pub widened: Shares,
    /// What the node was asked for, until it is granted.
    pub asked: Option<Shares>,
    /// Why it was not granted.
    pub refused: Option<Verdict>,
    /// The manifest's generation that was granted last.
    pub generation: Option<i64>,
    /// Whether a resize was granted that is not done yet.
    pub open: bool,
    /// What is being applied.
    pub applying: Option<Shares>,
    /// Why it could not be applied.
    pub error: Option<String>,
    /// When it is tried again.
    pub retry_at: Option<Timestamp>,
    /// Failures in a row.
    pub backoff: Backoff,
}

impl PodMachine {
    /// The manifest with the resources that were granted: what containers are made from.
    pub fn granted(&self) -> Arc<Pod> {
        resize::granted(&self.pod, &self.state.resize.granted)
    }

    /// Containers that were not known before have what their manifest says.
    pub(super) fn grant_new(&mut self) {
        let wanted = resize::wanted(self.spec());
        let held = &mut self.state.resize.granted;
        held.retain(|name, _| wanted.contains_key(name));
        for (name, share) in wanted {
            held.entry(name).or_insert(share);
        }
    }

    /// Asks for room when the manifest wants something else than was granted.
    pub(super) fn notice_resize(&mut self) {
        let wanted = resize::wanted(self.spec());
        if wanted == self.state.resize.granted {
            self.state.resize.asked = None;
            self.state.resize.refused = None;
            return;
        }
        if self.is_ending() || self.state.resize.asked.as_ref() == Some(&wanted) {
            return;
        }
        let requests = resize::taken(&self.pod, &wanted);
        self.state.resize.asked = Some(wanted);
        self.state.resize.refused = None;
        self.emit(Effect::AskForRoom { requests });
    }

    /// A new agent knows nothing of what its predecessor was asked.
    pub(super) fn ask_again(&mut self) {
        let resize = &mut self.state.resize;
        (resize.asked, resize.applying) = (None, None);
        self.notice_resize();
    }

    pub(super) fn room_decided(&mut self, requests: Totals, verdict: Verdict) {
        let Some(asked) = self.state.resize.asked.clone() else {
            return;
        };
        if resize::taken(&self.pod, &asked) != requests {
            return;
        }
        let generation = self.pod.metadata.generation;
        let resize = &mut self.state.resize;
        match verdict {
            Verdict::Granted => {
                resize.granted = asked;
                (resize.asked, resize.refused) = (None, None);
                (resize.error, resize.retry_at) = (None, None);
                resize.backoff.reset();
                (resize.generation, resize.open) = (generation, true);
                let text = "Pod resize started".to_string();
                self.record(false, "ResizeStarted", text);
            }
            refused if resize.refused.as_ref() == Some(&refused) => {}
            refused => {
                let (reason, text) = match &refused {
                    Verdict::Deferred(why) => ("ResizeDeferred", why.clone()),
                    Verdict::Infeasible(why) => ("ResizeInfeasible", why.clone()),
                    Verdict::Granted => return,
                };
                resize.refused = Some(refused);
                self.record(true, reason, format!("Pod resize {text}"));
            }
        }
    }

    /// Whether the present instance of a container has something else than was granted.
    fn is_behind(&self, index: usize) -> bool {
        let Some(container) = self.state.containers.get(index) else {
            return false;
        };
        let resize = &self.state.resize;
        let has_instance = matches!(
            container.life,
            Life::Created | Life::Starting | Life::Running { .. }
        );
        let actual = resize.actual.get(&container.name);
        has_instance && actual.is_some() && actual != resize.granted.get(&container.name)
    }

    /// Whether what was granted is not yet so.
    pub(crate) fn is_resizing(&self) -> bool {
        let resize = &self.state.resize;
        self.state.sandbox == Sandbox::Ready
            && (resize.whole != resize.granted
                || (0..self.state.containers.len()).any(|i| self.is_behind(i)))
    }

    /// Brings the running containers to what was granted.
    pub(super) fn advance_resize(&mut self, now: Timestamp) {
        if !self.is_resizing() {
            if std::mem::take(&mut self.state.resize.open) {
                self.record(false, "ResizeCompleted", "Pod resize completed".to_string());
            }
            return;
        }
        let resize = &self.state.resize;
        if resize.applying.is_some() || resize.retry_at.is_some_and(|at| at > now) {
            return;
        }
        let mut behind = Vec::new();
        // What an ended instance had holds the pod's bounds until it is gone.
        let comes = |life: &Life| match life {
            Life::Waiting { retry_at, .. } => retry_at.is_none(),
            Life::Creating | Life::Created | Life::Starting => true,
            Life::Running { .. } | Life::Ended(_) => false,
        };
        let mut whole = !self.state.containers.iter().any(|c| comes(&c.life));
        for index in 0..self.state.containers.len() {
            if !self.is_behind(index) {
                continue;
            }
            if self.restarts_for_resize(index) {
                whole = false;
                self.restart_for_resize(index, now);
            } else if let Some(container) = self.state.containers.get(index) {
                behind.push(container.instance());
            }
        }
        let resize = &mut self.state.resize;
        // The pod's own bounds are tightened when nothing exceeds them any more.
        let widens = resize.widened != resize.granted;
        let due = !behind.is_empty() || widens || (whole && resize.whole != resize.granted);
        if due {
            resize.applying = Some(resize.granted.clone());
            self.emit(Effect::ApplyResources {
                containers: behind,
                whole,
            });
        }
    }

    fn restarts_for_resize(&self, index: usize) -> bool {
        let Some(held) = self.state.containers.get(index) else {
            return false;
        };
        let resize = &self.state.resize;
        let (from, to) = (
            resize.actual.get(&held.name),
            resize.granted.get(&held.name),
        );
        let found = container(&self.pod, &held.name);
        match (found, from, to) {
            (Some((_, manifest)), Some(from), Some(to)) => resize::restarts(&manifest, from, to),
            _ => false,
        }
    }

    fn restart_for_resize(&mut self, index: usize, now: Timestamp) {
        let grace_ms = self.grace_s().saturating_mul(1000);
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        if !container.is_running() || container.stop.is_some() {
            return;
        }
        container.replacing = true;
        let text = format!("Container {} resize requires restart", container.name);
        self.begin_stop(index, after_ms(now, grace_ms), text, now);
        self.advance_stop(index, now);
    }

    /// An instance is about to be made with what was granted.
    pub(super) fn note_actual(&mut self, name: &str) {
        let resize = &mut self.state.resize;
        if let Some(share) = resize.granted.get(name) {
            resize.actual.insert(name.to_string(), share.clone());
        }
    }

    pub(super) fn resources_applied(
        &mut self,
        containers: &[super::Instance],
        whole: bool,
        error: Option<String>,
        now: Timestamp,
    ) {
        let Some(applied) = self.state.resize.applying.take() else {
            return;
        };
        if let Some(message) = error {
            let resize = &mut self.state.resize;
            let delay_ms = resize.backoff.fail(RETRY_MS, RETRY_MAX_MS);
            resize.retry_at = Some(after_ms(now, delay_ms));
            if resize.error.as_ref() != Some(&message) {
                resize.error = Some(message.clone());
                self.record(true, "ResizeError", message);
            }
            return;
        }
        for instance in containers {
            let present = self.find(&instance.container);
            let present = present.and_then(|index| self.state.containers.get(index));
            let is_present = present.is_some_and(|c| c.instance() == *instance);
            let share = applied.get(&instance.container);
            if let (true, Some(share)) = (is_present, share) {
                let actual = &mut self.state.resize.actual;
                actual.insert(instance.container.clone(), share.clone());
            }
        }
        let resize = &mut self.state.resize;
        resize.widened.clone_from(&applied);
        if whole {
            resize.whole = applied;
        }
        (resize.error, resize.retry_at) = (None, None);
        resize.backoff.reset();
    }
}
