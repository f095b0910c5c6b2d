//! Going on where an earlier agent stopped: from what the API knows, or from what was stored
//! with the sandbox and what is found running in it.

use super::container::ended;
use super::effect::HookKind;
use super::fact::{Seen, SeenContainer};
use super::state::{Container, Ended, Health, Hook, Image, Life, PodState, Sandbox, Volumes};
use super::{Effect, PodMachine};
use crate::containers::Role;
use crate::resize::{self, Shares};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodStatus};

/// A container whose end nobody saw (kubelet's words).
const UNKNOWN: &str = "ContainerStatusUnknown";
const UNKNOWN_MESSAGE: &str = "The container could not be located when the pod was restarted";
const KILLED: i32 = 137;

/// The state of a pod of which the node has nothing: what the API's status says of an earlier
/// life is carried on, so that restart counts never fall.
pub(super) fn from_api(pod: &Pod) -> PodState {
    let mut state = PodState::default();
    let Some(status) = &pod.status else {
        return state;
    };
    state.start_time = status.start_time.as_ref().map(|t| t.0);
    if let Some(phase @ ("Succeeded" | "Failed")) = status.phase.as_deref() {
        state.final_phase = Some(phase.to_string());
        state.ips = status
            .pod_ips
            .iter()
            .flatten()
            .map(|ip| ip.ip.clone())
            .collect();
    }
    let ended_for_good = state.final_phase.is_some();
    for held in status.init_container_statuses.iter().flatten() {
        let mut container = from_status(held, ended_for_good);
        container.passed = ended_for_good;
        let is_init = crate::containers::container(pod, &held.name);
        let is_init = is_init.is_some_and(|(role, _)| role == Role::Init);
        // In another sandbox it runs again, even if it has succeeded in an earlier one.
        if let Life::Ended(ended) = &container.life
            && is_init
            && !ended_for_good
            && ended.exit_code == 0
        {
            container.last = Some(ended.clone());
            container.life = Life::creating();
        }
        state.containers.push(container);
    }
    state.resize.granted = held_shares(status, pod);
    let others = status.container_statuses.iter().flatten();
    let added = status.ephemeral_container_statuses.iter().flatten();
    for held in others.chain(added) {
        state.containers.push(from_status(held, ended_for_good));
    }
    state
}

/// What an earlier life of the pod had been granted, where the manifest wants something else now.
fn held_shares(status: &PodStatus, pod: &Pod) -> Shares {
    let wanted = pod.spec.as_ref().map(resize::wanted).unwrap_or_default();
    let statuses = status.container_statuses.iter().flatten();
    let all = statuses.chain(status.init_container_statuses.iter().flatten());
    let held = all.filter(|s| wanted.contains_key(&s.name));
    held.filter_map(|s| {
        let mut share = s.resources.clone()?;
        share.requests = s.allocated_resources.clone().or(share.requests);
        Some((s.name.clone(), share))
    })
    .collect()
}

fn from_status(status: &ContainerStatus, ended_for_good: bool) -> Container {
    let mut container = Container::new(&status.name, &status.image);
    container.image_id.clone_from(&status.image_id);
    let last = status
        .last_state
        .as_ref()
        .and_then(|s| s.terminated.as_ref());
    container.last = last.map(terminated);
    let Some(state) = &status.state else {
        return container;
    };
    let attempt = u32::try_from(status.restart_count).ok();
    if let Some(held) = &state.terminated {
        container.attempt = attempt;
        container.life = Life::Ended(Ended {
            attempt,
            ..terminated(held)
        });
    } else if let Some(running) = &state.running {
        container.attempt = attempt;
        container.life = Life::Ended(unknown(attempt, running.started_at.as_ref().map(|t| t.0)));
    } else if status.restart_count > 0 || container.last.is_some() {
        container.attempt = attempt;
    } else if ended_for_good {
        container.life = Life::Ended(unknown(None, None));
    }
    container
}

fn terminated(held: &ContainerStateTerminated) -> Ended {
    Ended {
        attempt: None,
        exit_code: held.exit_code,
        reason: held.reason.clone().unwrap_or_default(),
        message: held.message.clone(),
        started_at: held.started_at.as_ref().map(|t| t.0),
        finished_at: held.finished_at.as_ref().map(|t| t.0),
    }
}

