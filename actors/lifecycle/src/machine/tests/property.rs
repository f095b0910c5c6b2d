//! Whatever happens in whatever order, the invariants hold.

mod told;

use super::world::{of, pod, typed};
use crate::machine::{
    Effect, Exit, Fact, HookKind, Host, ImageFailure, Instance, PodMachine, PodState, Seen,
    SeenContainer,
};
use crate::resize::Verdict;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// A node that does what it is told, in any order and with any outcome.
struct Node {
    now: Timestamp,
    machine: PodMachine,
    /// Effects whose outcome is still to come.
    open: Vec<Effect>,
    live: BTreeMap<Instance, bool>,
    /// How many instances were made of each container.
    made: BTreeMap<String, u32>,
    /// Hooks that were begun: none is begun twice.
    hooks: BTreeSet<(Instance, HookKind)>,
    /// Containers whose newest instance could not be started: since when, and how often in a row.
    unstartable: BTreeMap<String, (Timestamp, u32)>,
    torn_down: bool,
    /// The phase that people were told last.
    phase: String,
}

impl Node {
    fn new(policy: &str) -> Self {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let command = json!({"exec": {"command": ["x"]}});
        let hooks = json!({"postStart": command, "preStop": command});
        let spec = json!({"restartPolicy": policy, "terminationGracePeriodSeconds": 5,
        "initContainers": [
            {"name": "first", "image": "x"},
            {"name": "side", "image": "x", "restartPolicy": "Always",
                "startupProbe": command, "lifecycle": hooks},
            {"name": "second", "image": "x"},
        ],
        "containers": [
            {"name": "a", "image": "x", "readinessProbe": command, "livenessProbe": command,
                "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]},
            {"name": "b", "image": "y", "lifecycle": hooks, "restartPolicy": policy,
                "restartPolicyRules": [{"action": "Restart",
                    "exitCodes": {"operator": "In", "values": [1]}}]},
        ]});
        let machine = PodMachine::new(typed(&pod(spec)), Host::default(), now);
        let (open, live, made, hooks, unstartable) = Default::default();
        let mut node = Self {
            now,
            machine,
            open,
            live,
            made,
            hooks,
            unstartable,
            torn_down: false,
            phase: String::new(),
        };
        let effects = node.machine.start(now);
        node.take(effects);
        node
    }

    fn tell(&mut self, fact: Fact) {
        let finished = self.machine.is_finished();
        let effects = self.machine.handle(fact, self.now);
        assert!(
            !finished || effects.is_empty(),
            "nothing follows the end: {effects:?}"
        );
        self.take(effects);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match &effect {
                Effect::CreateContainer(instance) => {
                    let others = self
                        .live
                        .keys()
                        .filter(|i| i.container == instance.container);
                    assert_eq!(others.count(), 0, "two instances of {instance:?}");
                    self.in_time(&instance.container);
                    self.live.insert(instance.clone(), false);
                    *self.made.entry(instance.container.clone()).or_default() += 1;
                }
                Effect::RunHook { instance, hook } => {
                    assert_eq!(
                        self.live.get(instance),
                        Some(&true),
                        "{instance:?} does not run"
                    );
                    let new = self.hooks.insert((instance.clone(), *hook));
                    assert!(new, "{hook:?} of {instance:?} runs twice");
                }
                Effect::StartContainer(instance) => {
                    self.in_order(&instance.container);
                    assert_eq!(
                        self.live.get(instance),
                        Some(&false),
                        "{instance:?} not created"
                    );
                }
                Effect::Record(_) | Effect::WakeAt(_) | Effect::StatusChanged => continue,
                Effect::Finished { .. } => {
                    assert!(self.torn_down, "the sandbox goes first");
                    assert!(self.live.is_empty(), "nothing is left: {:?}", self.live);
                    continue;
                }
                Effect::TeardownSandbox { keep_volumes } => {
                    assert!(self.live.values().all(|runs| !runs), "something runs");
                    self.torn_down |= !keep_volumes;
                }
                Effect::RemoveContainer(instance) => {
                    self.live.remove(instance);
                    continue;
                }
                _ => {}
            }
            self.open.push(effect);
        }
    }

