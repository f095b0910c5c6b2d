//! What survives the death of the daemon.

use kabuki_tests::harness::{Daemon, busybox_archive};

fn counter(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
         containers:\n  - name: main\n    image: busybox\n    imagePullPolicy: IfNotPresent\n    \
         command: [sh, -c, 'i=0; while true; do echo $i; i=$((i+1)); sleep 0.1; done']\n"
    )
}

#[test]
fn containers_outlive_the_daemon_and_are_adopted() {
    let mut node = Daemon::start();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    node.apply(&counter("steady"));
    node.ok(&["wait", "--for=condition=Ready", "pod/steady", "--timeout=30s"]);
    let started = "{.status.containerStatuses[0].state.running.startedAt}";
    let id = "{.status.containerStatuses[0].containerID}";
    let before = (node.value("pod/steady", started), node.value("pod/steady", id));
    for _ in 0..5 {
        node.restart();
        let after = (node.value("pod/steady", started), node.value("pod/steady", id));
        assert_eq!(before, after);
        node.wait_value("pod/steady", "{.status.containerStatuses[0].restartCount}", "0");
    }
    // The log has no gap: the container wrote it on its own all the time.
    let log = node.ok(&["logs", "steady"]);
    for (expected, line) in log.lines().enumerate() {
        assert_eq!(line, expected.to_string());
    }
    assert_eq!(node.ok(&["exec", "steady", "--", "echo", "alive"]), "alive\n");
    assert!(node.terminate().success());
    node.launch();
    node.wait_answering();
    assert_eq!(node.value("pod/steady", id), before.1);
}

#[test]
fn nothing_acknowledged_is_lost_when_the_daemon_is_killed_under_writes() {
    let mut node = Daemon::start();
    let mut written = Vec::new();
    for round in 0..10 {
        for n in 0..5 {
            let name = format!("note-{round}-{n}");
            node.ok(&["create", "configmap", &name, "--from-literal=k=v"]);
            written.push(name);
        }
        node.restart();
        let held = node.ok(&["get", "configmaps", "-o", "jsonpath={.items[*].metadata.name}"]);
        let held: Vec<&str> = held.split_whitespace().collect();
        for name in &written {
            assert!(held.contains(&name.as_str()), "{name} was acknowledged and is lost");
        }
    }
}
