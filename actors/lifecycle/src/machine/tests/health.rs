//! Hooks and probes, as Kubernetes documents them.

use super::world::{World, of, pod};
use crate::machine::{Effect, HookKind, PodState, Seen, SeenContainer};
use crate::probe::ProbeKind;
use serde_json::{Value, json};

fn hooked() -> Value {
    json!({"containers": [
        {"name": "web", "image": "w", "lifecycle": {
            "postStart": {"exec": {"command": ["a"]}}, "preStop": {"exec": {"command": ["b"]}}}},
        {"name": "other", "image": "w"},
    ]})
}

fn probed() -> Value {
    let probe = json!({"tcpSocket": {"port": 80}});
    json!({"containers": [{"name": "web", "image": "w", "startupProbe": probe,
        "readinessProbe": probe, "livenessProbe": {"tcpSocket": {"port": 80},
            "terminationGracePeriodSeconds": 3}}]})
}

fn hook(kind: HookKind) -> Effect {
    let instance = of("web", 0);
    Effect::RunHook {
        instance,
        hook: kind,
    }
}

#[test]
fn a_post_start_hook_is_part_of_the_start_and_blocks_the_others() {
    let mut world = World::new(hooked());
    world.sandbox();
    world.runs_as("web", 0);
    assert!(world.has(&hook(HookKind::PostStart)));
    assert_eq!(world.waits("web"), "ContainerCreating");
    assert!(!world.begins("other"));
    world.hook_ends("web", HookKind::PostStart, false);
    assert!(world.begins("other"));
    assert!(world.status_of("web").ready);
}

#[test]
fn a_post_start_hook_that_fails_ends_the_container() {
    let mut world = World::new(hooked());
    world.sandbox();
    world.runs_as("web", 0);
    world.hook_ends("web", HookKind::PostStart, true);
    assert_eq!(
        world.events(),
        [
            "FailedPostStartHook: PostStartHook failed",
            "Killing: FailedPostStartHook"
        ]
    );
    assert!(world.has(&hook(HookKind::PreStop)));
    world.hook_ends("web", HookKind::PreStop, false);
    assert!(world.has(&Effect::Signal(of("web", 0))));
    world.ends_as("web", 0, 143);
    assert!(world.begins("web"), "its first restart is free");
}

#[test]
fn a_pre_stop_hook_comes_first_within_the_grace() {
    let mut world = World::running(json!({"containers": [hooked()["containers"][0]]}));
    world.hook_ends("web", HookKind::PostStart, false);
    world.delete(10);
    assert_eq!(world.events(), ["Killing: Stopping container web"]);
    assert!(world.has(&hook(HookKind::PreStop)) && !world.has(&Effect::Signal(of("web", 0))));
    world.pass(6);
    world.hook_ends("web", HookKind::PreStop, true);
    assert_eq!(world.events(), ["FailedPreStopHook: PreStopHook failed"]);
    assert!(world.has(&Effect::Signal(of("web", 0))));
    world.pass(3);
    assert!(!world.has(&Effect::Kill(of("web", 0))));
    world.pass(1);
    assert!(world.has(&Effect::Kill(of("web", 0))));
}

#[test]
fn a_pre_stop_hook_that_takes_all_the_grace_leaves_two_seconds() {
    let mut world = World::running(json!({"containers": [hooked()["containers"][0]]}));
    world.delete(10);
    world.pass(10);
    assert!(world.has(&Effect::Signal(of("web", 0))) && !world.has(&Effect::Kill(of("web", 0))));
    world.pass(2);
    assert!(world.has(&Effect::Kill(of("web", 0))));
}

#[test]
fn a_hook_is_waited_for_after_adoption_and_the_grace_still_counts() {
    let manifest = json!({"containers": [hooked()["containers"][0]]});
    let mut world = World::running(manifest.clone());
    world.hook_ends("web", HookKind::PostStart, false);
    world.delete(3700);
    let stored = PodState::from_bytes(&world.machine.state().to_bytes()).expect("it reads");
    let known = (**world.machine.pod()).clone();
    let known = serde_json::to_value(known).expect("JSON");
    let state = Seen::Running {
        started_at: world.now,
    };
    let seen = [SeenContainer {
        instance: of("web", 0),
        state,
    }];
    // One hour has passed meanwhile.
    let mut adopted = World::resumed(&known, stored, &seen);
    assert!(adopted.has(&hook(HookKind::PreStop)));
    assert!(!adopted.has(&Effect::Signal(of("web", 0))));
    adopted.pass(99);
    assert!(!adopted.has(&Effect::Signal(of("web", 0))));
    adopted.pass(1);
    assert!(adopted.has(&Effect::Signal(of("web", 0))));
    adopted.pass(2);
    assert!(adopted.has(&Effect::Kill(of("web", 0))));
}

