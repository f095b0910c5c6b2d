//! What is measured, and what happens when the node runs short or goes down.

use crate::api::FakeApi;
use crate::node::TestNode;
use kabuki_agent::Layout;
use kabuki_agent::eviction::{Amount, Settings, Signal};
use kabuki_protocol::node::{FromNode, NodeMetrics, NodeRequest};
use kabuki_runtime::{Cgroups, Resources};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

const MIB: i64 = 1 << 20;

async fn metrics(node: &TestNode) -> NodeMetrics {
    let opened = node.node().open(NodeRequest::Metrics).await;
    let mut stream = opened.expect("a stream");
    match stream.output.recv().await {
        Some(FromNode::Metrics(metrics)) => metrics,
        other => panic!("no figures: {other:?}"),
    }
}

/// Settings with this threshold alone, and conditions that follow at once.
fn only(signal: Signal, amount: i64) -> Settings {
    Settings {
        hard: [(signal, Amount::Of(amount))].into(),
        transition: jiff::SignedDuration::ZERO,
        ..Settings::default()
    }
}

fn has_condition(node: &Value, name: &str, status: &str) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|c| c["type"] == name && c["status"] == status)
}

fn evicted(pod: &Value, why: &str) {
    assert_eq!(pod["status"]["reason"], "Evicted", "{pod:#}");
    let message = pod["status"]["message"].as_str().unwrap_or_default();
    assert!(message.contains(why), "{message}");
}

