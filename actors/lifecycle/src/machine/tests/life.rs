//! What Kubernetes documents, one sentence at a time.

use super::world::{World, instance, pod, typed};
use crate::machine::{Effect, Exit, Fact, ImageFailure, Instance, PullPolicy, PullReport};
use jiff::SignedDuration;
use serde_json::json;

fn deleted(grace_s: i64) -> Fact {
    let mut pod = pod(json!({}));
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    pod["metadata"]["deletionGracePeriodSeconds"] = grace_s.into();
    Fact::PodChanged(typed(&pod))
}

#[test]
fn everything_that_can_begin_at_once_does() {
    let world = World::new(json!({}));
    for wanted in [
        Effect::PrepareVolumes,
        Effect::PrepareSandbox,
        Effect::PullImage {
            container: "web".to_string(),
            image: "demo".to_string(),
            policy: PullPolicy::IfNotPresent,
        },
        Effect::StatusChanged,
    ] {
        assert!(world.has(&wanted), "{wanted:?} in {:?}", world.effects);
    }
    assert_eq!(world.phase(), "Pending");
    assert_eq!(world.waiting().0, "ContainerCreating");
}

#[test]
fn a_pod_runs_once_its_container_does() {
    let mut world = World::new(json!({}));
    world.sandbox();
    assert_eq!(world.condition("PodReadyToStartContainers").0, "True");
    world.image();
    assert!(world.has(&Effect::CreateContainer(instance(0))));
    assert_eq!(
        world.events(),
        ["Pulled: Container image \"demo\" already present on machine"]
    );
    world.tell(Fact::ContainerCreated {
        instance: instance(0),
        user: None,
    });
    assert!(world.has(&Effect::StartContainer(instance(0))));
    assert_eq!(
        world.condition("Ready"),
        ("False".to_string(), "ContainersNotReady".to_string())
    );
    let at = world.now;
    world.tell(Fact::ContainerStarted {
        instance: instance(0),
        at,
    });
    assert_eq!(world.events(), ["Started: Started container web"]);
    assert_eq!(world.phase(), "Running");
    assert_eq!(world.condition("Ready").0, "True");
    let status = world.machine.status();
    assert_eq!(status.pod_ip.as_deref(), Some("10.0.0.2"));
    assert_eq!(status.host_ip.as_deref(), Some("192.0.2.1"));
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    let id = world.container().container_id.clone().expect("an id");
    assert_eq!(id.len(), "kabuki://".len() + 64);
}

#[test]
fn a_crashing_container_restarts_at_once_and_then_ever_later() {
    let mut world = World::running(json!({"restartPolicy": "Always"}));
    world.exits(0, 1);
    assert!(world.has(&Effect::RemoveContainer(instance(0))));
    world.runs(1);
    assert_eq!(world.container().restart_count, 1);
    world.exits(1, 2);
    assert_eq!(
        world.waiting(),
        (
            "CrashLoopBackOff".to_string(),
            "back-off 10s restarting failed container=web pod=web_default(u1)".to_string(),
        )
    );
    let back_off = "BackOff: Back-off restarting failed container web in pod web_default(u1)";
    assert_eq!(world.events(), [back_off]);
    assert!(world.has(&Effect::WakeAt(world.now + SignedDuration::from_secs(10))));
    assert_eq!(world.phase(), "Running");
    let last = world
        .container()
        .last_state
        .clone()
        .and_then(|s| s.terminated)
        .expect("ended");
    assert_eq!((last.exit_code, last.reason.as_deref()), (2, Some("Error")));
    world.pass(9);
    assert_eq!(world.waiting().0, "CrashLoopBackOff");
    world.pass(1);
    world.runs(2);
    world.exits(2, 0);
    assert!(world.waiting().1.starts_with("back-off 20s "));
}

#[test]
fn ten_minutes_of_running_forgive_all_crashes() {
    let mut world = World::running(json!({}));
    world.exits(0, 1);
    world.runs(1);
    world.exits(1, 1);
    world.pass(10);
    world.runs(2);
    world.pass(600);
    world.exits(2, 1);
    assert_eq!(world.waiting().0, "ContainerCreating");
    world.image();
    assert!(world.has(&Effect::CreateContainer(instance(3))));
}

