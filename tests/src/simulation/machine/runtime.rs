//! What runs on a machine: sandboxes and their containers. Setting things up takes time, and
//! sometimes fails; a container may end by itself.

use super::World;
use crate::simulation::audit::Invariant;
use crate::simulation::world::Happening;
use jiff::Timestamp;
use kabuki_lifecycle::resize::Verdict;
use kabuki_lifecycle::{
    Effect, Exit, Fact, ImageFailure, Instance, PodState, PullReport, Seen, SeenContainer,
};
use kabuki_model::ObjectKey;
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A sandbox and its containers, with what the agent stored beside it.
pub(in crate::simulation) struct Sandboxed {
    pub key: ObjectKey,
    pub pod: Arc<Pod>,
    pub state: PodState,
    containers: BTreeMap<(String, u32), Container>,
}

struct Container {
    /// Unlike any other's.
    serial: u64,
    started_at: Option<Timestamp>,
    exit: Option<Exit>,
}

/// Something that a machine has done.
pub(in crate::simulation) enum Done {
    Woken { wakes: u64 },
    Fact(Fact),
    SandboxMade,
    SandboxRemoved,
    Created(Instance),
    Started(Instance),
    Stopped { instance: Instance, code: i32 },
    Removed(Instance),
}

impl Sandboxed {
    /// What an adopting agent finds.
    pub fn seen(&self) -> Vec<SeenContainer> {
        let found = self.containers.iter().map(|((container, attempt), held)| {
            let state = match (&held.exit, held.started_at) {
                (Some(exit), _) => Seen::Exited(exit.clone()),
                (None, Some(started_at)) => Seen::Running { started_at },
                (None, None) => Seen::Created,
            };
            let instance = Instance {
                container: container.clone(),
                attempt: *attempt,
            };
            SeenContainer { instance, state }
        });
        found.collect()
    }

    fn container(&mut self, instance: &Instance) -> Option<&mut Container> {
        self.containers
            .get_mut(&(instance.container.clone(), instance.attempt))
    }

    pub fn runs_anything(&self) -> bool {
        self.containers.values().any(Container::is_running)
    }
}

impl Container {
    fn is_running(&self) -> bool {
        self.started_at.is_some() && self.exit.is_none()
    }
}

impl World {
    pub(super) fn store_state(&mut self, name: &str, uid: &str) {
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        let life = machine.agent.as_ref().and_then(|a| a.lives.get(uid));
        if let (Some(life), Some(held)) = (life, machine.runtime.get_mut(uid)) {
            held.state = life.machine.state().clone();
            held.pod = life.machine.pod().clone();
        }
    }

    pub(super) fn do_after(&mut self, name: &str, uid: &str, delay: Duration, what: Done) {
        let Some(machine) = self.machines.get(name) else {
            return;
        };
        let done = Happening::Done {
            node: name.to_string(),
            power: machine.power,
            boot: machine.boot,
            uid: uid.to_string(),
            what: Box::new(what),
        };
        self.after(delay, done);
    }