pub async fn what_is_used_is_measured_and_told() {
    let node = TestNode::start().await;
    let script = "dd if=/dev/zero of=/mem/f bs=1M count=20; while true; do :; done";
    let more = json!({
        "container": {"volumeMounts": [{"name": "mem", "mountPath": "/mem"}]},
        "spec": {"volumes": [{"name": "mem", "emptyDir": {"medium": "Memory"}}]},
    });
    node.run("busy", script, more);
    node.until_running("busy").await;
    let measured = loop {
        let measured = metrics(&node).await;
        let pod = measured.pods.iter().find(|p| p.name == "busy");
        let is_seen = |p: &kabuki_protocol::node::PodMetrics| {
            p.usage.cpu_nanocores > 0
                && p.usage.memory_working_set_bytes > 20 << 20
                && p.containers.iter().any(|c| c.usage.cpu_nanocores > 0)
        };
        if pod.is_some_and(is_seen) {
            break measured;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let pod = &measured.pods[0];
    assert_eq!(
        (&*pod.namespace, &*pod.containers[0].name),
        ("default", "main")
    );
    assert!(pod.usage.pids >= 1, "{pod:?}");
    assert!(measured.usage.memory_working_set_bytes > pod.usage.memory_working_set_bytes);
    assert!(measured.file_system.capacity_bytes > 0 && measured.cpu_milli > 0);
    node.remove().await;
}

pub async fn under_memory_pressure_the_pod_that_exceeds_its_request_goes_first() {
    let dir = TestNode::dir();
    let node = TestNode::start_with(dir.clone(), FakeApi::new(), |config| {
        config.eviction = only(Signal::MemoryAvailable, 60 * MIB);
    })
    .await;
    let limits = Resources {
        memory_limit: Some(220 * MIB),
        ..Resources::default()
    };
    let cgroups = Cgroups::detect().expect("cgroups");
    let applied = cgroups.apply(&Layout::new(&dir).cgroup, &limits);
    applied.expect("a small node");
    let of = |request: &str, mib: u32| {
        let script = format!("dd if=/dev/zero of=/mem/f bs=1M count={mib}; exec sleep 1000");
        let more = json!({
            "container": {"volumeMounts": [{"name": "mem", "mountPath": "/mem"}],
                "resources": {"requests": {"memory": request}}},
            "spec": {"volumes": [{"name": "mem", "emptyDir": {"medium": "Memory"}}]},
        });
        (script, more)
    };
    let (script, more) = of("80Mi", 60);
    node.run("calm", &script, more);
    node.until_running("calm").await;
    let (script, more) = of("10Mi", 110);
    node.run("greedy", &script, more);
    let pressed = |n: &Value| has_condition(n, "MemoryPressure", "True");
    node.until_node(pressed).await;
    let gone = node
        .until("greedy", |pod| pod["status"]["phase"] == "Failed")
        .await;
    evicted(
        &gone,
        "The node was low on resource: memory. Threshold quantity: 60Mi",
    );
    let relieved = |n: &Value| has_condition(n, "MemoryPressure", "False");
    node.until_node(relieved).await;
    assert_eq!(
        node.get("calm").expect("there")["status"]["phase"],
        "Running"
    );
    node.remove().await;
}

pub async fn under_disk_pressure_the_pod_with_the_most_on_disk_goes_first() {
    let place = tempfile::tempdir().expect("a directory");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=160m", "small"])
        .arg(place.path())
        .status();
    assert!(mounted.expect("mount runs").success());
    let node = TestNode::start_with(place.path().join("data"), FakeApi::new(), |config| {
        config.eviction = only(Signal::NodeFsAvailable, 50 * MIB);
    })
    .await;
    let of = |mib: u32| format!("dd if=/dev/zero of=/scratch/f bs=1M count={mib}; exec sleep 1000");
    let more = || {
        json!({
            "container": {"volumeMounts": [{"name": "s", "mountPath": "/scratch"}]},
            "spec": {"volumes": [{"name": "s", "emptyDir": {}}]},
        })
    };
    node.run("small", &of(10), more());
    node.until_running("small").await;
    node.run("large", &of(110), more());
    let gone = node
        .until("large", |pod| pod["status"]["phase"] == "Failed")
        .await;
    evicted(&gone, "The node was low on resource: ephemeral-storage.");
    let relieved = |n: &Value| has_condition(n, "DiskPressure", "False");
    node.delete("large", 0).await;
    node.until_node(relieved).await;
    assert_eq!(
        node.get("small").expect("there")["status"]["phase"],
        "Running"
    );
    node.remove().await;
    let unmounted = Command::new("umount").arg(place.path()).status();
    assert!(unmounted.expect("umount runs").success());
}

pub async fn a_container_that_writes_more_than_it_may_is_evicted() {
    let node = TestNode::start().await;
    let more = json!({"container": {"resources": {"limits": {"ephemeral-storage": "1Mi"}}}});
    let script = "dd if=/dev/zero of=/f bs=1M count=3; exec sleep 1000";
    node.run("web", script, more);
    let gone = node
        .until("web", |pod| pod["status"]["phase"] == "Failed")
        .await;
    evicted(
        &gone,
        "Container main exceeded its local ephemeral storage limit \"1Mi\".",
    );
    node.remove().await;
}

pub async fn an_unsafe_sysctl_is_refused_and_a_safe_one_set() {
    let node = TestNode::start().await;
    let with = |name: &str| {
        let sysctls = json!([{"name": name, "value": "1"}]);
        json!({"spec": {"restartPolicy": "Never", "securityContext": {"sysctls": sysctls}}})
    };
    node.run("bad", "true", with("net.core.somaxconn"));
    let bad = node
        .until("bad", |pod| pod["status"]["phase"] == "Failed")
        .await;
    assert_eq!(bad["status"]["reason"], "SysctlForbidden");
    let script = "cat /proc/sys/kernel/shm_rmid_forced";
    node.run("good", script, with("kernel.shm_rmid_forced"));
    node.until("good", |pod| pod["status"]["phase"] == "Succeeded")
        .await;
    assert_eq!(node.log("good").await, "1\n");
    node.remove().await;
}

pub async fn pods_end_with_the_machine_where_that_is_configured() {
    let node = TestNode::start_with(TestNode::dir(), FakeApi::new(), |config| {
        config.shutdown = Some((Duration::from_secs(4), Duration::from_secs(1)));
    })
    .await;
    let more = json!({});
    node.run(
        "web",
        "trap 'exit 0' TERM; while true; do sleep 0.1; done",
        more,
    );
    node.until_running("web").await;
    node.end_pods().await;
    let pod = node.get("web").expect("there");
    assert_eq!(pod["status"]["phase"], "Failed", "{pod:#}");
    assert_eq!(pod["status"]["reason"], "Terminated");
    node.remove().await;
}
