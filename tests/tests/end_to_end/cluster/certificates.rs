//! Another CA for a cluster that goes on all the while.

use super::{LIMIT, Writer, assert_kept, pods, wait_web, web};
use kabuki_tests::harness::{Cluster, address, until};

/// Waits until every member has followed the last step.
fn wait_followed(cluster: &Cluster, phase: &str) {
    let mut last = String::new();
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("every member follows", LIMIT, || {
            let outcome = cluster.node(1).cli(&["ca", "status", "-o", "json"]);
            last = outcome.out + &outcome.err;
            let status: serde_json::Value = serde_json::from_str(&last).ok()?;
            let now = &status["items"][0];
            let all = now["waiting"].as_array()?.is_empty();
            (all && now["phase"] == phase).then_some(())
        });
    }));
    assert!(seen.is_ok(), "{phase}: {last}\n{}", cluster.logs());
}

#[test]
fn the_ca_is_changed_while_everything_goes_on() {
    let mut cluster = Cluster::start(1, 1);
    cluster.node(1).apply(&web(2));
    wait_web(&cluster, 2);
    let before = pods(&cluster, 1);
    let old_token = cluster.token(&["--role", "worker"]);
    let kubeconfig = cluster.node(1).data_dir().join("admin.kubeconfig");
    let read = || std::fs::read_to_string(&kubeconfig).expect("a kubeconfig");
    let first = read();
    let writer = Writer::start(&cluster, &[1], "note");
    writer.wait_more(5, &cluster);

    cluster.node(1).ok(&["ca", "rotate"]);
    wait_followed(&cluster, "begun");
    until("the kubeconfig trusts both", LIMIT, || {
        (read() != first).then_some(())
    });
    let both = read();
    let kept = cluster.node(1).data_dir().join("both.kubeconfig");
    std::fs::write(&kept, &both).expect("a copy");
    let kept = kept.display().to_string();
    let with_both = ["get", "nodes", "--kubeconfig", &kept];
    cluster.node(1).ok(&with_both);

    cluster.node(1).ok(&["ca", "rotate"]);
    wait_followed(&cluster, "signing");
    until("the kubeconfig is of the new CA", LIMIT, || {
        (read() != both).then_some(())
    });
    let signing = read();
    // What was fetched after the first step is good until the last.
    cluster.node(1).ok(&with_both);

    cluster.node(1).ok(&["ca", "rotate"]);
    wait_followed(&cluster, "steady");
    until("the kubeconfig trusts the new CA alone", LIMIT, || {
        (read() != signing).then_some(())
    });
    until("the old certificate is refused", LIMIT, || {
        (cluster.node(1).cli(&with_both).code != 0).then_some(())
    });

    writer.wait_more(5, &cluster);
    let acknowledged = writer.stop();
    assert_kept(&cluster, &acknowledged, &[1]);
    cluster.wait_ready();
    assert_eq!(before, pods(&cluster, 1), "no pod was touched");
    // The worker finds back by what it has now, and a newcomer needs a new token.
    assert!(cluster.node_mut(2).terminate().success());
    cluster.node_mut(2).set_arguments(&[]);
    cluster.node_mut(2).launch();
    cluster.wait_ready();
    let refused = cluster.add(&["--join", &address(1), "--token", &old_token]);
    let ended = until("the node gives up", LIMIT, || {
        cluster.node_mut(refused).ended()
    });
    assert!(!ended.success());
    let token = cluster.token(&["--role", "worker"]);
    let node = cluster.node_mut(refused);
    node.set_arguments(&["--join", &address(1), "--token", &token]);
    node.launch();
    cluster.wait_ready();
}

#[test]
fn a_change_of_the_ca_survives_the_loss_of_every_leader_on_its_way() {
    let mut cluster = Cluster::start(3, 1);
    cluster.node(1).apply(&web(4));
    wait_web(&cluster, 4);
    let before = pods(&cluster, 1);
    let writer = Writer::start(&cluster, &[1, 2, 3], "note");
    writer.wait_more(5, &cluster);
    for phase in ["begun", "signing", "steady"] {
        cluster.node(1).ok(&["ca", "rotate"]);
        // Nobody waits for the step to be followed: the next leader has to see it through.
        let leader = cluster.leader();
        cluster.node_mut(leader).kill();
        writer.wait_more(5, &cluster);
        cluster.node_mut(leader).launch();
        cluster.node_mut(leader).wait_answering();
        cluster.wait_voters(3);
        wait_followed(&cluster, phase);
    }
    let acknowledged = writer.stop();
    assert_kept(&cluster, &acknowledged, &[1, 2, 3]);
    cluster.wait_ready();
    wait_web(&cluster, 4);
    assert_eq!(before, pods(&cluster, 1), "no pod was touched");
    // All of them find back by what they have now.
    for number in 1..=4 {
        assert!(cluster.node_mut(number).terminate().success());
        cluster.node_mut(number).launch();
    }
    for number in 1..=3 {
        cluster.node_mut(number).wait_answering();
    }
    cluster.wait_ready();
}
