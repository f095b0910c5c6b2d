//! What survives the death of the daemon, and of any of its actors.

use kabuki_model::Resource;
use kabuki_net::{Netns, dial};
use kabuki_protocol::node::{FromNode, NodeRequest};
use kabuki_tests::harness::{Daemon, Session, busybox_archive, until};
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn counter(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
         containers:\n  - name: main\n    image: busybox\n    imagePullPolicy: IfNotPresent\n    \
         command: [sh, -c, 'i=0; while true; do echo $i; i=$((i+1)); sleep 0.1; done']\n"
    )
}

fn node_with_counter() -> Daemon {
    let node = Daemon::start();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    node.apply(&counter("steady"));
    node.ok(&[
        "wait",
        "--for=condition=Ready",
        "pod/steady",
        "--timeout=30s",
    ]);
    node
}

/// When the container of `steady` began, and its id: both change when it is made anew.
fn identity(node: &Daemon) -> (String, String) {
    let started = "{.status.containerStatuses[0].state.running.startedAt}";
    let id = "{.status.containerStatuses[0].containerID}";
    (
        node.value("pod/steady", started),
        node.value("pod/steady", id),
    )
}

/// The log of `steady` counts from zero without a gap.
fn assert_log_is_whole(node: &Daemon) {
    let log = node.ok(&["logs", "steady"]);
    assert!(!log.is_empty());
    for (expected, line) in log.lines().enumerate() {
        assert_eq!(line, expected.to_string());
    }
}

#[test]
fn containers_outlive_the_daemon_and_are_adopted() {
    let mut node = node_with_counter();
    let before = identity(&node);
    for _ in 0..5 {
        node.restart();
        assert_eq!(before, identity(&node));
        node.wait_value(
            "pod/steady",
            "{.status.containerStatuses[0].restartCount}",
            "0",
        );
    }
    assert_log_is_whole(&node);
    assert_eq!(
        node.ok(&["exec", "steady", "--", "echo", "alive"]),
        "alive\n"
    );
    assert!(node.terminate().success());
    node.launch();
    node.wait_answering();
    assert_eq!(before, identity(&node));
}

/// Creates one ConfigMap after the other until told to stop, through as many sessions as it
/// takes; gives the names of those that were acknowledged.
fn writer(
    netns: PathBuf,
    data: PathBuf,
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
) -> JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async move {
            let netns = Netns::open(&netns).expect("the host's namespace");
            let address = "127.0.0.1:6443".parse().expect("an address");
            let (mut acknowledged, mut number) = (Vec::new(), 0);
            while !stop.load(Ordering::Relaxed) {
                let Ok(stream) = dial(&netns, address, Duration::from_secs(1)).await else {
                    continue;
                };
                let stream = stream.into_std().expect("a socket of the standard library");
                let Ok(session) = Session::over(stream, &data).await else {
                    continue;
                };
                while !stop.load(Ordering::Relaxed) {
                    let name = format!("note-{number}");
                    number += 1;
                    let object =
                        json!({"metadata": {"name": name}, "data": {"n": "x".repeat(200)}});
                    if session
                        .create(Resource::CONFIG_MAPS, &object)
                        .await
                        .is_err()
                    {
                        break;
                    }
                    acknowledged.push(name);
                    written.fetch_add(1, Ordering::Relaxed);
                }
            }
            acknowledged
        })
    })
}

/// `KABUKI_KILLS` rounds (200 unless set) of `kill -9` at ever other moments, under writes.
#[test]
fn nothing_acknowledged_is_lost_when_the_daemon_is_killed_again_and_again() {
    let rounds = std::env::var("KABUKI_KILLS")
        .ok()
        .and_then(|k| k.parse().ok());
    let rounds: u64 = rounds.unwrap_or(200);
    let mut node = node_with_counter();
    let before = identity(&node);
    let netns = PathBuf::from("/run/netns").join(node.host().name());
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicUsize::new(0));
    let data = node.data_dir().to_path_buf();
    let writes = writer(netns, data, stop.clone(), written.clone());
    for round in 0..rounds {
        if round % 10 == 9 {
            // However slow the machine is, there are writes to lose.
            let before = written.load(Ordering::Relaxed);
            until("writes are acknowledged", LIMIT, || {
                (written.load(Ordering::Relaxed) > before).then_some(())
            });
        }
        // From the middle of opening the log to well after it answers.
        std::thread::park_timeout(Duration::from_millis(round * 37 % 400));
        node.kill();
        node.launch();
    }
    node.wait_answering();
    stop.store(true, Ordering::Relaxed);
    let acknowledged = writes.join().expect("the writer ends");
    assert!(!acknowledged.is_empty(), "nothing was written");
    let held = node.ok(&[
        "get",
        "configmaps",
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ]);
    let held: std::collections::HashSet<&str> = held.split_whitespace().collect();
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|n| !held.contains(n.as_str()))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    println!(
        "{rounds} kills, {} acknowledged writes, none lost",
        acknowledged.len()
    );

    assert_eq!(before, identity(&node));
    node.wait_value(
        "pod/steady",
        "{.status.containerStatuses[0].restartCount}",
        "0",
    );
    assert_log_is_whole(&node);
    nothing_is_left_behind(&node);
}

