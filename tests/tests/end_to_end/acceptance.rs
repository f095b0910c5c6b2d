//! The widest Deployment of the lessons, with each of its fields seen in the pods that run
//! (`documented` says where). What belongs to kinds that there are not yet is refused by name.

#[path = "acceptance/documented.rs"]
mod documented;
#[path = "acceptance/inside.rs"]
mod inside;

use super::pod::node_with_busybox;
use kabuki_agent::Layout;
use kabuki_tests::harness::{Daemon, Registry, busybox_archive, until};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// As it is given to those who learn.
const MANIFEST: &str = include_str!("acceptance/example-deploy.yaml");
const LIMIT: Duration = Duration::from_secs(60);

fn read() -> Value {
    serde_yaml_ng::from_str(MANIFEST).expect("YAML")
}

/// The manifest without what is refused, changed like this.
fn manifest(change: impl FnOnce(&mut Value)) -> String {
    let mut whole = read();
    let spec = whole["spec"]["template"]["spec"].as_object_mut();
    let spec = spec.expect("a spec");
    spec.remove("topologySpreadConstraints")
        .expect("it is there");
    let affinity = spec["affinity"].as_object_mut().expect("an affinity");
    for later in ["podAffinity", "podAntiAffinity"] {
        affinity.remove(later).expect("it is there");
    }
    change(&mut whole);
    whole.to_string()
}

/// With images that are on the node: `latest` without a policy is fetched every time.
fn present(whole: &mut Value) {
    whole["spec"]["template"]["spec"]["initContainers"][0]["imagePullPolicy"] =
        "IfNotPresent".into();
}

/// The objects that it names, and a node with its label.
fn prepare(node: &Daemon) {
    node.ok(&["label", "node", "--all", "disktype=ssd"]);
    for (kind, name, entry) in [
        ("configmap", "app-config", "app.json={}"),
        ("configmap", "global-config", "GLOBAL=yes"),
        ("secret", "global-secret", "HIDDEN=no"),
        ("secret", "my-secret", "key=value"),
    ] {
        let kind: &[&str] = match kind {
            "secret" => &["secret", "generic"],
            other => &[other],
        };
        let literal = format!("--from-literal={entry}");
        node.ok(&[&["create"], kind, &[name, &literal]].concat());
    }
}

fn list(node: &Daemon, path: &str) -> Vec<String> {
    let path = format!("jsonpath={{.items[*]{path}}}");
    let values = node.ok(&["get", "pods", "-l", "app=example", "-o", &path]);
    values.split_whitespace().map(str::to_string).collect()
}

fn names(node: &Daemon) -> Vec<String> {
    list(node, ".metadata.name")
}

#[test]
fn what_belongs_to_later_kinds_is_refused_by_name() {
    let node = Daemon::start();
    prepare(&node);
    let refused = node.try_apply(MANIFEST);
    assert_ne!(refused.code, 0);
    let fields = [
        "affinity.podAffinity",
        "affinity.podAntiAffinity",
        "topologySpreadConstraints",
    ];
    for field in fields {
        let name = field.rsplit('.').next().expect("a name");
        let why = format!("spec.template.spec.{field}: Forbidden: {name} is not supported");
        assert!(refused.err.contains(&why), "{why}: {refused:?}");
    }
    assert_eq!(
        refused.err.matches("Forbidden").count(),
        fields.len(),
        "{refused:?}"
    );
}

#[test]
fn the_widest_deployment_of_the_lessons_runs() {
    let node = node_with_busybox();
    prepare(&node);
    node.apply(&manifest(present));
    until("three pods run", LIMIT, || {
        let running = ".status.containerStatuses[0].state.running.startedAt";
        (list(&node, running).len() == 3).then_some(())
    });
    // Nothing is at the path that its startup probe asks for, so nobody is ready.
    for started in list(&node, ".status.containerStatuses[0].started") {
        assert_eq!(started, "false");
    }
    for name in names(&node) {
        inside::in_the_container(&node, &name);
        inside::in_the_cgroup(&node, &name);
        inside::in_the_status(&node, &name);
    }
    let done = [
        "rollout",
        "status",
        "deployment/example-deploy",
        "--timeout=60s",
    ];
    node.ok(&done);
    for name in names(&node) {
        inside::once_it_is_ready(&node, &name);
    }
    on_the_deployment(&node);
    a_taint_is_borne(&node);
    an_end_is_followed_by_a_start(&node);
    an_unhealthy_one_is_found_out(&node);
    the_end_takes_its_time(&node);
}

