//! Lost sandboxes, restarted agents, rebooted nodes.

use super::world::{World, instance, pod};
use crate::machine::{Effect, Exit, Fact, PodState, Seen, SeenContainer};
use serde_json::json;

#[test]
fn a_lost_sandbox_is_made_anew_with_the_same_volumes() {
    let mut world = World::running(json!({}));
    world.tell(Fact::SandboxLost);
    assert!(world.has(&Effect::TeardownSandbox { keep_volumes: true }));
    world.tell(Fact::SandboxGone);
    assert!(world.has(&Effect::PrepareSandbox) && world.has(&Effect::PrepareVolumes));
    world.sandbox();
    world.runs(1);
    assert_eq!(world.container().restart_count, 1);
}

#[test]
fn an_adopted_pod_goes_on_as_if_nothing_had_happened() {
    let mut world = World::running(json!({}));
    world.exits(0, 1);
    world.runs(1);
    let stored = PodState::from_bytes(&world.machine.state().to_bytes()).expect("it reads back");
    assert_eq!(&stored, world.machine.state());
    let state = Seen::Running {
        started_at: world.now,
    };
    let seen = [SeenContainer {
        instance: instance(1),
        state,
    }];
    let adopted = World::resumed(&pod(json!({})), stored.clone(), &seen);
    assert_eq!(adopted.effects, [Effect::StatusChanged]);
    assert_eq!(adopted.machine.status(), world.machine.status());
    let exit = Exit {
        code: 7,
        ..Exit::default()
    };
    let seen = [SeenContainer {
        instance: instance(1),
        state: Seen::Exited(exit),
    }];
    let adopted = World::resumed(&pod(json!({})), stored, &seen);
    assert!(adopted.has(&Effect::RemoveContainer(instance(1))));
    let last = adopted
        .container()
        .last_state
        .clone()
        .and_then(|s| s.terminated);
    assert_eq!(last.expect("ended").exit_code, 7);
}

#[test]
fn what_the_state_missed_is_believed_when_it_is_seen() {
    let mut world = World::new(json!({}));
    world.sandbox();
    world.image();
    let stored = world.machine.state().clone();
    let state = Seen::Running {
        started_at: world.now,
    };
    let seen = [SeenContainer {
        instance: instance(0),
        state,
    }];
    let adopted = World::resumed(&pod(json!({})), stored.clone(), &seen);
    assert_eq!(adopted.phase(), "Running");
    let seen = [SeenContainer {
        instance: instance(0),
        state: Seen::Created,
    }];
    let adopted = World::resumed(&pod(json!({})), stored.clone(), &seen);
    assert!(adopted.has(&Effect::StartContainer(instance(0))));
    let adopted = World::resumed(&pod(json!({})), stored, &[]);
    assert!(adopted.has(&Effect::CreateContainer(instance(0))));
}

#[test]
fn a_pod_of_which_nothing_is_left_goes_on_from_the_apis_status() {
    let world = World::running(json!({}));
    let mut known = pod(json!({}));
    let mut status = world.machine.status().clone();
    status.container_statuses.as_mut().expect("one")[0].restart_count = 4;
    known["status"] = serde_json::to_value(status).expect("JSON");
    let mut world = World::of(&known);
    world.sandbox();
    world.image();
    assert!(world.has(&Effect::CreateContainer(instance(5))));
    let last = world
        .container()
        .last_state
        .clone()
        .and_then(|s| s.terminated)
        .expect("ended");
    assert_eq!(last.reason.as_deref(), Some("ContainerStatusUnknown"));
    known["spec"]["restartPolicy"] = "Never".into();
    let world = World::of(&known);
    assert_eq!(world.phase(), "Failed");
}

#[test]
fn a_pod_that_was_over_stays_over() {
    let mut known = pod(json!({"restartPolicy": "Never"}));
    known["status"] = json!({"phase": "Succeeded", "podIPs": [{"ip": "10.0.0.9"}]});
    let world = World::of(&known);
    assert_eq!(world.phase(), "Succeeded");
    assert!(!world.has(&Effect::PrepareSandbox));
    assert!(world.has(&Effect::TeardownSandbox {
        keep_volumes: false
    }));
}
