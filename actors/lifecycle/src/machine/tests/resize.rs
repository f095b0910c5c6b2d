//! Other resources for a pod that runs.

use super::world::{World, instance, pod, typed};
use crate::machine::{Effect, Fact};
use crate::resize::Verdict;
use k8s_openapi::api::core::v1::PodCondition;
use kabuki_model::kind::pod::Totals;
use serde_json::{Value, json};

fn spec(cpu: &str, memory: &str) -> Value {
    json!({"containers": [{"name": "web", "image": "demo",
        "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}],
        "resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}}]})
}

fn running() -> World {
    World::running(spec("100m", "64Mi"))
}

impl World {
    fn wants(&mut self, spec: Value, generation: i64) {
        let mut pod = pod(spec);
        pod["metadata"]["generation"] = generation.into();
        self.tell(Fact::PodChanged(typed(&pod)));
    }

    fn asked(&self) -> Totals {
        let asked = self.effects.iter().find_map(|e| match e {
            Effect::AskForRoom { requests } => Some(*requests),
            _ => None,
        });
        asked.expect("the node is asked")
    }

    fn answer(&mut self, verdict: Verdict) {
        let requests = self.asked();
        self.tell(Fact::RoomDecided { requests, verdict });
    }

    fn applied(&mut self, error: Option<&str>) {
        let apply = self.effects.iter().find_map(|e| match e {
            Effect::ApplyResources { containers, whole } => Some((containers.clone(), *whole)),
            _ => None,
        });
        let (containers, whole) = apply.expect("it is applied");
        let error = error.map(str::to_string);
        self.tell(Fact::ResourcesApplied {
            containers,
            whole,
            error,
        });
    }

    fn resizing(&self) -> Vec<PodCondition> {
        let all = self.machine.status().conditions.iter().flatten();
        let own = all.filter(|c| c.type_.starts_with("PodResize"));
        own.cloned().collect()
    }

    fn shares(&self) -> (String, String) {
        let status = self.container();
        let actual = status.resources.clone().and_then(|r| r.requests);
        let granted = status.allocated_resources.clone();
        let cpu = |amounts: Option<std::collections::BTreeMap<String, _>>| {
            let amounts: std::collections::BTreeMap<
                String,
                k8s_openapi::apimachinery::pkg::api::resource::Quantity,
            > = amounts.unwrap_or_default();
            amounts["cpu"].0.clone()
        };
        (cpu(granted), cpu(actual))
    }
}

#[test]
fn a_resize_is_asked_for_granted_applied_and_over() {
    let mut world = running();
    assert_eq!(world.shares(), ("100m".to_string(), "100m".to_string()));
    world.wants(spec("300m", "64Mi"), 4);
    assert_eq!(world.asked().cpu_milli, 300);
    assert_eq!(world.shares(), ("100m".to_string(), "100m".to_string()));
    world.answer(Verdict::Granted);
    assert_eq!(world.shares(), ("300m".to_string(), "100m".to_string()));
    let conditions = world.resizing();
    assert_eq!(conditions.len(), 1, "{conditions:?}");
    assert_eq!(conditions[0].type_, "PodResizeInProgress");
    assert_eq!(conditions[0].observed_generation, Some(4));
    world.applied(None);
    assert_eq!(world.shares(), ("300m".to_string(), "300m".to_string()));
    assert_eq!(world.resizing(), []);
    assert_eq!(world.container().restart_count, 0);
}

#[test]
fn what_finds_no_room_says_so_until_it_does_or_is_taken_back() {
    let mut world = running();
    world.wants(spec("900m", "64Mi"), 4);
    let requests = world.asked();
    world.answer(Verdict::Deferred("no room".to_string()));
    let conditions = world.resizing();
    assert_eq!(conditions[0].type_, "PodResizePending");
    assert_eq!(conditions[0].reason.as_deref(), Some("Deferred"));
    assert_eq!(conditions[0].message.as_deref(), Some("no room"));
    assert_eq!(world.shares().0, "100m");
    // Room is found later.
    let mut later = World {
        machine: world.machine.clone(),
        effects: Vec::new(),
        now: world.now,
    };
    let verdict = Verdict::Granted;
    later.tell(Fact::RoomDecided { requests, verdict });
    later.applied(None);
    assert_eq!(later.resizing(), []);
    world.wants(spec("100m", "64Mi"), 5);
    assert_eq!(world.resizing(), []);
    // An answer to what nobody asks any more changes nothing.
    let verdict = Verdict::Granted;
    world.tell(Fact::RoomDecided { requests, verdict });
    assert_eq!(world.shares().0, "100m");
}

#[test]
fn what_can_never_be_is_told_and_changes_nothing() {
    let mut world = running();
    world.wants(spec("100", "64Mi"), 4);
    world.answer(Verdict::Infeasible("too much".to_string()));
    assert_eq!(world.resizing()[0].reason.as_deref(), Some("Infeasible"));
    assert_eq!(world.events(), ["ResizeInfeasible: Pod resize too much"]);
    assert_eq!(world.shares().0, "100m");
}

#[test]
fn what_the_kernel_refuses_is_tried_again() {
    let mut world = running();
    world.wants(spec("200m", "64Mi"), 4);
    world.answer(Verdict::Granted);
    world.applied(Some("below its current usage"));
    let conditions = world.resizing();
    assert_eq!(conditions[0].type_, "PodResizeInProgress");
    assert_eq!(conditions[0].reason.as_deref(), Some("Error"));
    world.pass(1);
    world.applied(None);
    assert_eq!(world.resizing(), []);
}

#[test]
fn a_resize_restarts_a_container_only_where_its_policy_says_so() {
    let mut world = running();
    world.wants(spec("100m", "128Mi"), 4);
    world.answer(Verdict::Granted);
    assert!(
        world.has(&Effect::Signal(instance(0))),
        "{:?}",
        world.effects
    );
    assert!(
        world
            .events()
            .iter()
            .any(|e| e.contains("resize requires restart")),
        "{:?}",
        world.events()
    );
    // The pod has room for the new one before the old one has ended.
    world.applied(None);
    world.exits(0, 0);
    world.runs(1);
    world.applied(None);
    assert_eq!(world.container().restart_count, 1);
    assert_eq!(world.resizing(), []);
}

#[test]
fn what_was_granted_outlives_the_agent() {
    let mut world = running();
    world.wants(spec("900m", "64Mi"), 4);
    world.answer(Verdict::Deferred("no room".to_string()));
    let stored = world.machine.state().clone();
    let seen = [crate::machine::SeenContainer {
        instance: instance(0),
        state: crate::machine::Seen::Running {
            started_at: world.now,
        },
    }];
    let pod = serde_json::to_value(&**world.machine.pod()).expect("a pod");
    let resumed = World::resumed(&pod, stored, &seen);
    assert_eq!(resumed.asked().cpu_milli, 900, "it is asked again");
    assert_eq!(resumed.shares().0, "100m");
}
