//! A worker whose daemon starts while no server can be reached: it goes on from what it has on
//! disk, and takes up what changed once a server is back.

use super::{LIMIT, wait_web};
use kabuki_tests::harness::{Cluster, Daemon, busybox_archive, process, until};
use std::process::Command;

/// What `client` sleeps for, so that its process is found without asking any server.
fn mark() -> String {
    format!("{}", 1_000_000_000 + std::process::id())
}

const SHORT_OF_DISK: &str = "evictionHard: {}\nimageGCHighThresholdPercent: 1\n\
    imageGCLowThresholdPercent: 0\nimageMinimumGCAge: 0s\n";

/// Two pods of the demonstration on n3 behind a service, and a pod on n2 that asks for it.
fn manifest() -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      nodeSelector: {{kubernetes.io/hostname: n3}}
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: kabuki.local/demo:v1
        imagePullPolicy: Never
        ports: [{{name: http, containerPort: 8080}}]
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: http}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec:
  nodeName: n2
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "touch /tmp/live; exec sleep {mark}"]
    livenessProbe: {{periodSeconds: 1, failureThreshold: 1, exec: {{command: [cat, /tmp/live]}}}}
"#,
        mark = mark()
    )
}

/// The process of the pod `client`.
fn client() -> Option<u32> {
    process(&["sleep", &mark()])
}

/// What a command in the pod `client` prints when it succeeds. No server is there to be asked for
/// a stream, so its namespaces are entered.
fn inside(script: &str) -> Option<String> {
    let pid = client()?.to_string();
    let output = Command::new("nsenter")
        .args([
            "-t",
            &pid,
            "-n",
            "-m",
            "--",
            "/bin/busybox",
            "sh",
            "-c",
            script,
        ])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

/// Whether the pod finds the service by its name and is answered by one of its pods.
fn serves() -> bool {
    inside("/bin/busybox timeout 5 /bin/busybox wget -q -O - http://web.default.svc.cluster.local/")
        .is_some_and(|text| text.contains("pod web-"))
}

fn logged(node: &Daemon, before: usize) -> String {
    node.log().get(before..).unwrap_or_default().to_string()
}

#[test]
fn a_worker_that_starts_without_any_server_serves_names_services_and_its_pods() {
    let mut cluster = Cluster::start(1, 2);
    let archive = busybox_archive(cluster.node(2).data_dir());
    let archive = archive.to_str().expect("a path");
    cluster
        .node(1)
        .ok(&["image", "load", archive, "--node", "n2"]);
    cluster.node(1).apply(&manifest());
    wait_web(&cluster, 2);
    cluster.wait_value("pod/client", "{.status.phase}", "Running");
    until("the pod reaches the service", LIMIT, || {
        serves().then_some(())
    });
    // What is on disk is a moment behind: what came before this service is there with it.
    cluster.node(1).apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: newest-of-all}\nspec: {ports: [{port: 1}]}\n",
    );
    let copies = ["services", "known-pods"].map(|f| cluster.node(2).data_dir().join(f));
    until("the worker has its copies", LIMIT, || {
        let text = |p| std::fs::read(p).map(|b| String::from_utf8_lossy(&b).into_owned());
        let (services, pods) = (text(&copies[0]).ok()?, text(&copies[1]).ok()?);
        (services.contains("newest-of-all") && pods.contains("client")).then_some(())
    });
    cluster.node_mut(1).kill();
    cluster.node_mut(2).kill();
    let before = cluster.node(2).log().len();
    // It is short of disk, too: what its containers run from is not taken for unused.
    let file = cluster.node(2).data_dir().join("node.yaml");
    std::fs::write(&file, SHORT_OF_DISK).expect("a file");
    let file = file.to_str().expect("a path").to_string();
    cluster.node_mut(2).set_arguments(&["--config", &file]);
    cluster.node_mut(2).launch();
    // The name server went with the daemon, so an answer is the new one's.
    until("the worker serves names and services", LIMIT, || {
        serves().then_some(())
    });
    // It adopted its pod, too: what fails its probe is started again, with nobody to tell.
    let first = client().expect("the pod runs");
    inside("/bin/busybox rm /tmp/live").expect("the file is removed");
    until("the pod's container is started again", LIMIT, || {
        client().filter(|pid| *pid != first)
    });
    until("the new container is served, too", LIMIT, || {
        serves().then_some(())
    });
    let log = logged(cluster.node(2), before);
    assert!(log.contains("ready"), "{log}");
    // A server is back: changes flow in both directions.
    cluster.node_mut(1).launch();
    cluster.node_mut(1).wait_answering();
    cluster.wait_ready();
    let restarts = "{.status.containerStatuses[0].restartCount}";
    cluster.wait_value("pod/client", restarts, "1");
    cluster.node(1).apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: later}\nspec:\n  selector: {app: web}\n  \
         ports: [{port: 80, targetPort: http}]\n",
    );
    until("a new service is served", LIMIT, || {
        inside("/bin/busybox timeout 5 /bin/busybox wget -q -O - http://later.default.svc.cluster.local/").map(drop)
    });
    cluster.node(1).ok(&["delete", "pod", "client"]);
    until("the pod is gone", LIMIT, || {
        client().is_none().then_some(())
    });
}