    /// One open effect comes out, well or badly.
    fn settle(&mut self, pick: usize, well: bool) {
        if self.open.is_empty() {
            return;
        }
        let message = "no".to_string();
        match self.open.swap_remove(pick % self.open.len()) {
            Effect::PrepareVolumes if well => self.tell(Fact::VolumesReady),
            Effect::PrepareVolumes => {
                self.tell(Fact::VolumesFailed {
                    volume: "v".to_string(),
                    message,
                });
            }
            Effect::PrepareSandbox if well => {
                self.tell(Fact::SandboxReady {
                    ips: vec!["10.0.0.1".to_string()],
                });
            }
            Effect::PrepareSandbox => self.tell(Fact::SandboxFailed { message }),
            Effect::PullImage { container, .. } if well => {
                let image_id = "i".to_string();
                self.tell(Fact::ImageReady {
                    container,
                    image_id,
                    pulled: None,
                });
            }
            Effect::PullImage { container, .. } => {
                let failure = ImageFailure::Pull;
                self.tell(Fact::ImageFailed {
                    container,
                    failure,
                    message,
                });
            }
            // Nothing is set up in a sandbox that is gone.
            Effect::CreateContainer(instance) if well && self.live.contains_key(&instance) => {
                self.tell(Fact::ContainerCreated { instance, user: None });
            }
            // Some runtimes find out already here that the program is missing.
            Effect::CreateContainer(instance) if pick.is_multiple_of(2) => self.start_fails(instance),
            Effect::CreateContainer(instance) => {
                self.live.remove(&instance);
                self.tell(Fact::CreateFailed { instance, message });
            }
            Effect::StartContainer(instance) if well => {
                // One whose sandbox is gone does not start.
                match self.live.get_mut(&instance) {
                    Some(runs) => {
                        *runs = true;
                        self.unstartable.remove(&instance.container);
                        let at = self.now;
                        self.tell(Fact::ContainerStarted { instance, at });
                    }
                    None => self.start_fails(instance),
                }
            }
            Effect::StartContainer(instance) => self.start_fails(instance),
            Effect::RunHook { instance, hook }
                // One whose instance is gone is never heard of again.
                if self.live.contains_key(&instance) => {
                    let failed = !well;
                    self.tell(Fact::HookEnded {
                        instance,
                        hook,
                        failed,
                    });
                }
            Effect::Kill(instance) => self.exit(&instance, 137),
            Effect::Signal(instance) if well => self.exit(&instance, 143),
            Effect::TeardownSandbox { .. } => {
                self.live.clear();
                self.tell(Fact::SandboxGone);
            }
            Effect::AskForRoom { requests } => {
                let verdict = match well {
                    true => Verdict::Granted,
                    false => Verdict::Deferred(message),
                };
                self.tell(Fact::RoomDecided { requests, verdict });
            }
            Effect::ApplyResources { containers, whole } => {
                let error = (!well).then_some(message);
                self.tell(Fact::ResourcesApplied { containers, whole, error });
            }
            _ => {}
        }
    }

    fn start_fails(&mut self, instance: Instance) {
        self.live.remove(&instance);
        let failed = self.unstartable.entry(instance.container.clone());
        let (since, times) = failed.or_insert((self.now, 0));
        (*since, *times) = (self.now, *times + 1);
        let message = "no".to_string();
        self.tell(Fact::StartFailed { instance, message });
    }

    /// What could not be started is tried again only where the policy says so, and not too soon.
    fn in_time(&self, name: &str) {
        // What is resized may begin again at once.
        let failed = self.unstartable.get(name).filter(|_| name != "a");
        let Some((since, times)) = failed else {
            return;
        };
        let policy = self.machine.spec().restart_policy.as_deref();
        let stays = name == "side";
        assert!(stays || policy != Some("Never"), "{name} begins again");
        let waited = self.now.duration_since(*since).as_secs();
        let due = if *times == 1 { 1 } else { 10 };
        assert!(waited >= due, "{name} begins again after {waited} s");
    }

    fn exit(&mut self, instance: &Instance, code: i32) {
        if self.live.get(instance) == Some(&true) {
            self.live.remove(instance);
            let exit = Exit {
                code,
                // Some end for want of memory.
                oom_killed: code == 2,
                ..Exit::default()
            };
            self.tell(Fact::ContainerExited {
                instance: instance.clone(),
                exit,
            });
        }
    }

    /// Of init containers the earlier ones are done with before the next one starts, and all of
    /// them before the others.
    fn in_order(&self, name: &str) {
        let containers = &self.machine.state().containers;
        let earlier = containers.iter().take_while(|c| c.name != name);
        for other in earlier.filter(|c| c.role.is_init()) {
            assert!(other.passed, "{name} starts before {} is done", other.name);
        }
    }

    /// One of the probes that are to run comes to a result.
    fn probe(&mut self, pick: usize, healthy: bool) {
        let wanted = self.machine.probes();
        if wanted.is_empty() {
            return;
        }
        let one = &wanted[pick % wanted.len()];
        let runs = self.live.get(&one.instance) == Some(&true);
        assert!(runs, "{:?} is probed and does not run", one.instance);
        let (instance, probe) = (one.instance.clone(), one.kind);
        self.tell(Fact::ProbeTurned {
            instance,
            probe,
            healthy,
        });
    }

    fn exit_any(&mut self, pick: usize, code: i32) {
        let running: Vec<Instance> = self
            .live
            .iter()
            .filter(|(_, runs)| **runs)
            .map(|(i, _)| i.clone())
            .collect();
        if !running.is_empty() {
            self.exit(&running[pick % running.len()], code);
        }
    }

    /// The sandbox dies, and everything in it.
    fn lose_sandbox(&mut self) {
        if self.machine.state().sandbox == crate::machine::Sandbox::Ready {
            self.live.clear();
            self.tell(Fact::SandboxLost);
        }
    }

