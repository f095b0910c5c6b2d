//! Pods from their beginning to their end.

use crate::node::{TestNode, ready};
use kabuki_model::Resource;
use serde_json::{Value, json};

fn state(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]["state"]
}

pub async fn a_pod_runs_and_goes_when_it_is_deleted() {
    let node = TestNode::start().await;
    node.run("web", "echo hello; exec sleep 1000", json!({}));
    let pod = node.until_running("web").await;
    assert_eq!(pod["status"]["podIP"], "10.244.7.2");
    assert_eq!(pod["status"]["hostIP"], "192.0.2.1");
    assert_eq!(pod["status"]["qosClass"], "BestEffort");
    let id = pod["status"]["containerStatuses"][0]["containerID"]
        .as_str()
        .expect("an id");
    assert_eq!(id.len(), "kabuki://".len() + 64);
    println!("{:?}", node.agent.traces());
    node.until_log("web", "hello\n").await;
    let links = std::fs::read_dir(node.dir.join("log/containers"))
        .expect("links")
        .count();
    assert_eq!(links, 1);
    node.delete("web", 1).await;
    node.until_gone("web").await;
    node.until_event("web", "Killing: Stopping container main")
        .await;
    let events = node.events("web");
    for wanted in [
        "Pulled: Container image \"localhost/demo:v1\" already present on machine",
        "Created: Created container: main",
        "Started: Started container main",
    ] {
        assert!(events.iter().any(|e| e == wanted), "{wanted} in {events:?}");
    }
    node.remove().await;
}

pub async fn a_container_that_ends_is_restarted_and_backs_off() {
    let node = TestNode::start().await;
    node.run("web", "echo bye; exit 3", json!({}));
    let pod = node
        .until("web", |pod| {
            state(pod)["waiting"]["reason"] == "CrashLoopBackOff"
        })
        .await;
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["restartCount"], 1);
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
    let message = state(&pod)["waiting"]["message"]
        .as_str()
        .expect("a message")
        .to_string();
    assert!(message.starts_with("back-off 10s restarting failed container=main pod=web_default("));
    node.delete("web", 1).await;
    node.until_gone("web").await;
    node.remove().await;
}

pub async fn a_stubborn_container_is_killed_after_its_grace() {
    let node = TestNode::start().await;
    node.run(
        "web",
        "trap '' TERM; while true; do sleep 1; done",
        json!({}),
    );
    node.until_running("web").await;
    let begun = std::time::Instant::now();
    node.delete("web", 1).await;
    node.until_gone("web").await;
    assert!(begun.elapsed().as_millis() >= 1000, "it had its grace");
    node.remove().await;
}

pub async fn a_forgotten_pod_ends_at_once() {
    let node = TestNode::start().await;
    node.run(
        "web",
        "trap '' TERM; while true; do sleep 1; done",
        json!({}),
    );
    node.until_running("web").await;
    node.api.forget(Resource::PODS, "default", "web");
    node.until_no_actor("web").await;
    let left = std::fs::read_dir(node.dir.join("pods"))
        .expect("a directory")
        .count();
    assert_eq!(left, 0);
    node.remove().await;
}

pub async fn a_pod_that_runs_once_keeps_its_outcome_and_message() {
    let node = TestNode::start().await;
    let once = json!({"spec": {"restartPolicy": "Never"}});
    node.run("good", "echo done > /dev/termination-log", once.clone());
    let pod = node
        .until("good", |pod| pod["status"]["phase"] == "Succeeded")
        .await;
    let ended = &state(&pod)["terminated"];
    assert_eq!(ended["reason"], "Completed");
    assert_eq!(ended["message"], "done\n");
    assert!(!ready(&pod));
    node.run("bad", "exit 7", once.clone());
    let pod = node
        .until("bad", |pod| pod["status"]["phase"] == "Failed")
        .await;
    assert_eq!(state(&pod)["terminated"]["exitCode"], 7);
    let mut missing = once;
    missing["container"] = json!({"command": ["/no/such/program"]});
    node.run("none", "", missing);
    let pod = node
        .until("none", |pod| pod["status"]["phase"] == "Failed")
        .await;
    assert_eq!(state(&pod)["terminated"]["exitCode"], 128, "{pod:#}");
    for name in ["good", "bad", "none"] {
        node.delete(name, 1).await;
        node.until_gone(name).await;
    }
    node.remove().await;
}

pub async fn an_image_that_is_missing_and_never_pulled_says_so() {
    let node = TestNode::start().await;
    let container = json!({"image": "localhost/other:v1", "imagePullPolicy": "Never"});
    node.run("web", "true", json!({"container": container}));
    node.until("web", |pod| {
        state(pod)["waiting"]["reason"] == "ErrImageNeverPull"
    })
    .await;
    node.run(
        "odd",
        "true",
        json!({"container": {"image": "Not/An:Image!"}}),
    );
    node.until("odd", |pod| {
        state(pod)["waiting"]["reason"] == "InvalidImageName"
    })
    .await;
    for name in ["web", "odd"] {
        node.delete(name, 1).await;
        node.until_gone(name).await;
    }
    node.remove().await;
}

pub async fn pods_reach_each_other_and_the_node_registers() {
    let node = TestNode::start().await;
    node.run("server", "exec nc -ll -p 80 -e /bin/echo served", json!({}));
    let server = node.until_running("server").await;
    let ip = server["status"]["podIP"]
        .as_str()
        .expect("an address")
        .to_string();
    let script = format!("until nc -w 1 {ip} 80; do sleep 0.1; done");
    node.run(
        "client",
        &script,
        json!({"spec": {"restartPolicy": "Never"}}),
    );
    node.until("client", |pod| pod["status"]["phase"] == "Succeeded")
        .await;
    assert_eq!(node.log("client").await, "served\n");
    let held = node.api.get(Resource::NODES, "", "n1").expect("the node");
    assert_eq!(held["metadata"]["labels"]["kubernetes.io/os"], "linux");
    assert_eq!(held["status"]["capacity"]["pods"], "110");
    let conditions = held["status"]["conditions"].as_array().expect("conditions");
    assert!(
        conditions
            .iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    );
    node.remove().await;
}