    /// Begins what the pod's machine wants; it is done some time later.
    pub(super) fn run_effect(&mut self, name: &str, uid: &str, effect: Effect) {
        let fails = self.faults.active && self.random.chance(self.faults.fail_on_node);
        let message = "not now".to_string();
        let (delay, what) = match effect {
            Effect::PrepareVolumes if fails => {
                let volume = "data".to_string();
                (
                    self.random.millis(1, 5),
                    Done::Fact(Fact::VolumesFailed { volume, message }),
                )
            }
            Effect::PrepareVolumes => (self.random.millis(1, 5), Done::Fact(Fact::VolumesReady)),
            Effect::PrepareSandbox if fails => (
                self.random.millis(3, 30),
                Done::Fact(Fact::SandboxFailed { message }),
            ),
            Effect::PrepareSandbox => (self.random.millis(3, 30), Done::SandboxMade),
            Effect::PullImage { container, .. } => return self.pull(name, uid, container, fails),
            Effect::CreateContainer(instance) if fails => {
                let failed = Fact::CreateFailed { instance, message };
                (self.random.millis(2, 10), Done::Fact(failed))
            }
            Effect::CreateContainer(instance) => {
                (self.random.millis(2, 10), Done::Created(instance))
            }
            Effect::StartContainer(instance) => {
                (self.random.millis(1, 10), Done::Started(instance))
            }
            Effect::Signal(instance) => match self.random.chance(100) {
                true => return,
                false => (
                    self.random.millis(5, 900),
                    Done::Stopped {
                        instance,
                        code: 143,
                    },
                ),
            },
            Effect::Kill(instance) => (
                self.random.millis(1, 5),
                Done::Stopped {
                    instance,
                    code: 137,
                },
            ),
            Effect::RunHook { instance, hook } => {
                let ended = Fact::HookEnded {
                    instance,
                    hook,
                    failed: fails,
                };
                (self.random.millis(1, 2000), Done::Fact(ended))
            }
            Effect::RemoveContainer(instance) => {
                (self.random.millis(1, 5), Done::Removed(instance))
            }
            Effect::TeardownSandbox { .. } => (self.random.millis(3, 20), Done::SandboxRemoved),
            Effect::AskForRoom { requests } => {
                let verdict = match fails {
                    true => Verdict::Deferred("the node is full".to_string()),
                    false => Verdict::Granted,
                };
                let decided = Fact::RoomDecided { requests, verdict };
                (self.random.millis(1, 5), Done::Fact(decided))
            }
            Effect::ApplyResources { containers, whole } => {
                let error = fails.then(|| "below its current usage".to_string());
                let applied = Fact::ResourcesApplied {
                    containers,
                    whole,
                    error,
                };
                (self.random.millis(1, 5), Done::Fact(applied))
            }
            // The others concern the API, and are done where effects are told apart.
            Effect::Record(_)
            | Effect::WakeAt(_)
            | Effect::StatusChanged
            | Effect::Finished { .. } => return,
        };
        self.do_after(name, uid, delay, what);
    }

    fn pull(&mut self, name: &str, uid: &str, container: String, fails: bool) {
        let delay = self.random.millis(5, 300);
        let began = Fact::PullStarted {
            container: container.clone(),
        };
        self.do_after(name, uid, Duration::from_millis(1), Done::Fact(began));
        let ended = match fails {
            true => Fact::ImageFailed {
                container,
                failure: ImageFailure::Pull,
                message: "the registry does not answer".to_string(),
            },
            false => Fact::ImageReady {
                container,
                image_id: "sha256:0".to_string(),
                pulled: Some(PullReport {
                    took_ms: 5,
                    waited_ms: 5,
                    size_bytes: 1,
                }),
            },
        };
        self.do_after(name, uid, delay, Done::Fact(ended));
    }

    /// Something is done: it is so on the machine, and the agent learns of it if it is still the
    /// one that asked.
    pub fn done(&mut self, name: &str, power: u64, boot: u64, uid: &str, what: Done) {
        let Some(machine) = self.machines.get(name).filter(|m| m.power == power) else {
            return;
        };
        let asked = machine.boot == boot;
        let fact = match what {
            Done::Stopped { instance, code } => {
                // Whoever looks after the container now learns of its end.
                if let Some(fact) = self.stopped(name, uid, &instance, code) {
                    self.tell_life(name, uid, fact);
                }
                return;
            }
            // What else was under way ended with the agent that had asked for it.
            _ if !asked => return,
            Done::Woken { wakes } => return self.woken(name, uid, wakes),
            Done::Fact(fact) => Some(fact),
            Done::SandboxMade => self.sandbox_made(name, uid),
            Done::SandboxRemoved => self.sandbox_removed(name, uid),
            Done::Created(instance) => self.created(name, uid, instance),
            Done::Started(instance) => self.started(name, uid, instance),
            Done::Removed(instance) => {
                let machine = self.machines.get_mut(name);
                if let Some(held) = machine.and_then(|m| m.runtime.get_mut(uid)) {
                    held.containers
                        .remove(&(instance.container, instance.attempt));
                }
                None
            }
        };
        if let Some(fact) = fact {
            self.tell_life(name, uid, fact);
        }
    }

