//! Networks that break.

use super::{LIMIT, Writer, assert_kept};
use kabuki_tests::harness::{Cluster, Way, address, until};
use std::time::{Duration, Instant};

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
        let outcome =
            cluster
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

/// A leader whose link to these others is cut one way: writes go on or are taken up again, nothing
/// acknowledged is lost, and whoever answers a read knows every acknowledged write.
fn cut_leader(way: Way, others: usize) {
    let mut cluster = Cluster::start(3, 0);
    let writer = Writer::start(&cluster, &[1, 2, 3], "note");
    writer.wait_more(20, &cluster);
    let old = cluster.leader();
    let cut: Vec<usize> = (1..=3).filter(|n| *n != old).take(others).collect();
    for other in &cut {
        cluster.node(old).host().cut(way, &address(*other));
    }
    writer.wait_more(30, &cluster);
    // Written and acknowledged now: no server may answer without it.
    let fresh = ["create", "configmap", "fresh", "--from-literal=a=b"];
    until("a write is acknowledged", LIMIT, || {
        let done = (1..=3).any(|n| {
            let outcome = cluster.node(n).cli(&fresh);
            outcome.code == 0 || outcome.err.contains("AlreadyExists")
        });
        done.then_some(())
    });
    for number in 1..=3 {
        let read = cluster.node(number).cli(&["get", "configmap", "fresh"]);
        assert!(
            read.code == 0 || !read.err.contains("NotFound"),
            "n{number} answered with a stale read: {}",
            read.err
        );
    }
    cluster.node(old).host().mend();
    let acknowledged = writer.stop();
    cluster.wait_voters(3);
    for number in 1..=3 {
        cluster.node_mut(number).wait_answering();
    }
    assert_kept(&cluster, &acknowledged, &[1, 2, 3]);
}

#[test]
fn a_leader_that_hears_nobody_gives_way() {
    cut_leader(Way::From, 2);
}

#[test]
fn a_leader_that_nobody_hears_gives_way() {
    cut_leader(Way::To, 2);
}

#[test]
fn a_leader_cut_off_from_one_of_two_goes_on_or_is_replaced() {
    cut_leader(Way::Both, 1);
}

/// How many nodes drive their pods away, and how many are lost.
fn driving_and_lost(cluster: &Cluster) -> Option<(usize, usize)> {
    let count = |path: &str, word: &str| {
        let shown = cluster.value("nodes", path)?;
        Some(shown.split_whitespace().filter(|w| *w == word).count())
    };
    Some((
        count("{.items[*].spec.taints[*].effect}", "NoExecute")?,
        count(
            r#"{.items[*].status.conditions[?(@.type=="Ready")].status}"#,
            "Unknown",
        )?,
    ))
}

#[test]
fn a_zone_that_is_lost_for_the_most_part_keeps_its_pods_until_it_is_lost_whole() {
    let mut cluster = Cluster::found();
    let token = cluster.token(&["--role", "worker"]);
    for _ in 0..4 {
        let far = "topology.kubernetes.io/zone=far";
        cluster.add(&["--join", &address(1), "--token", &token, "--label", far]);
    }
    cluster.wait_ready();
    for number in 2..=4 {
        cluster.network.plug(number, false);
    }
    until("three nodes are lost", LIMIT * 2, || {
        let (_, lost) = driving_and_lost(&cluster)?;
        (lost == 3).then_some(())
    });
    // The first may have been seen lost before the others: one turn of ten seconds. Two more turns
    // would drive away two more.
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(22) {
        if let Some((driving, _)) = driving_and_lost(&cluster) {
            assert!(driving <= 1, "{driving} nodes drive their pods away");
        }
    }
    // With the last one the zone is lost whole, and there is another to go to: the usual pace.
    cluster.network.plug(5, false);
    until("pods are driven away node by node", LIMIT * 3, || {
        let (driving, lost) = driving_and_lost(&cluster)?;
        (driving >= 3 && lost == 4).then_some(())
    });
    for number in 2..=5 {
        cluster.network.plug(number, true);
    }
    cluster.wait_ready();
    until("the taints are taken back", LIMIT, || {
        let (driving, lost) = driving_and_lost(&cluster)?;
        (driving == 0 && lost == 0).then_some(())
    });
}
