//! Networks that break.

use super::{LIMIT, Writer, assert_kept};
use kabuki_tests::harness::{Cluster, until};

#[test]
fn a_leader_that_is_cut_off_refuses_and_the_others_go_on() {
    let mut cluster = Cluster::start(3, 0);
    let old = cluster.leader();
    let others: Vec<usize> = (1..=3).filter(|n| *n != old).collect();
    let writer = Writer::start(&cluster, &[1, 2, 3], "note");
    writer.wait_more(20, &cluster);
    let before = writer.stop();
    cluster.network.plug(old, false);
    let writer = Writer::start(&cluster, &others, "later");
    writer.wait_more(20, &cluster);
    // Neither writes nor reads that could be stale, and no hanging.
    let told = until("the lone server refuses", LIMIT, || {
        let outcome = cluster
            .node(old)
            .cli(&["create", "configmap", "alone", "--from-literal=a=b"]);
        (outcome.code != 0).then_some(outcome.err)
    });
    assert!(told.contains("majority"), "{told}");
    let read = cluster.node(old).cli(&["get", "configmaps"]);
    assert_ne!(read.code, 0, "a stale read: {}", read.out.len());
    let stale = cluster.node(old).cli(&["get", "configmaps", "--stale"]);
    assert_eq!(stale.code, 0, "{}", stale.err);
    cluster.network.plug(old, true);
    let later = writer.stop();
    cluster.wait_voters(3);
    cluster.node_mut(old).wait_answering();
    assert_kept(&cluster, &before, &[1, 2, 3]);
    assert_kept(&cluster, &later, &[1, 2, 3]);
    let alone = cluster.node(old).cli(&["get", "configmap", "alone"]);
    assert_ne!(alone.code, 0, "a refused write happened");
}

#[test]
fn a_node_that_is_cut_off_becomes_unknown_and_comes_back() {
    let cluster = Cluster::start(1, 1);
    let status = r#"{.status.conditions[?(@.type=="Ready")].status}"#;
    cluster.network.plug(2, false);
    cluster.wait_value("node/n2", status, "Unknown");
    let taints = "{.spec.taints[*].key}";
    until("the node is tainted", LIMIT, || {
        cluster
            .value("node/n2", taints)?
            .contains("node.kubernetes.io/unreachable")
            .then_some(())
    });
    cluster.network.plug(2, true);
    cluster.wait_value("node/n2", status, "True");
    cluster.wait_value("node/n2", taints, "");
}
