//! Daemons and shims that come and go.

use kabuki_runtime::{ContainerState, Event};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::pod::{TestPod, has_ended, launcher, shared_pid, until};

#[tokio::test]
async fn a_new_daemon_adopts_everything_as_it_is() {
    let mut pod = TestPod::start().await;
    let spec = pod.container("long", "while :; do sleep 0.05; done");
    pod.run(spec).await;
    let spec = pod.container("short", "exit 5");
    pod.run_to_end(spec).await;
    pod.shim
        .set_agent_state(b"restarts=3".to_vec())
        .await
        .unwrap();
    let before = pod.shim.status().await.unwrap();
    let TestPod {
        dir,
        launcher: old,
        shim,
        events,
        spec,
    } = pod;
    drop((shim, events, old));

    let launcher = launcher(dir.path());
    let mut found = launcher.discover().await.unwrap();
    assert!(
        found.cleaned.is_empty() && found.failed.is_empty(),
        "{found:?}"
    );
    let (shim, events) = found.live.remove(0);
    let after = shim.status().await.unwrap();
    assert_eq!(after, before);
    assert_eq!(
        (after.agent_state.as_slice(), after.pod.as_ref()),
        (&b"restarts=3"[..], Some(&spec))
    );
    // The adopted pod works on: exits are told to the new daemon.
    let mut pod = TestPod {
        dir,
        launcher,
        shim,
        events,
        spec,
    };
    pod.shim.signal("long", 9, false).await.unwrap();
    assert_eq!(pod.exit_of("long").await.signal, 9);
    pod.end().await;
}

#[tokio::test]
async fn an_exit_that_nobody_saw_is_in_the_status() {
    let pod = TestPod::start().await;
    let (go, done) = (
        pod.dir.path().join("root-c/tmp/go"),
        pod.dir.path().join("root-c/tmp/done"),
    );
    let spec = pod.container(
        "c",
        "until [ -e /tmp/go ]; do sleep 0.02; done; touch /tmp/done; exit 6",
    );
    pod.run(spec).await;
    let TestPod {
        dir,
        launcher,
        shim,
        events,
        spec,
    } = pod;
    drop((shim, events));
    std::fs::write(go, "").unwrap();
    until("the container's last act", || done.exists()).await;
    let (shim, mut events) = launcher.connect("a").await.unwrap();
    let code = loop {
        match &shim.status().await.unwrap().containers[0].state {
            ContainerState::Exited { exit, .. } => break exit.code,
            _ => {
                // Still on its way: the event says when.
                let Some(Event::ContainerExited { exit, .. }) = events.recv().await else {
                    continue;
                };
                break exit.code;
            }
        }
    };
    assert_eq!(code, 6);
    TestPod {
        dir,
        launcher,
        shim,
        events,
        spec,
    }
    .end()
    .await;
}

#[tokio::test]
async fn a_killed_shim_leaves_nothing_after_discovery() {
    for share in [false, true] {
        let mut pod = TestPod::start_with(|spec| {
            if share {
                shared_pid(spec)
            }
        })
        .await;
        let spec = pod.container("c", "sleep 1000 & sleep 1000 & exec sleep 1000");
        pod.run(spec).await;
        let spec = pod.container("waiting", "sleep 1000");
        pod.shim.create(spec).await.unwrap();
        let cgroups = kabuki_runtime::Cgroups::detect().unwrap();
        let path = pod.spec.cgroup_path();
        until("all three processes", || cgroups.pids(&path).len() >= 4).await;
        kill(Pid::from_raw(pod.shim.pid()), Signal::SIGKILL).unwrap();
        assert_eq!(pod.events.recv().await, None);
        assert!(pod.shim.status().await.is_err());
        let found = pod.launcher.discover().await.unwrap();
        assert_eq!(found.cleaned, ["a"], "{:?}", found.failed);
        pod.assert_no_trace();
    }
}

#[tokio::test]
async fn an_exec_ends_with_the_daemon_that_asked_for_it() {
    let pod = TestPod::start().await;
    let spec = pod.container("c", "sleep 1000");
    pod.run(spec).await;
    let exec = kabuki_runtime::ExecSpec {
        container: "c".into(),
        args: vec!["sleep".into(), "2000".into()],
        ..kabuki_runtime::ExecSpec::default()
    };
    let pid = pod.shim.exec(exec).await.unwrap().pid;
    let TestPod {
        dir,
        launcher,
        shim,
        events,
        spec,
    } = pod;
    drop((shim, events));
    until("the exec's end", || has_ended(pid)).await;
    let (shim, events) = launcher.connect("a").await.unwrap();
    let status = shim.status().await.unwrap();
    assert!(matches!(
        status.containers[0].state,
        ContainerState::Running { .. }
    ));
    TestPod {
        dir,
        launcher,
        shim,
        events,
        spec,
    }
    .end()
    .await;
}

#[tokio::test]
async fn a_spare_waits_for_its_pod_and_setup_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let launcher = launcher(dir.path());
    let (shim, events) = launcher.spawn("a").await.unwrap();
    assert_eq!(shim.status().await.unwrap().pod, None);
    assert!(shim.netns_path().exists());
    let spec = kabuki_runtime::PodSpec {
        uid: format!("spare-{}", std::process::id()),
        cgroup_parent: "/kabuki-test".into(),
        hostname: "h".into(),
        ..kabuki_runtime::PodSpec::default()
    };
    shim.setup(spec.clone()).await.unwrap();
    shim.setup(spec.clone()).await.unwrap();
    let other = kabuki_runtime::PodSpec {
        uid: "other".into(),
        ..spec.clone()
    };
    assert!(shim.setup(other).await.is_err());
    TestPod {
        dir,
        launcher,
        shim,
        events,
        spec,
    }
    .end()
    .await;
}

#[tokio::test]
async fn a_shim_that_cannot_start_says_why_and_leaves_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let launcher = launcher(dir.path()).with_cgroup("not/absolute");
    let error = launcher.spawn("a").await.unwrap_err().to_string();
    assert!(error.contains("not/absolute"), "{error}");
    assert!(!dir.path().join("run/a").exists());
}

#[tokio::test]
async fn a_process_with_a_name_outlives_the_client_and_is_waited_for_by_the_next() {
    let mut pod = TestPod::start().await;
    let spec = pod.container("c", "sleep 1000");
    pod.run(spec).await;
    let spec = || kabuki_runtime::ExecSpec {
        container: "c".into(),
        args: [
            "sh",
            "-c",
            "echo begun >> /tmp/log; until [ -e /tmp/go ]; do sleep 0.02; done; exit 4",
        ]
        .map(str::to_owned)
        .to_vec(),
        lasting: Some("hook".into()),
        ..kabuki_runtime::ExecSpec::default()
    };
    let place = pod.dir.path().join("root-c/tmp");
    let (first, _events) = pod.launcher.connect("a").await.unwrap();
    let begun = first.exec(spec()).await.unwrap();
    until("it begins", || place.join("log").exists()).await;
    drop((first, _events));
    let again = pod.shim.exec(spec()).await.unwrap();
    assert_eq!((again.exec_id, again.pid), (begun.exec_id, begun.pid));
    std::fs::write(place.join("go"), "").unwrap();
    assert_eq!(pod.exec_exit(again.exec_id).await.code, 4);
    // Its end is remembered.
    let ended = pod.shim.exec(spec()).await.unwrap();
    assert_eq!(pod.exec_exit(ended.exec_id).await.code, 4);
    let log = std::fs::read_to_string(place.join("log")).unwrap();
    assert_eq!(log, "begun\n");
    pod.end().await;
}