    fn sandbox_made(&mut self, name: &str, uid: &str) -> Option<Fact> {
        let machine = self.machines.get_mut(name)?;
        let life = machine.agent.as_ref()?.lives.get(uid)?;
        let held = Sandboxed {
            key: life.key.clone(),
            pod: life.machine.pod().clone(),
            state: life.machine.state().clone(),
            containers: BTreeMap::new(),
        };
        // Making it anew removes what was left of an earlier attempt.
        let former = machine.runtime.insert(uid.to_string(), held);
        if former.is_some_and(|f| f.runs_anything()) {
            let detail = format!("{uid} runs on {name} and gets another sandbox");
            self.violate(Invariant::RunningContainersAreAdopted, detail);
        }
        let number = self.random.between(2, 250);
        Some(Fact::SandboxReady {
            ips: vec![format!("10.1.0.{number}")],
        })
    }

    fn sandbox_removed(&mut self, name: &str, uid: &str) -> Option<Fact> {
        self.machines.get_mut(name)?.runtime.remove(uid);
        Some(Fact::SandboxGone)
    }

    fn created(&mut self, name: &str, uid: &str, instance: Instance) -> Option<Fact> {
        let serial = self.fresh();
        let held = self.machines.get_mut(name)?.runtime.get_mut(uid)?;
        let container = Container {
            serial,
            started_at: None,
            exit: None,
        };
        let known = (instance.container.clone(), instance.attempt);
        held.containers.entry(known).or_insert(container);
        Some(Fact::ContainerCreated {
            instance,
            user: None,
        })
    }

    fn started(&mut self, name: &str, uid: &str, instance: Instance) -> Option<Fact> {
        let at = self.time();
        let held = self.machines.get_mut(name)?.runtime.get_mut(uid)?;
        let key = held.key.clone();
        let container = held.container(&instance)?;
        if container.exit.is_some() {
            return None;
        }
        let serial = container.serial;
        container.started_at = Some(at);
        let twice = held
            .containers
            .iter()
            .any(|((n, _), c)| *n == instance.container && c.serial != serial && c.is_running());
        self.say(format_args!(
            "{name} runs {key} ({uid}) {}",
            instance.attempt
        ));
        if twice {
            let detail = format!("{} of {key} runs twice on {name}", instance.container);
            self.violate(Invariant::NoContainerRunsTwice, detail);
        }
        self.audit_started(name, &key, uid);
        self.plan_exit(name, &key, serial);
        Some(Fact::ContainerStarted { instance, at })
    }

    /// Some containers end by themselves: jobs when they are done, others when they fail.
    fn plan_exit(&mut self, name: &str, key: &ObjectKey, serial: u64) {
        let is_job = key.name.starts_with("job-");
        let fails = self.faults.active && self.random.chance(self.faults.fail_container);
        if !is_job && !fails {
            return;
        }
        let delay = self.random.millis(100, 8000);
        let Some(machine) = self.machines.get(name) else {
            return;
        };
        let (power, code) = (machine.power, i32::from(fails));
        self.after(
            delay,
            Happening::Exit {
                node: name.to_string(),
                power,
                serial,
                code,
            },
        );
    }

    /// A container ends by itself.
    pub fn exit(&mut self, name: &str, power: u64, serial: u64, code: i32) {
        let Some(machine) = self.machines.get(name).filter(|m| m.power == power) else {
            return;
        };
        let found = machine.runtime.iter().find_map(|(uid, held)| {
            let (place, _) = held.containers.iter().find(|(_, c)| c.serial == serial)?;
            let instance = Instance {
                container: place.0.clone(),
                attempt: place.1,
            };
            Some((uid.clone(), instance))
        });
        if let Some((uid, instance)) = found
            && let Some(fact) = self.stopped(name, &uid, &instance, code)
        {
            self.tell_life(name, &uid, fact);
        }
    }

    fn stopped(&mut self, name: &str, uid: &str, instance: &Instance, code: i32) -> Option<Fact> {
        let now = self.time();
        let held = self.machines.get_mut(name)?.runtime.get_mut(uid)?;
        let container = held.container(instance)?;
        if container.exit.is_some() {
            return None;
        }
        let exit = Exit {
            code,
            started_at: container.started_at,
            finished_at: Some(now),
            ..Exit::default()
        };
        container.exit = Some(exit.clone());
        self.say(format_args!("{name}: {uid} ends with {code}"));
        Some(Fact::ContainerExited {
            instance: instance.clone(),
            exit,
        })
    }
}
