//! The unmodified Kubernetes client for Python. What it does and expects is `python/client.py`.

use kabuki_tests::harness::{Daemon, busybox_archive, python};
use std::process::Stdio;

const CLIENT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/end_to_end/python/client.py"
);

const WEB: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: httpd
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [httpd, -f, -p, "8080", -h, /etc]
  - name: echo
    image: busybox
    imagePullPolicy: IfNotPresent
    stdin: true
    command: [sh, -c, 'echo begin; while read line; do echo "got $line"; done']
"#;

/// Runs one function of the script.
fn client(node: &Daemon, function: &str) {
    let mut command = node.host().command(python());
    command
        .env("KUBECONFIG", node.data_dir().join("admin.kubeconfig"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args([CLIENT, function])
        .stdin(Stdio::null());
    let output = command.output().expect("python runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{function}: {errors}");
}

#[test]
fn python_creates_changes_applies_and_deletes_objects() {
    let node = Daemon::start();
    for function in ["objects", "workloads", "applied", "discovered"] {
        client(&node, function);
        node.ok(&["delete", "configmaps", "--all"]);
    }
}

#[test]
fn python_watches_resumes_and_keeps_a_cache() {
    let node = Daemon::start();
    for function in ["watched", "informed"] {
        client(&node, function);
        node.ok(&["delete", "configmaps", "--all"]);
    }
}

#[test]
fn python_runs_commands_forwards_ports_follows_logs_and_evicts() {
    let node = Daemon::start();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    node.apply(WEB);
    node.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]);
    client(&node, "streams");
}
