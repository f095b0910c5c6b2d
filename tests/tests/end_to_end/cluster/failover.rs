//! Servers that end, one or all of them.

use super::{Writer, assert_kept, pods, wait_web, web};
use kabuki_tests::harness::Cluster;

#[test]
fn a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start(3, 1);
    cluster.node(1).apply(&web(4));
    wait_web(&cluster, 4);
    let before = pods(&cluster, 1);
    let writer = Writer::start(&cluster, &[1, 2, 3], "note");
    writer.wait_more(20, &cluster);
    for _ in 0..2 {
        let leader = cluster.leader();
        cluster.node_mut(leader).kill();
        writer.wait_more(20, &cluster);
        cluster.node_mut(leader).launch();
        cluster.node_mut(leader).wait_answering();
        cluster.wait_voters(3);
    }
    let acknowledged = writer.stop();
    assert_kept(&cluster, &acknowledged, &[1, 2, 3]);
    cluster.wait_ready();
    wait_web(&cluster, 4);
    assert_eq!(before, pods(&cluster, 1), "no pod was touched");
}

#[test]
fn a_killed_follower_disturbs_nobody() {
    let mut cluster = Cluster::start(3, 0);
    let leader = cluster.leader();
    let follower = (1..=3).find(|n| *n != leader).expect("there are three");
    let writer = Writer::start(&cluster, &[leader], "note");
    writer.wait_more(20, &cluster);
    cluster.node_mut(follower).kill();
    writer.wait_more(20, &cluster);
    assert_eq!(cluster.leader(), leader, "the leader goes on");
    cluster.node_mut(follower).launch();
    cluster.node_mut(follower).wait_answering();
    let acknowledged = writer.stop();
    assert_kept(&cluster, &acknowledged, &[1, 2, 3]);
}

#[test]
fn all_servers_killed_at_once_come_back_with_everything() {
    let mut cluster = Cluster::start(3, 0);
    cluster.node(1).apply(&web(3));
    wait_web(&cluster, 3);
    let before = pods(&cluster, 1);
    let writer = Writer::start(&cluster, &[1, 2, 3], "note");
    writer.wait_more(30, &cluster);
    for number in 1..=3 {
        cluster.node_mut(number).kill();
    }
    for number in 1..=3 {
        cluster.node_mut(number).launch();
    }
    writer.wait_more(10, &cluster);
    let acknowledged = writer.stop();
    for number in 1..=3 {
        cluster.node_mut(number).wait_answering();
    }
    assert_kept(&cluster, &acknowledged, &[1, 2, 3]);
    cluster.wait_ready();
    wait_web(&cluster, 3);
    assert_eq!(before, pods(&cluster, 1), "no pod was touched");
}

#[test]
fn a_rolling_restart_goes_unnoticed() {
    let mut cluster = Cluster::start(3, 1);
    cluster.node(1).apply(&web(4));
    wait_web(&cluster, 4);
    let before = pods(&cluster, 1);
    let writer = Writer::start(&cluster, &[1, 2, 3], "note");
    for number in 1..=4 {
        assert!(cluster.node_mut(number).terminate().success());
        writer.wait_more(5, &cluster);
        cluster.node_mut(number).launch();
        if number < 4 {
            cluster.node_mut(number).wait_answering();
            cluster.wait_voters(3);
        }
    }
    let acknowledged = writer.stop();
    assert_kept(&cluster, &acknowledged, &[1, 2, 3]);
    cluster.wait_ready();
    wait_web(&cluster, 4);
    assert_eq!(before, pods(&cluster, 1), "no pod was touched");
}
