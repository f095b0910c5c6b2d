//! The Lease that each node keeps, as a kubelet does.

use crate::kubectl::ok;
use kabuki_tests::harness::{Cluster, Daemon, until};
use serde_json::Value;
use std::time::Duration;

/// How long anything may take; a lease is renewed every ten seconds.
const LIMIT: Duration = Duration::from_secs(60);

const NAMES: &str = "jsonpath={.items[*].metadata.name}";

fn lease(node: &Daemon) -> Option<Value> {
    let get = ["get", "lease", "n1", "-n", "kube-node-lease", "-o", "json"];
    let text = ok(node, &[&get[..], &["--ignore-not-found"]].concat());
    serde_json::from_str(&text).ok()
}

#[test]
fn a_node_renews_its_lease_and_makes_it_again_when_it_is_gone() {
    let node = Daemon::start();
    let first = until("the node has a lease", LIMIT, || lease(&node));
    let spec = &first["spec"];
    assert_eq!(spec["holderIdentity"], "n1");
    assert_eq!(spec["leaseDurationSeconds"], 40);
    let uid = node.value("node/n1", "{.metadata.uid}");
    let owner = serde_json::json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid}]);
    assert_eq!(first["metadata"]["ownerReferences"], owner);
    let renewed = until("the lease is renewed", LIMIT, || {
        lease(&node).filter(|l| l["spec"]["renewTime"] != spec["renewTime"])
    });
    assert!(renewed["spec"]["renewTime"].as_str() > spec["renewTime"].as_str());
    assert_eq!(renewed["metadata"]["uid"], first["metadata"]["uid"]);
    ok(&node, &["delete", "lease", "n1", "-n", "kube-node-lease"]);
    let again = until("the lease is made again", LIMIT, || lease(&node));
    assert_ne!(again["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(again["spec"]["holderIdentity"], "n1");
}

#[test]
fn a_lease_goes_with_its_node() {
    let cluster = Cluster::start(1, 1);
    cluster.wait_ready();
    let node = cluster.node(1);
    let leases = |names: &str| {
        let held = ok(
            node,
            &["get", "leases", "-n", "kube-node-lease", "-o", NAMES],
        );
        (held == names).then_some(())
    };
    until("both nodes have a lease", LIMIT, || leases("n1 n2"));
    ok(node, &["delete", "node", "n2"]);
    until("the lease is gone, too", LIMIT, || leases("n1"));
}
