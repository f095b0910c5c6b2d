//! A node: an agent with the real pod machines, and the containers that it looks after, which
//! outlive it. The agent may die and adopt them; the power may fail and take all of it.
//!
//! | module | what |
//! |---|---|
//! | `runtime` | sandboxes and containers |
//! | `reporting` | statuses, farewells and the node's own registration |

mod reporting;
mod runtime;

pub(super) use runtime::Done;

use super::bugs::Bug;
use super::watching::{Followed, Watcher};
use super::world::{Happening, World};
use kabuki_lifecycle::{Effect, Fact, Host, PodMachine};
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::{ObjectKey, Resource, Stored};
use reporting::Report;
use runtime::Sandboxed;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Machine {
    /// Whether it is switched on.
    pub is_on: bool,
    /// How often it was.
    pub power: u64,
    /// How often the agent was started.
    pub boot: u64,
    pub agent: Option<Agent>,
    /// What runs, whether there is an agent or not.
    pub runtime: BTreeMap<String, Sandboxed>,
    pub cpu_milli: u64,
    pub pods: u64,
}

/// The agent's memory, which dies with it.
#[derive(Default)]
pub(super) struct Agent {
    pub lives: BTreeMap<String, Life>,
    pub is_registered: bool,
}

/// A pod that the agent looks after.
pub(super) struct Life {
    pub key: ObjectKey,
    pub machine: PodMachine,
    pub report: Report,
    /// It has ended, and the API is to let it go.
    pub is_leaving: bool,
    /// The newest time that it wants to be woken at.
    wakes: u64,
}

impl Life {
    fn new(key: ObjectKey, machine: PodMachine) -> Self {
        Self {
            key,
            machine,
            report: Report::default(),
            is_leaving: false,
            wakes: 0,
        }
    }
}

impl World {
    pub fn begin_machines(&mut self) {
        for number in 0..self.people.first_nodes {
            self.add_machine(&format!("node-{number}"));
        }
    }

    pub fn add_machine(&mut self, name: &str) {
        let sizes = [(500, 4), (1000, 6), (2000, 10)];
        let (cpu_milli, pods) = *self.random.pick(&sizes);
        self.add_sized_machine(name, cpu_milli, pods);
    }

    pub fn add_sized_machine(&mut self, name: &str, cpu_milli: u64, pods: u64) {
        let machine = self.machines.entry(name.to_string()).or_default();
        if machine.is_on {
            return;
        }
        (machine.cpu_milli, machine.pods) = (cpu_milli, pods);
        machine.is_on = true;
        machine.power += 1;
        machine.boot += 1;
        let (power, boot) = (machine.power, machine.boot);
        self.say(format_args!("{name} is switched on with {cpu_milli} m"));
        self.after(
            std::time::Duration::ZERO,
            Happening::Boot {
                node: name.to_string(),
                power,
                boot,
            },
        );
    }

    /// The power fails: nothing of what ran is left.
    pub fn cut_power(&mut self, name: &str) {
        self.say(format_args!("{name} loses power"));
        self.unfollow(&Watcher::Node {
            name: name.to_string(),
        });
        self.lose_calls_of(name);
        if let Some(machine) = self.machines.get_mut(name) {
            machine.is_on = false;
            machine.power += 1;
            machine.boot += 1;
            machine.agent = None;
            machine.runtime.clear();
        }
    }

    /// The agent dies; what runs goes on.
    pub fn crash_agent(&mut self, name: &str) {
        self.unfollow(&Watcher::Node {
            name: name.to_string(),
        });
        self.lose_calls_of(name);
        let wait = self.random.millis(50, 1500);
        let Some(machine) = self.machines.get_mut(name).filter(|m| m.agent.is_some()) else {
            return;
        };
        machine.agent = None;
        machine.boot += 1;
        let (power, boot) = (machine.power, machine.boot);
        self.say(format_args!("agent of {name} crashes"));
        self.after(
            wait,
            Happening::Boot {
                node: name.to_string(),
                power,
                boot,
            },
        );
    }