#[test]
fn the_restart_policy_decides_the_phase() {
    for (policy, code, phase) in [
        ("Never", 0, "Succeeded"),
        ("Never", 1, "Failed"),
        ("OnFailure", 0, "Succeeded"),
        ("OnFailure", 1, "Running"),
        ("Always", 0, "Running"),
    ] {
        let mut world = World::running(json!({"restartPolicy": policy}));
        world.exits(0, code);
        assert_eq!(world.phase(), phase, "{policy} {code}");
        let ends = world.has(&Effect::TeardownSandbox {
            keep_volumes: false,
        });
        assert_eq!(ends, phase != "Running", "{policy} {code}");
    }
    let mut world = World::running(json!({"restartPolicy": "Never"}));
    world.exits(0, 0);
    assert_eq!(
        world.condition("Ready"),
        ("False".to_string(), "PodCompleted".to_string())
    );
    assert_eq!(
        world.condition("Initialized"),
        ("True".to_string(), "PodCompleted".to_string())
    );
    let ended = world
        .container()
        .state
        .clone()
        .and_then(|s| s.terminated)
        .expect("ended");
    assert_eq!(ended.reason.as_deref(), Some("Completed"));
    world.tell(Fact::SandboxGone);
    assert!(!world.machine.is_finished(), "it stays until it is deleted");
    world.tell(deleted(30));
    assert!(world.has(&Effect::Finished {
        delete_from_api: true
    }));
}

#[test]
fn out_of_memory_has_a_reason_of_its_own() {
    let mut world = World::running(json!({"restartPolicy": "Never"}));
    let exit = Exit {
        code: 137,
        oom_killed: true,
        ..Exit::default()
    };
    world.tell(Fact::ContainerExited {
        instance: instance(0),
        exit,
    });
    let ended = world
        .container()
        .state
        .clone()
        .and_then(|s| s.terminated)
        .expect("ended");
    assert_eq!(
        (ended.exit_code, ended.reason.as_deref()),
        (137, Some("OOMKilled"))
    );
}

#[test]
fn a_deleted_pod_is_asked_to_end_then_killed_then_taken_down() {
    let mut world = World::running(json!({}));
    world.tell(deleted(30));
    assert_eq!(world.events(), ["Killing: Stopping container web"]);
    assert!(world.has(&Effect::Signal(instance(0))));
    assert!(world.has(&Effect::WakeAt(world.now + SignedDuration::from_secs(30))));
    world.pass(29);
    assert!(!world.has(&Effect::Kill(instance(0))));
    world.pass(1);
    assert!(world.has(&Effect::Kill(instance(0))));
    world.exits(0, 137);
    assert_eq!(world.phase(), "Failed");
    assert!(world.has(&Effect::TeardownSandbox {
        keep_volumes: false
    }));
    world.tell(Fact::SandboxGone);
    assert!(world.has(&Effect::Finished {
        delete_from_api: true
    }));
    assert!(world.tell(Fact::Woken).is_empty());
}

#[test]
fn a_shorter_grace_and_a_vanished_pod_hurry() {
    let mut world = World::running(json!({}));
    world.tell(deleted(30));
    world.tell(deleted(5));
    world.pass(5);
    assert!(world.has(&Effect::Kill(instance(0))));
    let mut world = World::running(json!({}));
    world.tell(Fact::PodVanished);
    assert!(world.has(&Effect::Kill(instance(0))));
    world.exits(0, 137);
    world.tell(Fact::SandboxGone);
    assert!(world.has(&Effect::Finished {
        delete_from_api: false
    }));
}

#[test]
fn a_deletion_in_between_waits_for_what_has_begun() {
    let mut world = World::new(json!({}));
    world.tell(deleted(0));
    assert!(!world.has(&Effect::TeardownSandbox {
        keep_volumes: false
    }));
    world.sandbox();
    assert!(world.has(&Effect::TeardownSandbox {
        keep_volumes: false
    }));
    assert!(
        !world
            .effects
            .iter()
            .any(|e| matches!(e, Effect::CreateContainer(_)))
    );
    assert_eq!(world.phase(), "Failed");
    let mut world = World::new(json!({}));
    world.sandbox();
    world.image();
    world.tell(deleted(0));
    world.tell(Fact::ContainerCreated {
        instance: instance(0),
        user: None,
    });
    assert!(world.has(&Effect::RemoveContainer(instance(0))));
    assert!(world.has(&Effect::TeardownSandbox {
        keep_volumes: false
    }));
}

#[test]
fn a_failed_pull_shows_its_error_then_backs_off() {
    let mut world = World::new(json!({}));
    world.tell(Fact::PullStarted {
        container: "web".to_string(),
    });
    assert_eq!(world.events(), ["Pulling: Pulling image \"demo\""]);
    world.image_fails(ImageFailure::Pull, "no such host");
    assert_eq!(
        world.waiting(),
        ("ErrImagePull".to_string(), "no such host".to_string())
    );
    assert_eq!(
        world.events(),
        [
            "Failed: Failed to pull image \"demo\": no such host",
            "Failed: Error: ErrImagePull"
        ]
    );
    world.pass(1);
    assert_eq!(world.waiting().0, "ImagePullBackOff");
    assert_eq!(
        world.waiting().1,
        "Back-off pulling image \"demo\": ErrImagePull: no such host"
    );
    world.pass(8);
    assert!(
        !world
            .effects
            .iter()
            .any(|e| matches!(e, Effect::PullImage { .. }))
    );
    world.pass(1);
    assert!(
        world
            .effects
            .iter()
            .any(|e| matches!(e, Effect::PullImage { .. }))
    );
    let pulled = Some(PullReport {
        took_ms: 1234,
        waited_ms: 2000,
        size_bytes: 7,
    });
    world.tell(Fact::ImageReady {
        container: "web".to_string(),
        image_id: "x".to_string(),
        pulled,
    });
    assert_eq!(
        world.events(),
        [
            "Pulled: Successfully pulled image \"demo\" in 1.234s (2s including waiting). Image size: 7 bytes."
        ]
    );
}