fn on_the_deployment(node: &Daemon) {
    let of_set = |path: &str| {
        let path = format!("jsonpath={{.items[0]{path}}}");
        node.ok(&["get", "replicasets", "-l", "app=example", "-o", &path])
    };
    assert_eq!(
        of_set(".metadata.annotations.description"),
        "full Deployment example"
    );
    let revision = ".metadata.annotations.deployment\\.kubernetes\\.io/revision";
    assert_eq!(of_set(revision), "1");
    let counts = "{.status.replicas} {.status.readyReplicas} {.status.availableReplicas}";
    assert_eq!(node.value("deployment/example-deploy", counts), "3 3 3");
    // Its port has a name.
    let named = [
        "expose",
        "deployment",
        "example-deploy",
        "--port=80",
        "--target-port=http",
    ];
    node.ok(&named);
    until("the service finds the port by its name", LIMIT, || {
        let of_service = "kubernetes.io/service-name=example-deploy";
        let port = "jsonpath={.items[0].ports[0].port}";
        let port = node.cli(&["get", "endpointslices", "-l", of_service, "-o", port]);
        (port.out == "8080").then_some(())
    });
}

fn a_taint_is_borne(node: &Daemon) {
    node.ok(&[
        "run",
        "fragile",
        "--image=busybox",
        "--image-pull-policy=IfNotPresent",
        "--",
        "sleep",
        "1000",
    ]);
    node.ok(&[
        "wait",
        "--for=condition=Ready",
        "pod/fragile",
        "--timeout=60s",
    ]);
    let before = names(node);
    node.ok(&["taint", "nodes", node.name(), "key1=any:NoExecute"]);
    until("another pod is driven away", LIMIT, || {
        let leaving = node.cli(&[
            "get",
            "pod",
            "fragile",
            "-o",
            "jsonpath={.metadata.deletionTimestamp}",
        ]);
        (leaving.code != 0 || !leaving.out.is_empty()).then_some(())
    });
    assert!(list(node, ".metadata.deletionTimestamp").is_empty());
    assert_eq!(names(node), before);
    node.ok(&["taint", "nodes", node.name(), "key1-"]);
    node.ok(&["delete", "pod", "fragile", "--ignore-not-found", "--now"]);
}

/// The process of one of its servers.
fn server(node: &Daemon) -> Option<String> {
    let own = Layout::new(node.data_dir()).cgroup;
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let mut pids = processes.filter_map(|p| p.file_name().into_string().ok());
    pids.find(|pid| {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
        let is_own = read("cgroup").is_ok_and(|text| text.contains(&own));
        is_own && read("cmdline").is_ok_and(|line| line.starts_with("httpd\0-f\0"))
    })
}

/// `restartPolicy: Always`.
fn an_end_is_followed_by_a_start(node: &Daemon) {
    let killed = Command::new("kill")
        .args(["-KILL", &server(node).expect("it runs")])
        .status();
    assert!(killed.is_ok_and(|k| k.success()));
    until("one runs again", LIMIT, || {
        let counts = list(node, ".status.containerStatuses[0].restartCount");
        counts.contains(&"1".to_string()).then_some(())
    });
    let code = ".status.containerStatuses[0].lastState.terminated.exitCode";
    assert_eq!(list(node, code), ["137"]);
}