    /// The agent starts, and adopts what runs.
    pub fn boot(&mut self, name: &str, power: u64, boot: u64) {
        let now = self.time();
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        if machine.power != power || machine.boot != boot {
            return;
        }
        let mut agent = Agent::default();
        let mut begun = Vec::new();
        for (uid, held) in &machine.runtime {
            let machine = match self.bug {
                Some(Bug::ForgetsContainers) => PodMachine::new(held.pod.clone(), host(), now),
                _ => {
                    let state = held.state.clone();
                    PodMachine::resume(held.pod.clone(), host(), state, &held.seen(), now)
                }
            };
            agent
                .lives
                .insert(uid.clone(), Life::new(held.key.clone(), machine));
            begun.push(uid.clone());
        }
        machine.agent = Some(agent);
        self.say(format_args!(
            "agent of {name} starts with {} pods",
            begun.len()
        ));
        for uid in begun {
            self.begin_life(name, &uid);
        }
        self.register(name, boot);
        let fields = format!("spec.nodeName={name}");
        let watcher = Watcher::Node {
            name: name.to_string(),
        };
        self.follow(watcher, Resource::PODS, &fields);
    }

    fn begin_life(&mut self, name: &str, uid: &str) {
        let now = self.time();
        if let Some(life) = self.life(name, uid) {
            let effects = life.machine.start(now);
            self.perform(name, uid, effects);
        }
    }

    pub fn node_told(&mut self, name: &str, changes: Vec<Followed>) {
        for change in changes {
            let uid = change.object.uid.to_string();
            if change.removed {
                self.tell_life(name, &uid, Fact::PodVanished);
                continue;
            }
            let Ok(pod) = change.object.typed::<Pod>() else {
                continue;
            };
            if self.life(name, &uid).is_some() {
                self.tell_life(name, &uid, Fact::PodChanged(pod));
                continue;
            }
            self.adopt_new(name, &uid, &change.object, pod);
        }
    }

    fn adopt_new(&mut self, name: &str, uid: &str, object: &Stored, pod: Arc<Pod>) {
        let now = self.time();
        let Some(agent) = self.machines.get_mut(name).and_then(|m| m.agent.as_mut()) else {
            return;
        };
        let machine = PodMachine::new(pod, host(), now);
        agent
            .lives
            .insert(uid.to_string(), Life::new(object.key.clone(), machine));
        self.say(format_args!("{name} has {} ({uid})", object.key));
        self.begin_life(name, uid);
    }

    /// The list is complete: what runs and was not in it is gone from the API.
    pub fn node_has_list(&mut self, name: &str) {
        let known = self.known_to_node(name);
        let Some(agent) = self.machines.get(name).and_then(|m| m.agent.as_ref()) else {
            return;
        };
        let gone: Vec<String> = agent
            .lives
            .keys()
            .filter(|uid| known.iter().all(|k| **k != ***uid))
            .cloned()
            .collect();
        for uid in gone {
            self.tell_life(name, &uid, Fact::PodVanished);
        }
    }

    pub fn life(&mut self, name: &str, uid: &str) -> Option<&mut Life> {
        self.machines
            .get_mut(name)?
            .agent
            .as_mut()?
            .lives
            .get_mut(uid)
    }

    /// Gives a pod's machine a fact, and does what it wants.
    pub fn tell_life(&mut self, name: &str, uid: &str, fact: Fact) {
        let now = self.time();
        if let Some(life) = self.life(name, uid) {
            let effects = life.machine.handle(fact, now);
            self.perform(name, uid, effects);
        }
    }

    fn perform(&mut self, name: &str, uid: &str, effects: Vec<Effect>) {
        self.store_state(name, uid);
        for effect in effects {
            match effect {
                Effect::Record(_) => {}
                Effect::StatusChanged => self.status_changed(name, uid),
                Effect::Finished { delete_from_api } => self.finished(name, uid, delete_from_api),
                Effect::WakeAt(at) => {
                    let wait = self.until(at);
                    let Some(life) = self.life(name, uid) else {
                        continue;
                    };
                    life.wakes += 1;
                    let what = Done::Woken { wakes: life.wakes };
                    self.do_after(name, uid, wait, what);
                }
                effect => self.run_effect(name, uid, effect),
            }
        }
    }

    pub(super) fn woken(&mut self, name: &str, uid: &str, wakes: u64) {
        if self.life(name, uid).is_some_and(|life| life.wakes == wakes) {
            self.tell_life(name, uid, Fact::Woken);
        }
    }

    pub fn is_every_machine_idle(&self) -> bool {
        self.machines.values().all(|machine| match &machine.agent {
            None => !machine.is_on,
            Some(agent) => agent.is_registered && agent.lives.values().all(Life::is_settled),
        })
    }
}

impl Life {
    fn is_settled(&self) -> bool {
        !self.is_leaving && self.report.is_settled()
    }
}

fn host() -> Host {
    Host {
        ips: vec!["10.0.0.1".to_string()],
    }
}