fn unknown(attempt: Option<u32>, started_at: Option<Timestamp>) -> Ended {
    Ended {
        attempt,
        exit_code: KILLED,
        reason: UNKNOWN.to_string(),
        message: Some(UNKNOWN_MESSAGE.to_string()),
        started_at,
        finished_at: None,
    }
}

impl PodMachine {
    /// Brings the stored state in line with what is found. What is found is right: the state may
    /// have been stored a moment before or after.
    pub(super) fn adopt(&mut self, seen: &[SeenContainer], now: Timestamp) {
        if self.state.finished {
            return;
        }
        if self.state.volumes == Volumes::Preparing {
            self.state.volumes = Volumes::Absent;
        }
        match self.state.sandbox {
            Sandbox::Preparing => self.state.sandbox = Sandbox::Absent,
            Sandbox::TearingDown { .. } | Sandbox::Gone => self.state.sandbox = Sandbox::Lost,
            _ => {}
        }
        for index in 0..self.state.containers.len() {
            let name = self.state.containers[index].name.clone();
            let newest = seen
                .iter()
                .filter(|s| s.instance.container == name)
                .max_by_key(|s| s.instance.attempt);
            self.adopt_container(index, newest, now);
            for other in seen.iter().filter(|s| s.instance.container == name) {
                let stale = newest.is_some_and(|n| n.instance != other.instance);
                if stale {
                    self.emit(Effect::RemoveContainer(other.instance.clone()));
                }
            }
        }
    }

    fn adopt_container(&mut self, index: usize, seen: Option<&SeenContainer>, now: Timestamp) {
        let container = &mut self.state.containers[index];
        if container.image == Image::Pulling {
            container.image = Image::Unknown;
        }
        let Some(seen) = seen else {
            match &container.life {
                Life::Creating => container.life = Life::creating(),
                Life::Created | Life::Starting => {
                    container.life = Life::Ended(unknown(container.attempt, None));
                }
                Life::Running { started_at } => {
                    container.life = Life::Ended(unknown(container.attempt, Some(*started_at)));
                }
                Life::Waiting { .. } | Life::Ended(_) => {}
            }
            return;
        };
        let older = container
            .attempt
            .is_some_and(|held| held > seen.instance.attempt);
        let newer = container
            .attempt
            .is_none_or(|held| held < seen.instance.attempt);
        let over = matches!(container.life, Life::Waiting { .. } | Life::Ended(_));
        if older || (over && !newer) {
            return self.emit(Effect::RemoveContainer(seen.instance.clone()));
        }
        if newer && let Life::Ended(ended) = &container.life {
            container.last = Some(ended.clone());
        }
        container.attempt = Some(seen.instance.attempt);
        match &seen.state {
            Seen::Created => container.life = Life::Created,
            Seen::Running { started_at } => {
                container.life = Life::Running {
                    started_at: *started_at,
                };
                if newer {
                    container.health = Health::default();
                }
                // Commands go on in the meantime, so that this one is only waited for.
                let after = container.health.post_start == Hook::Running;
                let (mut before, mut asked) = (false, false);
                if let Some(stop) = &mut container.stop {
                    before = stop.pre_stop == Hook::Running;
                    asked = stop.asked_at.is_some();
                    stop.killed = false;
                }
                for (_, hook) in [(after, HookKind::PostStart), (before, HookKind::PreStop)]
                    .into_iter()
                    .filter(|(runs, _)| *runs)
                {
                    let instance = seen.instance.clone();
                    self.emit(Effect::RunHook { instance, hook });
                }
                // Whether the signal went out before the agent ended is not known: once more.
                if asked {
                    self.emit(Effect::Signal(seen.instance.clone()));
                }
            }
            Seen::Exited(exit) => {
                container.stop = None;
                container.life = Life::Ended(ended(Some(seen.instance.attempt), exit.clone(), now));
                self.emit(Effect::RemoveContainer(seen.instance.clone()));
            }
        }
    }
}
