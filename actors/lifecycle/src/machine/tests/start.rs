//! Programs that cannot be started: an instance that has ended without ever having been there.

use super::world::{World, instance, of, pod};
use crate::machine::{Effect, Fact, Instance, PodMachine};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus};
use serde_json::{Value, json};

const WHY: &str = "cannot run container web: exec \"x\": executable file not found in $PATH";
const BACK_OFF: &str = "BackOff: Back-off restarting failed container web in pod web_default(u1)";

fn fails(world: &mut World, instance: Instance) {
    let message = WHY.to_string();
    world.tell(Fact::StartFailed { instance, message });
}

/// An attempt whose program is found to be missing when the instance is set up.
fn attempt_fails(world: &mut World, attempt: u32) {
    world.image();
    assert!(world.has(&Effect::CreateContainer(instance(attempt))));
    fails(world, instance(attempt));
}

/// The same of a container by name.
fn cannot_start(world: &mut World, name: &str, attempt: u32) {
    world.tell(Fact::ImageReady {
        container: name.to_string(),
        image_id: "sha256:1".to_string(),
        pulled: None,
    });
    fails(world, of(name, attempt));
}

fn last(status: &ContainerStatus) -> ContainerStateTerminated {
    let last = status.last_state.clone().and_then(|s| s.terminated);
    last.expect("it ended before")
}

fn ended(status: &ContainerStatus) -> ContainerStateTerminated {
    let state = status.state.clone().and_then(|s| s.terminated);
    state.expect("it has ended")
}

fn is_start_error(ended: &ContainerStateTerminated, at: Timestamp) {
    assert_eq!(
        (ended.exit_code, ended.reason.as_deref()),
        (128, Some("StartError"))
    );
    assert_eq!(ended.message.as_deref(), Some(WHY));
    let times = [&ended.started_at, &ended.finished_at].map(|t| t.as_ref().map(|t| t.0));
    assert_eq!(times, [Some(Timestamp::UNIX_EPOCH), Some(at)]);
    assert!(ended.container_id.is_some(), "it had an id");
}

#[test]
fn a_program_that_cannot_start_is_tried_again_like_one_that_crashes() {
    let mut world = World::new(json!({}));
    world.sandbox();
    world.image();
    world.tell(Fact::ContainerCreated {
        instance: instance(0),
        user: None,
    });
    fails(&mut world, instance(0));
    assert_eq!(world.events(), [format!("Failed: Error: {WHY}")]);
    assert!(world.has(&Effect::RemoveContainer(instance(0))));
    let shown = ("RunContainerError".to_string(), WHY.to_string());
    assert_eq!(world.waiting(), shown);
    is_start_error(&last(world.container()), world.now);
    assert_eq!(world.container().restart_count, 0);
    assert_eq!(world.phase(), "Running");
    // Once it is tried again at once, which is when people have had a chance to see why.
    world.pass(1);
    assert!(world.events().is_empty(), "{:?}", world.events());
    attempt_fails(&mut world, 1);
    for (attempt, delay_s, text) in [(1, 10, "10s"), (2, 20, "20s"), (3, 40, "40s")] {
        assert_eq!(world.waiting(), shown);
        is_start_error(&last(world.container()), world.now);
        let count = i32::try_from(attempt).expect("a count");
        assert_eq!(world.container().restart_count, count);
        world.pass(1);
        let backs_off =
            format!("back-off {text} restarting failed container=web pod=web_default(u1)");
        let waits = ("CrashLoopBackOff".to_string(), backs_off);
        assert_eq!(world.waiting(), waits);
        assert_eq!(world.events(), [BACK_OFF]);
        world.pass(delay_s - 2);
        assert_eq!(world.waiting(), waits);
        world.pass(1);
        attempt_fails(&mut world, attempt + 1);
    }
}

#[test]
fn crashes_and_failed_starts_share_their_back_off() {
    let mut world = World::running(json!({}));
    world.exits(0, 1);
    attempt_fails(&mut world, 1);
    world.pass(1);
    assert!(world.waiting().1.starts_with("back-off 10s "));
    world.pass(9);
    world.runs(2);
    world.exits(2, 1);
    assert!(world.waiting().1.starts_with("back-off 20s "));
}

#[test]
fn what_the_api_knows_of_a_failed_start_goes_on_in_another_life() {
    let mut world = World::new(json!({}));
    world.sandbox();
    attempt_fails(&mut world, 0);
    let reported = json!(world.machine.status());
    let mut held = pod(json!({}));
    held["status"] = reported;
    let mut resumed = World::of(&held);
    assert_eq!(last(resumed.container()).exit_code, 128);
    resumed.sandbox();
    attempt_fails(&mut resumed, 1);
    resumed.pass(1);
    attempt_fails(&mut resumed, 2);
    resumed.pass(1);
    assert!(resumed.waiting().1.starts_with("back-off 10s "));
}