#[test]
fn images_that_cannot_be_had_say_why() {
    for (failure, reason) in [
        (ImageFailure::InvalidName, "InvalidImageName"),
        (ImageFailure::NeverPull, "ErrImageNeverPull"),
        (ImageFailure::Inspect, "ImageInspectError"),
    ] {
        let mut world = World::new(json!({}));
        world.image_fails(failure, "why");
        assert_eq!(world.waiting().0, reason);
        world.pass(1);
        assert_eq!(
            world.waiting().0,
            reason,
            "it does not turn into a back-off"
        );
    }
}

#[test]
fn what_cannot_be_set_up_is_tried_again() {
    let mut world = World::new(json!({}));
    world.sandbox();
    world.image();
    let message = "secret \"s\" not found".to_string();
    world.tell(Fact::ConfigFailed {
        instance: instance(0),
        message: message.clone(),
    });
    assert_eq!(
        world.waiting(),
        ("CreateContainerConfigError".to_string(), message)
    );
    assert_eq!(world.events(), ["Failed: Error: secret \"s\" not found"]);
    world.pass(1);
    world.image();
    assert!(world.has(&Effect::CreateContainer(instance(0))));
}

#[test]
fn volumes_and_sandboxes_are_tried_again_with_an_event() {
    let mut world = World::new(json!({}));
    let (volume, message) = ("cfg".to_string(), "configmap \"cfg\" not found".to_string());
    world.tell(Fact::VolumesFailed { volume, message });
    assert_eq!(
        world.events(),
        ["FailedMount: MountVolume.SetUp failed for volume \"cfg\" : configmap \"cfg\" not found"]
    );
    world.tell(Fact::SandboxFailed {
        message: "no address".to_string(),
    });
    assert_eq!(
        world.events(),
        ["FailedCreatePodSandBox: Failed to create pod sandbox: no address"]
    );
    world.pass(1);
    assert!(world.has(&Effect::PrepareVolumes) && world.has(&Effect::PrepareSandbox));
}

#[test]
fn the_active_deadline_fails_the_pod() {
    let mut world = World::running(json!({"activeDeadlineSeconds": 60}));
    world.pass(60);
    assert!(world.has(&Effect::Signal(instance(0))));
    assert_eq!(
        world.machine.status().reason.as_deref(),
        Some("DeadlineExceeded")
    );
    world.exits(0, 0);
    assert_eq!(world.phase(), "Failed");
}

#[test]
fn another_image_replaces_the_container() {
    let mut world = World::running(json!({"restartPolicy": "Never"}));
    let mut changed = pod(json!({"restartPolicy": "Never"}));
    changed["spec"]["containers"][0]["image"] = "demo:v2".into();
    world.tell(Fact::PodChanged(typed(&changed)));
    assert_eq!(
        world.events(),
        ["Killing: Container web definition changed, will be restarted"]
    );
    world.exits(0, 143);
    assert!(
        world
            .effects
            .iter()
            .any(|e| matches!(e, Effect::PullImage { image, .. } if image == "demo:v2"))
    );
    world.runs(1);
    assert_eq!(world.container().image, "demo:v2");
    assert_eq!(world.phase(), "Running");
}

#[test]
fn readiness_gates_hold_back_readiness() {
    let spec = json!({"readinessGates": [{"conditionType": "lb"}]});
    let mut world = World::running(spec.clone());
    assert_eq!(
        world.condition("Ready"),
        ("False".to_string(), "ReadinessGatesNotReady".to_string())
    );
    assert_eq!(world.condition("ContainersReady").0, "True");
    let mut changed = pod(spec);
    changed["status"] = json!({"conditions": [{"type": "lb", "status": "True"}]});
    world.tell(Fact::PodChanged(typed(&changed)));
    assert_eq!(world.condition("Ready").0, "True");
    assert_eq!(world.condition("lb").0, "True");
}

#[test]
fn facts_about_other_instances_change_nothing() {
    let mut world = World::running(json!({}));
    let other = Instance {
        container: "other".to_string(),
        attempt: 0,
    };
    assert!(world.exits(3, 1).is_empty());
    assert!(
        world
            .tell(Fact::ContainerCreated {
                instance: other,
                user: None
            })
            .is_empty()
    );
    assert!(world.tell(Fact::VolumesReady).is_empty());
}
