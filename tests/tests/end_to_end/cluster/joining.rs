//! Nodes that come and go.

use super::{LIMIT, Writer, assert_kept, pods, wait_web, web};
use kabuki_tests::harness::{Cluster, Daemon, Network, address, until};

#[test]
fn servers_get_votes_in_odd_numbers_and_pods_spread() {
    let mut cluster = Cluster::start(2, 0);
    let token = cluster.token(&["--role", "any"]);
    let join = ["--join", &address(2), "--token", &token];
    // Through a follower, which is not yet a voter.
    cluster.add(&[&join[..], &["--role", "server"]].concat());
    cluster.add(&[&join[..], &["--role", "worker"]].concat());
    cluster.wait_ready();
    cluster.wait_voters(3);
    cluster.node(3).apply(&web(8));
    wait_web(&cluster, 8);
    let nodes: std::collections::BTreeSet<String> =
        pods(&cluster, 2).into_values().map(|(n, _, _)| n).collect();
    assert_eq!(nodes.len(), 4, "every node has pods: {nodes:?}");
    let shown = cluster.node(2).ok(&["members"]);
    for name in ["n1", "n2", "n3", "n4", "leader", "voter", "worker"] {
        assert!(shown.contains(name), "{name} in\n{shown}");
    }
    // Every node's actors, through any server.
    for name in ["n1", "n4"] {
        let tree = cluster.node(3).ok(&["actors", "--node", name]);
        assert!(tree.contains("agent"), "{tree}");
    }
}

#[test]
fn a_machine_that_may_not_join_is_told_why() {
    let mut cluster = Cluster::found();
    let refused = |cluster: &mut Cluster, arguments: &[&str], expected: &str| {
        let number = cluster.add(arguments);
        let ended = until("the node gives up", LIMIT, || {
            cluster.node_mut(number).ended()
        });
        assert!(!ended.success());
        let log = cluster.node(number).log();
        assert!(log.contains(expected), "{expected:?} in\n{log}");
    };
    let token = cluster.token(&["--one-time"]);
    let at = address(1);
    let other = {
        let stranger = kabuki_tests::harness::Daemon::start();
        let shown = stranger.ok(&["token", "create"]);
        let token = shown.split_whitespace().find(|w| w.starts_with("K1-"));
        token.expect("a token").to_string()
    };
    refused(
        &mut cluster,
        &["--join", &at, "--token", &other],
        "not the one",
    );
    refused(
        &mut cluster,
        &["--join", &at, "--token", "K1-nonsense"],
        "--token",
    );
    refused(
        &mut cluster,
        &["--join", "10.77.0.99", "--token", &token],
        "10.77.0.99",
    );
    refused(
        &mut cluster,
        &[
            "--join",
            &at,
            "--token",
            &token,
            "--version-skew-test",
            "distant",
        ],
        "versions",
    );
    let fine = cluster.add(&["--join", &at, "--token", &token, "--role", "worker"]);
    let ready = r#"{.status.conditions[?(@.type=="Ready")].status}"#;
    cluster.wait_value(&format!("node/n{fine}"), ready, "True");
    refused(
        &mut cluster,
        &["--join", &at, "--token", &token],
        "has been used",
    );
    let gone = cluster.token(&[]);
    let id = gone.split('-').nth(1).expect("the token's id").to_string();
    cluster.node(1).ok(&["token", "delete", &id]);
    refused(
        &mut cluster,
        &["--join", &at, "--token", &gone],
        "not known to the cluster",
    );
}

#[test]
fn a_server_that_is_removed_loses_its_vote_and_is_replaced() {
    let mut cluster = Cluster::start(3, 0);
    let leader = cluster.leader();
    let removed = (1..=3).find(|n| *n != leader).expect("there are three");
    cluster
        .node(leader)
        .ok(&["delete", "node", &format!("n{removed}")]);
    cluster.wait_voters(1);
    cluster.node_mut(removed).kill();
    let token = cluster.token_at(leader, &["--role", "server"]);
    cluster.add(&["--join", &address(leader), "--token", &token]);
    cluster.wait_voters(3);
}

#[test]
fn a_token_alone_finds_the_cluster_of_the_network() {
    let mut cluster = Cluster::found();
    let token = cluster.token(&["--role", "any"]);
    cluster.add(&["--token", &token, "--role", "server"]);
    cluster.add(&["--token", &token, "--role", "worker"]);
    cluster.wait_ready();
    let members = cluster.members().expect("a server answers");
    assert_eq!(members.len(), 3, "one cluster: {members:?}");
}

#[test]
fn a_node_that_finds_no_cluster_keeps_looking_and_founds_none() {
    let stranger = Daemon::start();
    let shown = stranger.ok(&["token", "create", "--role", "any"]);
    let token = shown.split_whitespace().find(|w| w.starts_with("K1-"));
    let token = token.expect("a token");
    let network = Network::new();
    let seekers = [1, 2].map(|number| {
        let mut node = Daemon::unstarted(network.host(number));
        node.set_name(&format!("n{number}"));
        node.listen_to_all();
        node.set_arguments(&["--token", token]);
        node.launch();
        node
    });
    for mut node in seekers {
        until("it says that it still looks", LIMIT, || {
            node.log().contains("still looking").then_some(())
        });
        assert_eq!(node.ended(), None, "it goes on looking");
        for founded in [
            "member.json",
            "founding.json",
            "pki/ca.key",
            "admin.kubeconfig",
            "state",
        ] {
            let path = node.data_dir().join(founded);
            assert!(!path.exists(), "{founded} is there\n{}", node.log());
        }
        assert!(node.terminate().success(), "{}", node.log());
    }
}

#[test]
fn a_machine_joins_through_the_port_of_a_worker() {
    let mut cluster = Cluster::start(1, 1);
    let token = cluster.token(&["--role", "worker"]);
    cluster.add(&["--join", &address(2), "--token", &token]);
    cluster.wait_ready();
    let log = cluster.node(3).log();
    assert!(log.contains("joined the cluster"), "{log}");
    assert_eq!(cluster.members().map(|m| m.len()), Some(3));
}

#[test]
fn five_servers_are_five_voters_which_survive_two() {
    let mut cluster = Cluster::start(5, 0);
    let writer = Writer::start(&cluster, &[1, 2, 3, 4, 5], "note");
    writer.wait_more(10, &cluster);
    let leader = cluster.leader();
    let other = leader % 5 + 1;
    for number in [leader, other] {
        cluster.node_mut(number).kill();
    }
    writer.wait_more(10, &cluster);
    for number in [leader, other] {
        cluster.node_mut(number).launch();
    }
    for number in 1..=5 {
        cluster.node_mut(number).wait_answering();
    }
    let acknowledged = writer.stop();
    cluster.wait_voters(5);
    assert_kept(&cluster, &acknowledged, &[1, 2, 3, 4, 5]);
}