#[test]
fn the_policies_judge_a_failed_start_by_its_code() {
    let rule = |action: &str, codes: Value| json!({"action": action, "exitCodes": {"operator": "In", "values": codes}});
    let rules = |policy: &str, rule: Value| {
        json!({"name": "web", "image": "demo", "restartPolicy": policy,
            "restartPolicyRules": [rule]})
    };
    let plain = json!({"name": "web", "image": "demo"});
    let own = |policy: &str| json!({"name": "web", "image": "demo", "restartPolicy": policy});
    for (of_pod, container, again) in [
        ("Always", plain.clone(), true),
        ("OnFailure", plain.clone(), true),
        ("Never", plain, false),
        ("Always", own("Never"), false),
        ("Never", own("OnFailure"), true),
        ("Never", rules("Never", rule("Restart", json!([128]))), true),
        ("Never", rules("Never", rule("Restart", json!([1]))), false),
    ] {
        let told = format!("{of_pod} {container}");
        let mut world = World::new(json!({"restartPolicy": of_pod, "containers": [container]}));
        world.sandbox();
        attempt_fails(&mut world, 0);
        if again {
            assert_eq!(world.waiting().0, "RunContainerError", "{told}");
            world.pass(1);
            attempt_fails(&mut world, 1);
            continue;
        }
        is_start_error(&ended(world.container()), world.now);
        assert_eq!(world.phase(), "Failed", "{told}");
        world.pass(400);
        assert!(!world.begins("web"), "{told}");
    }
}

#[test]
fn an_init_container_that_cannot_start_fails_a_pod_that_never_restarts() {
    let with = |policy: &str| {
        json!({"restartPolicy": policy,
            "initContainers": [{"name": "one", "image": "x"}]})
    };
    let mut world = World::new(with("Never"));
    world.sandbox();
    cannot_start(&mut world, "one", 0);
    is_start_error(&ended(world.status_of("one")), world.now);
    assert_eq!(world.phase(), "Failed");
    assert!(!world.begins("web"));
    let mut world = World::new(with("OnFailure"));
    world.sandbox();
    cannot_start(&mut world, "one", 0);
    assert_eq!(world.waits("one"), "RunContainerError");
    assert_eq!(world.phase(), "Pending");
    world.pass(1);
    cannot_start(&mut world, "one", 1);
    world.pass(1);
    assert_eq!(world.waits("one"), "CrashLoopBackOff");
}

#[test]
fn a_sidecar_and_an_added_container_that_cannot_start_do_not_end_the_pod() {
    let mut world = World::new(json!({"restartPolicy": "Never",
        "initContainers": [{"name": "side", "image": "x", "restartPolicy": "Always"}]}));
    world.sandbox();
    cannot_start(&mut world, "side", 0);
    assert_eq!(world.waits("side"), "RunContainerError");
    assert_eq!(world.phase(), "Pending");
    let mut world =
        World::running(json!({"ephemeralContainers": [{"name": "look", "image": "x"}]}));
    cannot_start(&mut world, "look", 0);
    is_start_error(&ended(world.status_of("look")), world.now);
    assert_eq!(world.phase(), "Running");
}

#[test]
fn a_stored_state_goes_on_with_what_is_shown_and_what_is_waited_for() {
    let mut world = World::new(json!({}));
    world.sandbox();
    attempt_fails(&mut world, 0);
    world.pass(1);
    attempt_fails(&mut world, 1);
    let stored = crate::machine::PodState::from_bytes(&world.machine.state().to_bytes());
    let (held, host) = (world.machine.pod().clone(), super::world::host());
    let stored = stored.expect("it reads");
    world.machine = PodMachine::resume(held, host, stored, &[], world.now);
    world.effects = world.machine.start(world.now);
    assert_eq!(world.waiting().0, "RunContainerError");
    world.pass(1);
    assert!(world.waiting().1.starts_with("back-off 10s "));
    world.pass(9);
    attempt_fails(&mut world, 2);
}

#[test]
fn another_image_is_tried_without_the_wait_of_the_one_before() {
    let mut world = World::running(json!({}));
    let mut other = pod(json!({"containers": [{"name": "web", "image": "other"}]}));
    other["metadata"]["generation"] = json!(4);
    world.tell(Fact::PodChanged(super::world::typed(&other)));
    world.exits(0, 143);
    assert!(world.begins("web"), "{:?}", world.effects);
    attempt_fails(&mut world, 1);
    assert_eq!(world.waiting().0, "RunContainerError");
}
