//! How running instances fare: `postStart` hooks, probes.

use super::effect::{Effect, HookKind};
use super::fact::Instance;
use super::state::{Container, Hook};
use super::{PodMachine, after_ms};
use crate::probe::{ProbeKind, Wanted};
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;

impl PodMachine {
    /// Runs the `postStart` hook of an instance that has just started.
    pub(super) fn advance_post_start(&mut self, index: usize) {
        let has_hook = self.has_post_start(index) && !self.is_ending();
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        if !container.is_running() || container.health.post_start != Hook::Due {
            return;
        }
        // One that is to end already is not told that it has started.
        if !has_hook || container.stop.is_some() {
            container.health.post_start = Hook::Done;
            return;
        }
        container.health.post_start = Hook::Running;
        let (instance, hook) = (container.instance(), HookKind::PostStart);
        self.emit(Effect::RunHook { instance, hook });
    }

    pub(super) fn has_post_start(&self, index: usize) -> bool {
        let container = self.manifest_of(index);
        let hooks = container.as_ref().and_then(|c| c.lifecycle.as_ref());
        hooks.is_some_and(|l| l.post_start.is_some())
    }

    pub(super) fn hook_ended(
        &mut self,
        instance: &Instance,
        hook: HookKind,
        failed: bool,
        now: Timestamp,
    ) {
        let Some(index) = self.running(instance) else {
            return;
        };
        match hook {
            HookKind::PostStart => self.post_start_ended(index, failed, now),
            HookKind::PreStop => self.pre_stop_ended(index, failed),
        }
    }

    fn post_start_ended(&mut self, index: usize, failed: bool, now: Timestamp) {
        let grace_ms = self.grace_s().saturating_mul(1000);
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        if container.health.post_start != Hook::Running {
            return;
        }
        container.health.post_start = Hook::Done;
        let stops = container.stop.is_some();
        if !failed {
            return;
        }
        let text = "PostStartHook failed".to_string();
        self.record_of(index, true, "FailedPostStartHook", text);
        if !stops {
            let text = "FailedPostStartHook".to_string();
            self.begin_stop(index, after_ms(now, grace_ms), text, now);
        }
    }

    fn pre_stop_ended(&mut self, index: usize, failed: bool) {
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        let Some(stop) = &mut container.stop else {
            return;
        };
        if stop.pre_stop != Hook::Running {
            return;
        }
        stop.pre_stop = Hook::Done;
        stop.late = true;
        if failed {
            let text = "PreStopHook failed".to_string();
            self.record_of(index, true, "FailedPreStopHook", text);
        }
    }

    pub(super) fn probe_turned(
        &mut self,
        instance: &Instance,
        probe: ProbeKind,
        healthy: bool,
        now: Timestamp,
    ) {
        let Some(index) = self.running(instance) else {
            return;
        };
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        match (probe, healthy) {
            (ProbeKind::Startup, true) => container.health.started = true,
            (ProbeKind::Readiness, _) => container.health.ready = healthy,
            (ProbeKind::Liveness, true) => {}
            (ProbeKind::Startup | ProbeKind::Liveness, false) => {
                self.stop_unhealthy(index, probe, now);
            }
        }
    }

    /// Stops an instance whose probe failed; its successor follows as the policy says.
    fn stop_unhealthy(&mut self, index: usize, probe: ProbeKind, now: Timestamp) {
        let own = self.manifest_of(index).and_then(|c| {
            let of = match probe {
                ProbeKind::Startup => c.startup_probe.as_ref(),
                _ => c.liveness_probe.as_ref(),
            };
            of.and_then(|p| p.termination_grace_period_seconds)
        });
        let grace_s = own.unwrap_or_else(|| self.grace_s()).max(0);
        let ending = self.is_ending();
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        if ending || container.stop.is_some() {
            return;
        }
        container.unhealthy = true;
        let name = container.name.clone();
        let container = container.clone();
        let mut text = format!("Container {name} failed {} probe", probe.in_small());
        // What it will end with is not known yet; that of a kill stands for it.
        if self.runs_again(&container, 137) {
            text.push_str(", will be restarted");
        }
        let deadline = after_ms(now, grace_s.saturating_mul(1000));
        self.begin_stop(index, deadline, text, now);
    }

    /// The container of a running instance.
    fn running(&self, instance: &Instance) -> Option<usize> {
        let index = self.find(&instance.container)?;
        let container = self.state.containers.get(index)?;
        (container.is_running() && container.instance() == *instance).then_some(index)
    }

    /// Whether the program runs and has come up.
    pub(crate) fn is_started(&self, index: usize) -> bool {
        let Some(container) = self.state.containers.get(index) else {
            return false;
        };
        container.is_started(self.manifest_of(index).as_deref())
    }

    /// The probes that are to be running now.
    pub fn probes(&self) -> Vec<Wanted> {
        crate::probe::wanted(&self.pod, &self.state, self.is_ending())
    }
}

impl Container {
    /// Whether it runs and its `postStart` hook, if it has one, has ended.
    pub fn is_settled(&self) -> bool {
        self.is_running() && self.health.post_start == Hook::Done
    }

    /// Whether it runs and has come up, by its startup probe if it has one.
    pub(crate) fn is_started(&self, manifest: Option<&core::Container>) -> bool {
        let probed = manifest.is_some_and(|c| c.startup_probe.is_some());
        self.is_settled() && (!probed || self.health.started)
    }

    /// Whether it may be sent work, by its readiness probe if it has one.
    pub(crate) fn is_ready(&self, manifest: Option<&core::Container>) -> bool {
        let probed = manifest.is_some_and(|c| c.readiness_probe.is_some());
        self.is_started(manifest) && (!probed || self.health.ready)
    }
}