#[test]
fn a_post_start_hook_is_waited_for_after_adoption() {
    let mut world = World::new(hooked());
    world.sandbox();
    world.runs_as("web", 0);
    assert!(world.has(&hook(HookKind::PostStart)));
    let stored = world.machine.state().clone();
    let state = Seen::Running {
        started_at: world.now,
    };
    let seen = [SeenContainer {
        instance: of("web", 0),
        state,
    }];
    let known = serde_json::to_value(&**world.machine.pod()).expect("JSON");
    let mut adopted = World::resumed(&known, stored, &seen);
    assert!(adopted.has(&hook(HookKind::PostStart)));
    adopted.hook_ends("web", HookKind::PostStart, true);
    assert!(adopted.has(&hook(HookKind::PreStop)), "it failed after all");
}

#[test]
fn the_other_probes_wait_for_the_startup_probe() {
    let mut world = World::running(probed());
    let web = || "web".to_string();
    assert_eq!(world.probes(), [(web(), ProbeKind::Startup)]);
    world.turned("web", ProbeKind::Startup, true);
    let both = [(web(), ProbeKind::Readiness), (web(), ProbeKind::Liveness)];
    assert_eq!(world.probes(), both);
    assert!(!world.status_of("web").ready);
    world.turned("web", ProbeKind::Readiness, true);
    assert_eq!(world.condition("Ready").0, "True");
    world.turned("web", ProbeKind::Readiness, false);
    assert_eq!(world.condition("Ready").0, "False");
    world.delete(30);
    assert_eq!(world.probes(), [(web(), ProbeKind::Readiness)]);
}

#[test]
fn an_unhealthy_container_ends_within_the_probes_grace_and_runs_again() {
    let mut world = World::running(probed());
    world.turned("web", ProbeKind::Startup, true);
    world.turned("web", ProbeKind::Liveness, false);
    let text = "Killing: Container web failed liveness probe, will be restarted";
    assert_eq!(world.events(), [text]);
    assert!(world.has(&Effect::Signal(of("web", 0))));
    world.pass(3);
    assert!(world.has(&Effect::Kill(of("web", 0))));
    world.ends_as("web", 0, 137);
    assert!(world.begins("web"));
    world.runs_as("web", 1);
    assert_eq!(world.status_of("web").started, Some(false));
    let mut manifest = probed();
    manifest["restartPolicy"] = "OnFailure".into();
    let mut world = World::running(manifest);
    world.turned("web", ProbeKind::Startup, false);
    world.ends_as("web", 0, 0);
    assert!(world.begins("web"), "though it ended well");
    let mut manifest = probed();
    manifest["restartPolicy"] = "Never".into();
    let mut world = World::running(manifest);
    world.turned("web", ProbeKind::Startup, false);
    assert_eq!(
        world.events(),
        ["Killing: Container web failed startup probe"]
    );
    world.ends_as("web", 0, 143);
    assert_eq!(world.phase(), "Failed");
}

#[test]
fn an_adopted_container_stays_started_and_ready() {
    let mut world = World::running(probed());
    world.turned("web", ProbeKind::Startup, true);
    world.turned("web", ProbeKind::Readiness, true);
    let stored = PodState::from_bytes(&world.machine.state().to_bytes()).expect("it reads");
    let state = Seen::Running {
        started_at: world.now,
    };
    let seen = [SeenContainer {
        instance: of("web", 0),
        state,
    }];
    let adopted = World::resumed(&pod(probed()), stored, &seen);
    assert_eq!(adopted.condition("Ready").0, "True");
    assert!(
        adopted
            .machine
            .probes()
            .iter()
            .all(|w| w.kind != ProbeKind::Startup && w.held)
    );
}