/// After the last pod is gone, only what the node itself needs is there.
fn nothing_is_left_behind(node: &Daemon) {
    node.ok(&["delete", "pod", "steady", "--wait"]);
    let data = node.data_dir().display().to_string();
    until(
        "the pod's directory, interface and cgroup are gone",
        LIMIT,
        || {
            let pods = std::fs::read_dir(node.data_dir().join("pods")).map(|d| d.count());
            let links = node.host().run("ip", &["-o", "link"]);
            let veths = links.lines().filter(|l| l.contains("@if")).count();
            (pods.unwrap_or(0) == 0 && veths == 0).then_some(())
        },
    );
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains(&data), "{mounts}");
}

/// Every actor of the tree but the root, which only the process itself can start again.
fn actors(node: &Daemon) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let session = Session::open(node).await.expect("a session");
        let stream = session
            .client()
            .open_stream(None, NodeRequest::Actors)
            .await;
        let mut stream = stream.expect("a stream");
        while let Some(chunk) = stream.output.recv().await {
            if let FromNode::Actors(actors) = chunk {
                let paths = actors.into_iter().map(|a| a.path);
                return paths.filter(|p| p.contains('/')).collect();
            }
        }
        panic!("the node lists no actors");
    })
}

#[test]
fn any_actor_can_be_killed_and_the_service_goes_on() {
    let node = node_with_counter();
    let before = identity(&node);
    let pid = node.pid();
    for path in actors(&node) {
        if path.starts_with("node/clients/sessions/") {
            continue;
        }
        // The session that carries the order may be below the actor that dies.
        let _ = node.cli(&["actors", "--kill", &path]);
        until(
            &format!("the node serves after the death of {path}"),
            LIMIT,
            || {
                let name = format!("after-{}", path.replace(['/', '_'], "-").to_lowercase());
                let _ = node.cli(&["delete", "configmap", &name]);
                let made = node.cli(&["create", "configmap", &name]);
                let there = node.cli(&["exec", "steady", "--", "true"]);
                (made.code == 0 && there.code == 0).then_some(())
            },
        );
    }
    assert_eq!(pid, node.pid(), "no actor's death may end the process");
    assert_eq!(before, identity(&node));
    // Controllers, scheduler and agent still do their work.
    node.apply(&counter("later"));
    node.ok(&[
        "wait",
        "--for=condition=Ready",
        "pod/later",
        "--timeout=30s",
    ]);
    assert_log_is_whole(&node);
}

#[test]
fn a_stopped_node_can_be_removed_without_a_trace() {
    let mut node = node_with_counter();
    let shims = || {
        let listed = Command::new("pgrep")
            .args(["-f", "kabuki shim"])
            .output()
            .expect("pgrep runs");
        let own = node_mark(node.data_dir());
        let pids = String::from_utf8_lossy(&listed.stdout).into_owned();
        pids.lines()
            .filter(|pid| {
                let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
                cgroup.is_ok_and(|c| c.contains(&own))
            })
            .count()
    };
    assert!(shims() > 0);
    let refused = node.refused(&["reset", "--yes"]);
    assert!(refused.contains("the node still runs"), "{refused}");
    assert!(node.terminate().success());
    node.ok(&["reset", "--yes"]);
    until("no shim is left", LIMIT, || {
        let listed = Command::new("pgrep")
            .args(["-f", "kabuki shim"])
            .output()
            .ok()?;
        let own = node_mark(node.data_dir());
        let pids = String::from_utf8_lossy(&listed.stdout).into_owned();
        let left = pids.lines().any(|pid| {
            let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
            cgroup.is_ok_and(|c| c.contains(&own))
        });
        (!left).then_some(())
    });
    assert!(!node.data_dir().exists());
    let links = node.host().run("ip", &["-o", "link"]);
    assert_eq!(links.lines().count(), 1, "{links}");
}

/// The name of the node's cgroup.
fn node_mark(data_dir: &std::path::Path) -> String {
    kabuki_agent::Layout::new(data_dir).cgroup
}
