//! Init containers and sidecars, as Kubernetes documents them.

use super::world::{World, of, pod};
use crate::machine::{Effect, Fact, PodState, RunsAs, Seen, SeenContainer};
use crate::probe::ProbeKind;
use serde_json::{Value, json};

fn spec(policy: &str) -> Value {
    json!({"restartPolicy": policy,
        "initContainers": [{"name": "one", "image": "i"}, {"name": "two", "image": "i"}],
        "containers": [{"name": "web", "image": "w"}]})
}

fn with_sidecar(policy: &str) -> Value {
    json!({"restartPolicy": policy, "terminationGracePeriodSeconds": 10,
        "initContainers": [
            {"name": "first", "image": "i", "restartPolicy": "Always"},
            {"name": "log", "image": "i", "restartPolicy": "Always"},
        ],
        "containers": [{"name": "web", "image": "w"}]})
}

fn accompanied(policy: &str) -> World {
    let mut world = World::new(with_sidecar(policy));
    world.sandbox();
    for name in ["first", "log", "web"] {
        world.runs_as(name, 0);
    }
    world
}

#[test]
fn init_containers_run_one_after_the_other_and_then_the_others() {
    let mut world = World::new(spec("Always"));
    world.sandbox();
    assert!(!world.begins("two") && !world.begins("web"));
    assert_eq!(world.waits("web"), "PodInitializing");
    let state = world.condition("Initialized");
    assert_eq!(
        state,
        ("False".to_string(), "ContainersNotInitialized".to_string())
    );
    world.runs_as("one", 0);
    assert_eq!(world.status_of("one").started, Some(true));
    assert!(!world.status_of("one").ready && !world.begins("two"));
    world.ends_as("one", 0, 0);
    assert!(world.begins("two") && !world.begins("web"));
    assert!(world.status_of("one").ready);
    assert_eq!(world.phase(), "Pending");
    world.runs_as("two", 0);
    world.ends_as("two", 0, 0);
    assert_eq!(world.condition("Initialized").0, "True");
    assert_eq!(
        (world.phase(), world.waits("web")),
        ("Pending", "PodInitializing".to_string())
    );
    world.runs_as("web", 0);
    assert_eq!(world.phase(), "Running");
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn an_init_container_that_fails_runs_again_or_fails_the_pod() {
    for policy in ["Always", "OnFailure"] {
        let mut world = World::new(spec(policy));
        world.sandbox();
        world.runs_as("one", 0);
        world.ends_as("one", 0, 1);
        assert!(world.begins("one"), "the first restart is free");
        world.runs_as("one", 1);
        world.ends_as("one", 1, 1);
        assert_eq!(world.waits("one"), "CrashLoopBackOff");
        assert_eq!(world.phase(), "Pending");
    }
    let mut world = World::new(spec("Never"));
    world.sandbox();
    world.runs_as("one", 0);
    world.ends_as("one", 0, 3);
    assert_eq!(world.phase(), "Failed");
    assert!(world.has(&Effect::TeardownSandbox {
        keep_volumes: false
    }));
    assert_eq!(world.waits("web"), "PodInitializing", "it never came to it");
}

#[test]
fn a_container_may_have_a_restart_policy_of_its_own() {
    let own = json!({"restartPolicy": "Always", "containers": [{"name": "web", "image": "w",
        "restartPolicy": "Never", "restartPolicyRules": [
            {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}]});
    let mut world = World::running(own);
    world.exits(0, 42);
    assert!(world.begins("web"));
    assert_eq!(world.phase(), "Running", "it is to run again");
    world.runs(1);
    world.exits(1, 1);
    assert_eq!(world.phase(), "Failed");
    let own = json!({"restartPolicy": "Always", "containers": [{"name": "web", "image": "w",
        "restartPolicy": "Never", "restartPolicyRules": [
            {"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [42]}}]}]});
    let mut world = World::running(own);
    world.exits(0, 1);
    assert!(world.begins("web"));
    world.runs(1);
    world.exits(1, 42);
    assert_eq!(world.phase(), "Failed");
    let own = json!({"restartPolicy": "Never", "containers": [{"name": "web", "image": "w",
        "restartPolicy": "OnFailure"}]});
    let mut world = World::running(own);
    world.exits(0, 1);
    assert!(world.begins("web"));
    assert_eq!(
        world.phase(),
        "Running",
        "the pod's own policy does not matter"
    );
    world.runs(1);
    world.exits(1, 0);
    assert_eq!(world.phase(), "Succeeded");
}

#[test]
fn a_sidecar_stays_and_lets_the_next_one_start() {
    let mut world = World::new(with_sidecar("Always"));
    world.sandbox();
    world.runs_as("first", 0);
    assert!(world.begins("log") && !world.begins("web"));
    world.runs_as("log", 0);
    world.runs_as("web", 0);
    assert_eq!(world.condition("Ready").0, "True");
    world.ends_as("log", 0, 0);
    assert!(world.begins("log"), "it is started again whatever its code");
    assert_eq!(world.phase(), "Running");
    let unready = world.condition("ContainersReady");
    assert_eq!(
        unready,
        ("False".to_string(), "ContainersNotReady".to_string())
    );
    assert_eq!(world.condition("Initialized").0, "True");
}

#[test]
fn a_sidecar_with_a_startup_probe_holds_the_next_one_back() {
    let mut manifest = with_sidecar("Always");
    manifest["initContainers"][0]["startupProbe"] = json!({"tcpSocket": {"port": 1}});
    let mut world = World::new(manifest);
    world.sandbox();
    world.runs_as("first", 0);
    assert!(!world.begins("log"));
    assert_eq!(world.probes(), [("first".to_string(), ProbeKind::Startup)]);
    assert_eq!(world.status_of("first").started, Some(false));
    world.turned("first", ProbeKind::Startup, true);
    assert!(world.begins("log"));
    assert_eq!(world.status_of("first").started, Some(true));
}

#[test]
fn sidecars_end_after_the_others_in_reverse_order() {
    let mut world = accompanied("Always");
    world.delete(10);
    assert!(world.has(&Effect::Signal(of("web", 0))));
    assert!(!world.has(&Effect::Signal(of("log", 0))));
    world.ends_as("web", 0, 143);
    assert!(world.has(&Effect::Signal(of("log", 0))));
    assert!(!world.has(&Effect::Signal(of("first", 0))));
    world.ends_as("log", 0, 143);
    assert!(world.has(&Effect::Signal(of("first", 0))));
    world.ends_as("first", 0, 0);
    assert!(world.has(&Effect::TeardownSandbox {
        keep_volumes: false
    }));
}

#[test]
fn sidecars_whose_turn_never_came_get_two_seconds_after_the_grace() {
    let mut world = accompanied("Always");
    world.delete(10);
    world.pass(10);
    assert!(world.has(&Effect::Kill(of("web", 0))));
    for name in ["first", "log"] {
        assert!(world.has(&Effect::Signal(of(name, 0))));
        assert!(!world.has(&Effect::Kill(of(name, 0))));
    }
    world.pass(2);
    assert!(world.has(&Effect::Kill(of("first", 0))) && world.has(&Effect::Kill(of("log", 0))));
}

#[test]
fn sidecars_do_not_keep_a_job_alive() {
    let mut world = accompanied("OnFailure");
    world.ends_as("web", 0, 0);
    assert_eq!(world.phase(), "Running", "while the sidecars end");
    assert!(world.has(&Effect::Signal(of("log", 0))));
    world.ends_as("log", 0, 143);
    world.pass(10);
    assert!(world.has(&Effect::Signal(of("first", 0))) || world.has(&Effect::Kill(of("first", 0))));
    world.ends_as("first", 0, 137);
    assert_eq!(world.phase(), "Succeeded");
    assert!(world.has(&Effect::TeardownSandbox {
        keep_volumes: false
    }));
}

#[test]
fn a_deletion_during_init_ends_what_runs_and_starts_nothing_more() {
    let mut world = World::new(spec("Always"));
    world.sandbox();
    world.runs_as("one", 0);
    world.delete(5);
    assert!(world.has(&Effect::Signal(of("one", 0))));
    world.ends_as("one", 0, 0);
    assert!(!world.begins("two") && !world.begins("web"));
    assert!(world.has(&Effect::TeardownSandbox {
        keep_volumes: false
    }));
    assert_eq!(world.phase(), "Failed");
    assert_eq!(world.waits("web"), "PodInitializing");
    world.tell(Fact::SandboxGone);
    assert!(world.has(&Effect::Finished {
        delete_from_api: true
    }));
}

#[test]
fn in_another_sandbox_init_containers_run_again() {
    let mut world = World::new(spec("Always"));
    world.sandbox();
    for name in ["one", "two"] {
        world.runs_as(name, 0);
        world.ends_as(name, 0, 0);
    }
    world.runs_as("web", 0);
    world.tell(Fact::SandboxLost);
    world.tell(Fact::SandboxGone);
    world.sandbox();
    world.runs_as("one", 1);
    assert!(!world.begins("web"));
    assert_eq!(world.status_of("one").restart_count, 1);
    world.ends_as("one", 1, 0);
    world.runs_as("two", 1);
    world.ends_as("two", 1, 0);
    world.runs_as("web", 1);
    assert_eq!(world.phase(), "Running");
    // The same when all that is left of the pod is what the API says.
    let mut known = pod(spec("Always"));
    known["status"] = serde_json::to_value(world.machine.status()).expect("JSON");
    let mut world = World::of(&known);
    world.sandbox();
    world.runs_as("one", 2);
    assert!(!world.begins("web"));
}

#[test]
fn an_adopted_pod_knows_how_far_it_had_come() {
    let mut world = World::new(spec("Always"));
    world.sandbox();
    world.runs_as("one", 0);
    world.ends_as("one", 0, 0);
    world.runs_as("two", 0);
    let stored = PodState::from_bytes(&world.machine.state().to_bytes()).expect("it reads");
    let state = Seen::Running {
        started_at: world.now,
    };
    let seen = [SeenContainer {
        instance: of("two", 0),
        state,
    }];
    let mut adopted = World::resumed(&pod(spec("Always")), stored, &seen);
    assert_eq!(adopted.machine.status(), world.machine.status());
    assert!(!adopted.begins("one"));
    adopted.ends_as("two", 0, 0);
    assert!(adopted.begins("web"));
}

#[test]
fn an_ephemeral_container_joins_a_running_pod_and_changes_nothing_else() {
    let mut world = World::running(json!({}));
    let mut changed = pod(json!({}));
    changed["spec"]["ephemeralContainers"] =
        json!([{"name": "debug", "image": "tools", "targetContainerName": "web"}]);
    world.tell(Fact::PodChanged(super::world::typed(&changed)));
    assert!(world.begins("debug"));
    world.runs_as("debug", 0);
    let state = world.status_of("debug").state.clone().unwrap_or_default();
    assert!(state.running.is_some());
    assert_eq!(world.condition("Ready").0, "True");
    world.ends_as("debug", 0, 1);
    assert!(!world.begins("debug"), "it does not run again");
    assert_eq!(world.phase(), "Running");
    world.tell(Fact::PodVanished);
    world.exits(0, 137);
    assert!(world.has(&Effect::TeardownSandbox {
        keep_volumes: false
    }));
}

#[test]
fn who_a_container_runs_as_and_what_became_of_its_mounts_is_told() {
    let mounts = json!([
        {"name": "v", "mountPath": "/a", "readOnly": true, "recursiveReadOnly": "IfPossible"},
        {"name": "v", "mountPath": "/b", "readOnly": true}, {"name": "v", "mountPath": "/c"}]);
    let mut world = World::new(json!({"containers": [
        {"name": "web", "image": "w", "volumeMounts": mounts}, {"name": "z", "image": "w"}]}));
    world.sandbox();
    world.image();
    let user = RunsAs {
        uid: 33,
        gid: 55,
        groups: vec![44, 55],
    };
    world.tell(Fact::ContainerCreated {
        instance: of("web", 0),
        user: Some(user),
    });
    let seen = |name: &str| serde_json::to_value(world.status_of(name)).expect("JSON");
    let user = json!({"linux": {"uid": 33, "gid": 55, "supplementalGroups": [44, 55]}});
    assert_eq!(seen("web")["user"], user);
    assert_eq!(
        seen("web")["volumeMounts"],
        json!([
            {"name": "v", "mountPath": "/a", "readOnly": true, "recursiveReadOnly": "Enabled"},
            {"name": "v", "mountPath": "/b", "readOnly": true, "recursiveReadOnly": "Disabled"},
            {"name": "v", "mountPath": "/c"}])
    );
    let plain = seen("z");
    assert!(plain["user"].is_null() && plain["volumeMounts"].is_null());
    let stored = PodState::from_bytes(&world.machine.state().to_bytes());
    assert_eq!(stored.as_ref(), Some(world.machine.state()));
}
