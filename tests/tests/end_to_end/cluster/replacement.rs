//! Machines that lose their disk, and nodes that are removed.

use super::{LIMIT, Writer, assert_kept};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kabuki_tests::harness::{Cluster, Daemon, address, until};
use serde_json::json;

#[test]
fn a_server_that_lost_its_disk_comes_back_only_as_a_new_one() {
    let mut cluster = Cluster::start(3, 0);
    let leader = cluster.leader();
    let lost = leader % 3 + 1;
    let name = format!("n{lost}");
    let writer = Writer::start(&cluster, &[leader], "note");
    writer.wait_more(10, &cluster);
    cluster.node_mut(lost).lose_everything();
    writer.wait_more(10, &cluster);
    // The name is still that of the lost server, whose votes this machine knows nothing of.
    let token = cluster.token_at(leader, &["--role", "server"]);
    let at = address(leader);
    let node = cluster.node_mut(lost);
    node.set_arguments(&["--join", &at, "--token", &token]);
    node.launch();
    let ended = until("the node gives up", LIMIT, || node.ended());
    assert!(!ended.success());
    let expected = format!("there is a node named \"{name}\" already");
    assert!(node.log().contains(&expected), "{}", node.log());
    assert!(node.log().contains("kabuki delete node"), "{}", node.log());
    node.kill();
    cluster.node(leader).ok(&["delete", "node", &name]);
    cluster.wait_voters(1);
    writer.wait_more(10, &cluster);
    cluster.node_mut(lost).launch();
    cluster.wait_voters(3);
    cluster.node_mut(lost).wait_answering();
    cluster.wait_ready();
    let acknowledged = writer.stop();
    assert_kept(&cluster, &acknowledged, &[1, 2, 3]);
}

/// A kubeconfig of the node's own certificate, for a server at `at`.
fn kubeconfig_of(node: &Daemon, at: usize) -> std::path::PathBuf {
    let read = |file: &str| {
        let path = node.data_dir().join("pki").join(file);
        STANDARD.encode(std::fs::read(path).expect("a file of the node"))
    };
    let server = format!("https://{}:6443", address(at));
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {
            "server": server, "certificate-authority-data": read("ca.crt"),
        }}],
        "users": [{"name": "u", "user": {
            "client-certificate-data": read("node.crt"), "client-key-data": read("node.key"),
        }}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    let path = node.data_dir().join("own.kubeconfig");
    std::fs::write(&path, config.to_string()).expect("a kubeconfig");
    path
}

#[test]
fn the_certificate_of_a_removed_worker_is_refused() {
    let mut cluster = Cluster::start(1, 1);
    let config = kubeconfig_of(cluster.node(2), 1).display().to_string();
    let args = ["get", "nodes", "--kubeconfig", &config];
    cluster.node(2).ok(&args);
    cluster.node(1).ok(&["delete", "node", "n2"]);
    let told = until("the certificate is refused", LIMIT, || {
        let outcome = cluster.node(2).cli(&args);
        (outcome.code != 0).then_some(outcome.err)
    });
    let why = "node \"n2\" is not a member of the cluster, or was removed from it";
    assert!(told.contains(why), "{told}");
    // Nor does it come back when it is started again, and it says so.
    cluster.node_mut(2).kill();
    cluster.node_mut(2).set_arguments(&[]);
    let before = cluster.node(2).log().len();
    cluster.node_mut(2).launch();
    until("it says why it has no session", LIMIT, || {
        let log = cluster.node(2).log();
        let said = log[before..].contains("is not a member of the cluster, or was removed");
        said.then_some(())
    });
    assert!(cluster.node(2).refused(&args).contains(why));
    assert_eq!(cluster.value("node/n2", "{.metadata.name}"), None);
    assert_eq!(cluster.members().map(|m| m.len()), Some(1));
}