    /// The agent ends and another one adopts. What was open may or may not have been done.
    fn restart(&mut self) {
        let stored = PodState::from_bytes(&self.machine.state().to_bytes()).expect("it reads");
        let finished = self.machine.is_finished();
        let now = self.now;
        let seen: Vec<SeenContainer> = self
            .live
            .iter()
            .map(|(instance, runs)| SeenContainer {
                instance: instance.clone(),
                state: if *runs {
                    Seen::Running { started_at: now }
                } else {
                    Seen::Created
                },
            })
            .collect();
        for effect in self.open.drain(..) {
            // Its end was not heard of, so that it is asked for again.
            if let Effect::RunHook { instance, hook } = effect {
                self.hooks.remove(&(instance, hook));
            }
        }
        let pod = self.machine.pod().clone();
        self.machine = PodMachine::resume(pod, Host::default(), stored, &seen, now);
        assert_eq!(self.machine.is_finished(), finished);
        let effects = self.machine.start(now);
        self.take(effects);
    }

    fn delete(&mut self, grace_s: i64) {
        let mut pod = (**self.machine.pod()).clone();
        pod.metadata.deletion_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now),
        );
        pod.metadata.deletion_grace_period_seconds = Some(grace_s);
        self.tell(Fact::PodChanged(pod.into()));
    }

    /// Somebody wants other resources for one of the containers.
    fn resize(&mut self, pick: usize, cpu: u32) {
        let mut pod = (**self.machine.pod()).clone();
        let spec = pod.spec.as_mut().expect("a spec");
        let count = spec.containers.len();
        let resources = json!({"requests": {"cpu": format!("{cpu}m")}});
        let resources = serde_json::from_value(resources).expect("resources");
        spec.containers[pick % count].resources = Some(resources);
        self.tell(Fact::PodChanged(pod.into()));
    }

    fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.tell(Fact::Woken);
    }

    /// All goes well until the containers that the pod is for run.
    fn begin_well(&mut self) {
        for _ in 0..100 {
            if !self.open.is_empty() {
                self.settle(0, true);
            } else if self.live.len() < 3 {
                self.exit(&of("first", 0), 0);
                self.exit(&of("second", 0), 0);
                self.probe(0, true);
            }
            self.check();
        }
        assert_eq!(self.phase, "Running");
    }

    fn check(&mut self) {
        self.check_status();
        for container in &self.machine.state().containers {
            let made = self.made.get(&container.name).copied().unwrap_or(0);
            if !self.machine.is_ending() && container.life_is_settled() {
                let restarts = container.restart_count();
                assert!(restarts < made, "{restarts} restarts, {made} made");
            }
        }
    }
}

impl crate::machine::Container {
    fn life_is_settled(&self) -> bool {
        matches!(self.life, crate::machine::Life::Running { .. })
    }
}

#[derive(Debug, Clone)]
enum Step {
    Settle(usize, bool),
    Exit(usize, i32),
    Pass(i64),
    Lose,
    Delete(i64),
    Vanish,
    Stale(u32),
    Restart,
    Probe(usize, bool),
    Resize(usize, u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..8usize, prop::bool::weighted(0.8)).prop_map(|(p, w)| Step::Settle(p, w)),
        3 => (0..4usize, 0..3i32).prop_map(|(p, c)| Step::Exit(p, c)),
        3 => (0..700i64).prop_map(Step::Pass),
        1 => Just(Step::Lose),
        1 => (0..20i64).prop_map(Step::Delete),
        1 => Just(Step::Vanish),
        1 => (0..4u32).prop_map(Step::Stale),
        1 => Just(Step::Restart),
        4 => (0..4usize, prop::bool::weighted(0.7)).prop_map(|(p, w)| Step::Probe(p, w)),
        2 => (0..2usize, 1..4u32).prop_map(|(p, c)| Step::Resize(p, c)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_happens_a_deleted_pod_ends_and_nothing_runs_twice(
        policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
        begins_well in any::<bool>(),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut node = Node::new(policy);
        if begins_well {
            node.begin_well();
        }
        for step in steps {
            match step {
                Step::Settle(pick, well) => node.settle(pick, well),
                Step::Exit(pick, code) => node.exit_any(pick, code),
                Step::Pass(seconds) => node.pass(seconds),
                Step::Lose => node.lose_sandbox(),
                Step::Delete(grace) => node.delete(grace),
                Step::Vanish => node.tell(Fact::PodVanished),
                Step::Stale(attempt) => {
                    let instance = Instance { container: "a".to_string(), attempt: attempt + 100 };
                    node.tell(Fact::ContainerExited { instance, exit: Exit::default() });
                }
                Step::Restart => node.restart(),
                Step::Probe(pick, healthy) => node.probe(pick, healthy),
                Step::Resize(pick, cpu) => node.resize(pick, cpu),
            }
            node.check();
        }
        node.delete(5);
        for _ in 0..200 {
            if node.machine.is_finished() {
                break;
            }
            node.pass(10);
            while !node.open.is_empty() {
                node.settle(0, true);
            }
        }
        prop_assert!(node.machine.is_finished(), "{:#?}", node.machine.state());
        prop_assert!(node.torn_down);
    }
}
