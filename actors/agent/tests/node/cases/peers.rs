//! Other nodes come and go.

use crate::node::TestNode;
use kabuki_model::Resource;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(30);

pub async fn nodes_that_join_are_connected_and_those_that_leave_are_not() {
    // The node's address, on a segment of its own.
    ip("link add uplink type veth peer name far");
    ip("addr add 192.0.2.1/24 dev uplink");
    ip("link set uplink up");
    ip("link set far up");
    let node = TestNode::start().await;
    let put = |name: &str, block: &str, address: &str| {
        let object = other(name, block, address);
        node.api.put(Resource::NODES, "", object);
    };
    // The kernel's own text: addresses are in hexadecimal, lowest byte last.
    put("near", "10.244.8.0/24", "192.0.2.2");
    until("a route to the near one", || routes().contains("0008F40A")).await;
    assert!(!devices().contains("kv-"), "nobody needs it yet");

    put("far", "10.244.9.0/24", "198.51.100.3");
    until("a route to the far one", || routes().contains("0009F40A")).await;
    assert!(devices().contains("kv-"));

    put("thief", "10.244.9.128/25", "192.0.2.4");
    let told = || {
        let events = node.api.all(Resource::EVENTS);
        events.iter().any(|event| {
            event["reason"] == "PeerNotConnected" && event.to_string().contains("thief")
        })
    };
    until("an event about the one that cannot be", told).await;
    assert!(routes().contains("0009F40A"));

    node.api.forget(Resource::NODES, "", "near");
    until("no route to the near one", || {
        !routes().contains("0008F40A")
    })
    .await;
    assert!(routes().contains("0009F40A"));
    node.remove().await;
    assert!(!routes().contains("F40A"), "{}", routes());
    assert!(!devices().contains("kv-"));
    ip("link del uplink");
}

fn other(name: &str, block: &str, address: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "spec": {"podCIDR": block},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]}})
}

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .expect("ip runs");
    assert!(status.success(), "ip {arguments}");
}

fn routes() -> String {
    std::fs::read_to_string("/proc/self/net/route").expect("routes")
}

fn devices() -> String {
    std::fs::read_to_string("/proc/self/net/dev").expect("devices")
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "not seen: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
