//! Pods outlive everything but their own end.

use crate::node::TestNode;
use kabuki_model::Resource;
use serde_json::{Value, json};

fn started_at(pod: &Value) -> Value {
    pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"].clone()
}

fn shims(node: &TestNode) -> Vec<i32> {
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&line).into_owned();
        if text.contains("shim") && text.contains(&node.run_mark()) {
            pids.push(pid);
        }
    }
    pids.sort_unstable();
    pids
}

pub async fn a_restarted_agent_adopts_what_runs() {
    let mut node = TestNode::start().await;
    node.run("web", "echo one; exec sleep 1000", json!({}));
    let before = node.until_running("web").await;
    node.stop().await;
    let (dir, api) = (node.dir.clone(), node.api.clone());
    drop(node);
    let node = TestNode::start_in(dir, api).await;
    node.until_actor("web").await;
    let after = node.until_running("web").await;
    assert_eq!(started_at(&before), started_at(&after));
    assert_eq!(after["status"]["containerStatuses"][0]["restartCount"], 0);
    node.until_log("web", "one\n").await;
    node.delete("web", 0).await;
    node.delete_quietly("web").await;
    node.until_no_actor("web").await;
    node.remove().await;
}

pub async fn what_the_api_forgot_meanwhile_is_ended() {
    let mut node = TestNode::start().await;
    node.run("web", "exec sleep 1000", json!({}));
    node.until_running("web").await;
    node.stop().await;
    let (dir, api) = (node.dir.clone(), node.api.clone());
    drop(node);
    api.forget(Resource::PODS, "default", "web");
    let node = TestNode::start_in(dir, api).await;
    let pods = node.dir.join("pods");
    node.eventually("the pod's files go", || {
        std::fs::read_dir(&pods).expect("a directory").count() == 0
    })
    .await;
    node.remove().await;
}

pub async fn every_actor_can_be_killed() {
    let node = TestNode::start().await;
    node.run("web", "exec sleep 1000", json!({}));
    let before = node.until_running("web").await;
    let paths: Vec<String> = node.tree.snapshot().into_iter().map(|a| a.path).collect();
    assert!(paths.iter().any(|p| p.ends_with("/life")), "{paths:?}");
    for path in paths.iter().filter(|p| p.contains('/')) {
        let starts = |path: &str| node.tree.get(path).map_or(0, |a| a.starts);
        let held = starts(path);
        if node.tree.kill(path).is_err() {
            continue;
        }
        node.eventually(&format!("{path} comes back"), || starts(path) > held)
            .await;
    }
    let name = "another";
    node.run(name, "exec sleep 1000", json!({}));
    node.until_running(name).await;
    let after = node.until_running("web").await;
    assert_eq!(
        started_at(&before),
        started_at(&after),
        "its container was not touched"
    );
    for name in ["web", name] {
        node.delete(name, 1).await;
        node.until_gone(name).await;
    }
    node.remove().await;
}

pub async fn a_lost_shim_restarts_its_pod() {
    let node = TestNode::start().await;
    node.run("web", "exec sleep 1000", json!({}));
    node.until_running("web").await;
    for pid in shims(&node) {
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        // It may have ended meanwhile.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    node.until("web", |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"] == 1 && crate::node::ready(pod)
    })
    .await;
    node.delete("web", 1).await;
    node.until_gone("web").await;
    node.remove().await;
}
