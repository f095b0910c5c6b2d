//! Pods of different nodes.

use super::{LIMIT, wait_web, web};
use kabuki_tests::harness::{Cluster, until};

#[test]
fn every_pod_reaches_every_pod_and_every_node() {
    let cluster = Cluster::start(1, 2);
    cluster.node(1).apply(&web(3));
    wait_web(&cluster, 3);
    let path = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName} \
                {.status.podIP}{\"\\n\"}{end}";
    let shown = cluster.node(1).ok(&["get", "pods", "-o", path]);
    let pods: Vec<Vec<&str>> = shown
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let nodes: std::collections::BTreeSet<&str> = pods.iter().map(|p| p[1]).collect();
    assert_eq!(nodes.len(), 3, "{shown}");
    for node in &cluster.nodes {
        for pod in &pods {
            until("a node reaches a pod", LIMIT, || {
                let mut ping = node.host().command("ping");
                ping.args(["-c", "1", "-W", "1", pod[2]]);
                ping.output()
                    .is_ok_and(|o| o.status.success())
                    .then_some(())
            });
        }
    }
}
