//! Clusters that lost more than consensus can bear.

use super::{LIMIT, Writer, assert_kept, pods, wait_web, web};
use kabuki_tests::harness::{Cluster, Daemon, Network, address, until};

#[test]
fn a_backup_makes_the_cluster_anew_when_everything_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("backup").display().to_string();
    {
        let cluster = Cluster::start(3, 0);
        cluster.node(1).apply(&web(2));
        wait_web(&cluster, 2);
        let make = ["create", "secret", "generic", "key", "--from-literal=a=b"];
        cluster.node(2).ok(&make);
        let said = cluster.node(3).ok(&["backup", &file]);
        assert!(said.contains("objects at revision"), "{said}");
    }
    let network = Network::new();
    let mut fresh = Daemon::unstarted(network.host(9));
    fresh.set_name("fresh");
    fresh.listen_to_all();
    let at = format!("{}:6443", address(9));
    let args = [
        "restore",
        &file,
        "--yes",
        "--name",
        "fresh",
        "--address",
        &at,
    ];
    fresh.ok(&args);
    fresh.launch();
    fresh.wait_answering();
    assert_eq!(fresh.value("secret/key", "{.data.a}"), "Yg==");
    // The servers of the backup are no members any more: their pods are made anew elsewhere.
    let members = fresh.ok(&["get", "nodes", "-o", "name"]);
    assert_eq!(members.trim(), "node/fresh");
    let on = "{range .items[*]}{.spec.nodeName}={.status.phase} {end}";
    let on = format!("jsonpath={on}");
    let mut last = String::new();
    let all = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("the pods run on the new machine", LIMIT, || {
            last = fresh.ok(&["get", "pods", "-l", "app=web", "-o", &on]);
            (last.trim() == "fresh=Running fresh=Running").then_some(())
        });
    }));
    let told = || {
        let said = |args: &[&str]| fresh.ok(args);
        let pods = said(&["get", "pods,nodes", "-o", "yaml"]);
        format!(
            "{pods}\n{}\n{}",
            said(&["get", "events"]),
            said(&["actors"])
        )
    };
    assert!(all.is_ok(), "{last}\n{}\n{}", told(), fresh.log());
}

#[test]
fn the_last_of_three_servers_is_forced_to_go_on_with_everything_it_has() {
    let mut cluster = Cluster::start(3, 1);
    cluster.node(1).apply(&web(4));
    wait_web(&cluster, 4);
    let writer = Writer::start(&cluster, &[1, 2, 3], "note");
    writer.wait_more(20, &cluster);
    let acknowledged = writer.stop();
    let survivor = cluster.leader();
    let before = pods(&cluster, survivor);
    let gone: Vec<usize> = (1..=3).filter(|n| *n != survivor).collect();
    for number in &gone {
        cluster.node_mut(*number).lose_everything();
    }
    let node = cluster.node_mut(survivor);
    let told = node.refused(&["recover", "--force-new-cluster", "--yes"]);
    assert!(told.contains("stop it first"), "{told}");
    node.kill();
    node.ok(&["recover", "--force-new-cluster", "--yes"]);
    node.launch();
    node.wait_answering();
    assert_kept(&cluster, &acknowledged, &[survivor]);
    let members = cluster.members().expect("the survivor answers");
    let names: Vec<&str> = members.iter().map(|m| m.0.as_str()).collect();
    let left = [&*format!("n{survivor}"), "n4"];
    assert_eq!(names, left, "the lost servers are no members any more");
    // What ran on nodes that are still there was not touched.
    let after = |name: &str| pods(&cluster, survivor).get(name).cloned();
    for (name, pod) in &before {
        if !gone.iter().any(|n| pod.0 == format!("n{n}")) {
            assert_eq!(after(name).as_ref(), Some(pod), "{name}");
        }
    }
    wait_web(&cluster, 4);
    let token = cluster.token_at(survivor, &["--role", "server"]);
    let at = address(survivor);
    for number in &gone {
        let node = cluster.node_mut(*number);
        node.set_arguments(&["--join", &at, "--token", &token]);
        node.launch();
    }
    cluster.wait_voters(3);
    cluster.wait_ready();
    for number in &gone {
        cluster.node_mut(*number).wait_answering();
    }
    assert_kept(&cluster, &acknowledged, &[1, 2, 3]);
}