/// Three failures in a row are one too many, and the hook before the end runs.
fn an_unhealthy_one_is_found_out(node: &Daemon) {
    let healthy = names(node).into_iter().find(|name| {
        let restarts = "{.status.containerStatuses[0].restartCount}";
        node.value(&format!("pod/{name}"), restarts) == "0"
    });
    let name = healthy.expect("only one was restarted");
    let sh = |script: &str| node.cli(&["exec", &name, "-c", "example", "--", "sh", "-c", script]);
    assert_eq!(sh("rm /www/index.html").code, 0);
    until("its hook runs", LIMIT, || {
        sh("ps").out.contains("sleep 2").then_some(())
    });
    until("it is told why", LIMIT, || {
        let told = node.ok(&["describe", "pod", &name]);
        let why = "Liveness probe failed: HTTP probe failed with statuscode: 404";
        let mut failures = told.lines().filter(|l| l.contains(why));
        let thrice = failures.next().is_some_and(|l| l.contains("(x3 over"));
        (thrice && told.contains("Container example failed liveness probe, will be restarted"))
            .then_some(())
    });
}

fn the_end_takes_its_time(node: &Daemon) {
    let name = names(node).pop().expect("a pod");
    let begun = Instant::now();
    node.ok(&["delete", "deployment", "example-deploy", "--wait=false"]);
    let grace = "{.metadata.deletionGracePeriodSeconds}";
    until("the pods are told to end", LIMIT, || {
        (node.value(&format!("pod/{name}"), grace) == "30").then_some(())
    });
    // Its server, as process 1, does not hear SIGTERM: it takes the whole time of grace.
    until("the pods are gone", Duration::from_secs(90), || {
        names(node).is_empty().then_some(())
    });
    assert!(begun.elapsed() >= Duration::from_secs(30));
}

#[test]
fn images_come_from_a_registry_that_wants_the_secret_of_the_manifest() {
    let node = Daemon::start();
    prepare(&node);
    let registry = Registry::start(node.host(), 5001, Some(("jo", "right")));
    let folder = tempfile::tempdir().expect("a folder");
    let image = registry.push(
        node.host(),
        &busybox_archive(folder.path()),
        "team/busybox:latest",
    );
    node.apply(&manifest(|whole| {
        whole["spec"]["replicas"] = 1.into();
        let spec = &mut whole["spec"]["template"]["spec"];
        spec["initContainers"][0]["image"] = image.as_str().into();
        spec["containers"][0]["image"] = image.as_str().into();
    }));
    until("the registry lets nobody in", LIMIT, || {
        let name = names(&node).pop()?;
        let told = node.ok(&["describe", "pod", &name]);
        told.contains("pull access denied").then_some(())
    });
    assert!(list(&node, ".status.initContainerStatuses[0].imageID").is_empty());
    node.ok(&[
        "create",
        "secret",
        "docker-registry",
        "myregistry-secret",
        "--docker-server=127.0.0.1:5001",
        "--docker-username=jo",
        "--docker-password=right",
    ]);
    until("the images come", LIMIT, || {
        let running = ".status.containerStatuses[0].state.running.startedAt";
        (list(&node, running).len() == 1).then_some(())
    });
    let name = names(&node).pop().expect("a pod");
    let told = node.ok(&["describe", "pod", &name]);
    // The init container says nothing of when to fetch, and `latest` is fetched always.
    assert!(
        told.contains(&format!("Successfully pulled image \"{image}\"")),
        "{told}"
    );
    let present = format!("Container image \"{image}\" already present on machine");
    assert!(told.contains(&present), "{told}");
    node.ok(&["delete", "deployment", "example-deploy", "--wait=false"]);
}

#[test]
fn a_pod_of_the_deployment_waits_for_the_label_that_it_wants() {
    let node = node_with_busybox();
    prepare(&node);
    node.ok(&["label", "node", "--all", "disktype=hdd", "--overwrite"]);
    node.apply(&manifest(present));
    until("three pods wait", LIMIT, || {
        let name = names(&node).first()?.clone();
        let path = "{.status.conditions[?(@.type==\"PodScheduled\")].message}";
        let why = node.value(&format!("pod/{name}"), path);
        why.contains("didn't match Pod's node affinity/selector")
            .then_some(())
    });
}
