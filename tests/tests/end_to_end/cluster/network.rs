//! Pods of different nodes.

use super::{LIMIT, wait_web, web};
use kabuki_tests::harness::{Cluster, Daemon, busybox_archive, until};

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
                let mut ping = node.host().command("busybox");
                ping.args(["ping", "-c", "1", "-W", "1", pod[2]]);
                ping.output()
                    .is_ok_and(|o| o.status.success())
                    .then_some(())
            });
        }
    }
}

/// A little, and as much as takes some seconds.
const LITTLE: usize = 64 << 20;
const MUCH: usize = 512 << 20;

fn pod(name: &str, node: &str, script: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  nodeName: {node}\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - name: {name}\n    image: \
         busybox\n    imagePullPolicy: Never\n    command: [sh, -c, '{script}']\n"
    )
}

/// What the node's only interface of a kind has received, in bytes.
fn received(node: &Daemon, kind: &str) -> usize {
    let shown = node
        .host()
        .run("ip", &["-s", "-j", "link", "show", "type", kind]);
    let links: serde_json::Value = serde_json::from_str(&shown).expect("ip writes JSON");
    let received = links[0]["stats64"]["rx"]["bytes"].as_u64();
    usize::try_from(received.expect("it is counted")).expect("it fits")
}

/// Over VXLAN, what is established does not go over the bridges; neither way nor connection is lost
/// when a daemon is killed and comes back.
#[test]
fn established_connections_take_the_short_way_and_outlive_daemons() {
    let vxlan = ["--network", "vxlan"];
    let mut cluster = Cluster::found_with(&vxlan);
    let token = cluster.token(&["--role", "any"]);
    cluster.add(&[&["--join", "10.77.0.1", "--token", &token][..], &vxlan].concat());
    cluster.wait_ready();
    let images = tempfile::tempdir().expect("a directory");
    let archive = busybox_archive(images.path());
    let archive = archive.to_str().expect("a path");
    for node in ["n1", "n2"] {
        let load = ["image", "load", archive, "--node", node];
        cluster.node(1).ok(&load);
    }
    let serve = |bytes: usize, port: usize| {
        format!("while :; do nc -l -p {port} -e head -c {bytes} /dev/zero; done")
    };
    let both = format!("{} & {}", serve(LITTLE, 9000), serve(MUCH, 9001));
    cluster.node(1).apply(&pod("source", "n2", &both));
    cluster.node(1).apply(&pod("sink", "n1", "sleep 1000"));
    for name in ["pod/source", "pod/sink"] {
        cluster.wait_value(name, "{.status.phase}", "Running");
    }
    let source = cluster.node(1).value("pod/source", "{.status.podIP}");
    // The client's direction stays open: of one that is half closed nothing takes the short way.
    let fetch = |port: usize| {
        format!("[ -p /tmp/open ] || mkfifo /tmp/open; nc {source} {port} <>/tmp/open | wc -c")
    };
    let sink = |node: &Daemon, port: usize| {
        let got = node.ok(&["exec", "sink", "--", "sh", "-c", &fetch(port)]);
        got.trim().parse::<usize>().expect("wc prints a number")
    };
    let is_short = |cluster: &Cluster| {
        let before = [1, 2].map(|n| received(cluster.node(n), "bridge"));
        until("the source listens", LIMIT, || {
            (sink(cluster.node(1), 9000) == LITTLE).then_some(())
        });
        let after = [1, 2].map(|n| received(cluster.node(n), "bridge"));
        let part = |n: usize| (after[n] - before[n]) as f64 / LITTLE as f64;
        let short = part(0) < 0.1 && part(1) < 0.1;
        let known = std::env::var_os("KABUKI_WITHOUT_BPF").is_some();
        assert!(short || known, "{} {}", part(0), part(1));
    };
    is_short(&cluster);
    let mut command = cluster
        .node(1)
        .command(&["exec", "sink", "--", "sh", "-c", &fetch(9001)]);
    let before = received(cluster.node(1), "vxlan");
    let fetching = std::thread::spawn(move || command.output());
    until("much is on its way", LIMIT, || {
        (received(cluster.node(1), "vxlan") > before + LITTLE / 2).then_some(())
    });
    cluster.node_mut(2).restart();
    let fetched = fetching.join().expect("the thread ends").expect("it ran");
    let text = String::from_utf8_lossy(&fetched.stdout);
    assert_eq!(text.trim(), MUCH.to_string(), "{fetched:?}");
    cluster.wait_ready();
    is_short(&cluster);
}
