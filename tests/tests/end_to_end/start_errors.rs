//! Containers whose program cannot be started: what is told of them, and what their pods come to.

use super::pod::node_with_busybox;
use kabuki_tests::harness::{Daemon, until};
use serde_json::{Value, json};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const WHY: &str = "cannot run container main: exec \"no-such-program\": executable file not found \
                   in $PATH";

fn container(name: &str, command: &str) -> Value {
    json!({"name": name, "image": "busybox", "imagePullPolicy": "IfNotPresent",
        "command": [command]})
}

fn apply(node: &Daemon, name: &str, policy: &str, spec: Value) {
    let mut spec = spec;
    spec["restartPolicy"] = policy.into();
    spec["terminationGracePeriodSeconds"] = 0.into();
    if spec["containers"].is_null() {
        spec["containers"] = json!([container("main", "no-such-program")]);
    }
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
    node.apply(&pod.to_string());
}

fn of(field: &str) -> String {
    format!("{{.status.containerStatuses[0].{field}}}")
}

#[test]
fn a_program_that_is_not_there_backs_off_like_one_that_crashes() {
    let node = node_with_busybox();
    apply(&node, "lost", "Always", json!({}));
    node.wait_value("pod/lost", &of("state.waiting.reason"), "CrashLoopBackOff");
    let value = |field: &str| node.value("pod/lost", &of(field));
    let message = value("state.waiting.message");
    let backs_off = "back-off 10s restarting failed container=main pod=lost_default(";
    assert!(message.starts_with(backs_off), "{message}");
    assert_eq!(value("restartCount"), "1");
    for (field, expected) in [
        ("exitCode", "128"),
        ("reason", "StartError"),
        ("message", WHY),
        ("startedAt", "1970-01-01T00:00:00Z"),
    ] {
        assert_eq!(value(&format!("lastState.terminated.{field}")), expected);
    }
    let id = value("lastState.terminated.containerID");
    assert_eq!(id, value("containerID"));
    assert!(id.starts_with("kabuki://"), "{id}");
    let ended = value("lastState.terminated.finishedAt");
    assert!(ended.as_str() > "2020", "{ended}");
    assert_eq!(node.value("pod/lost", "{.status.phase}"), "Running");
    let row = node.ok(&["get", "pod", "lost", "--no-headers"]);
    let columns: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(columns[..4], ["lost", "0/1", "CrashLoopBackOff", "1"]);
    let told = until("the events are there", LIMIT, || {
        let told = node.ok(&["describe", "pod", "lost"]);
        let back_off = "Back-off restarting failed container main in pod lost_default(";
        (told.contains(&format!("Error: {WHY}")) && told.contains(back_off)).then_some(told)
    });
    for line in [
        "Reason:       CrashLoopBackOff",
        "Last State:     Terminated",
        "Reason:       StartError",
        "Exit Code:    128",
        "Started:      Thu, 01 Jan 1970 00:00:00 +0000",
        "Restart Count:  1",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    // The next attempt is counted, and the one after it waits twice as long.
    node.wait_value("pod/lost", &of("restartCount"), "2");
    until("it waits longer", LIMIT, || {
        value("state.waiting.message")
            .starts_with("back-off 20s ")
            .then_some(())
    });
}

#[test]
fn a_pod_that_never_restarts_fails_with_what_cannot_be_started() {
    let node = node_with_busybox();
    let main = |changes: Value| {
        let mut main = container("main", "sleep");
        for (key, value) in changes.as_object().expect("an object") {
            main[key] = value.clone();
        }
        json!({"containers": [main]})
    };
    let missing = json!({"command": ["no-such-program"]});
    apply(&node, "missing", "Never", main(missing.clone()));
    apply(&node, "folder", "Never", main(json!({"command": ["/etc"]})));
    apply(
        &node,
        "place",
        "Never",
        main(json!({"workingDir": "/bin/busybox"})),
    );
    let once = main(json!({"restartPolicy": "Never", "command": ["no-such-program"]}));
    apply(&node, "once", "Always", once);
    for (name, why) in [
        ("missing", WHY),
        ("folder", "exec \"/etc\": is a directory"),
        ("place", "working directory \"/bin/busybox\""),
        ("once", WHY),
    ] {
        let object = format!("pod/{name}");
        node.wait_value(&object, "{.status.phase}", "Failed");
        let ended = ["exitCode", "reason", "startedAt"]
            .map(|field| node.value(&object, &of(&format!("state.terminated.{field}"))));
        assert_eq!(
            ended,
            ["128", "StartError", "1970-01-01T00:00:00Z"],
            "{name}"
        );
        let message = node.value(&object, &of("state.terminated.message"));
        assert!(message.contains(why), "{name}: {message}");
        assert_eq!(node.value(&object, &of("restartCount")), "0", "{name}");
        let row = node.ok(&["get", "pod", name, "--no-headers"]);
        assert_eq!(row.split_whitespace().nth(2), Some("StartError"), "{row}");
    }
    // Of an init container, the pod waits for nothing else.
    let spec = json!({"initContainers": [container("first", "no-such-program")],
        "containers": [container("main", "sleep")]});
    apply(&node, "begins", "Never", spec);
    node.wait_value("pod/begins", "{.status.phase}", "Failed");
    let first = "{.status.initContainerStatuses[0].state.terminated.reason}";
    assert_eq!(node.value("pod/begins", first), "StartError");
    let row = node.ok(&["get", "pod", "begins", "--no-headers"]);
    assert_eq!(
        row.split_whitespace().nth(2),
        Some("Init:StartError"),
        "{row}"
    );
}

#[test]
fn what_is_missing_before_there_is_a_container_is_waited_for() {
    let node = node_with_busybox();
    let mounts = |sub_path: Option<&str>| match sub_path {
        Some(path) => json!([{"name": "data", "mountPath": "/data", "subPath": path}]),
        None => json!([{"name": "data", "mountPath": "/data"}]),
    };
    let mut leads = container("leads", "ln");
    leads["args"] = json!(["-s", "/etc", "/data/out"]);
    leads["volumeMounts"] = mounts(None);
    let mut main = container("main", "sleep");
    main["volumeMounts"] = mounts(Some("out"));
    let spec = json!({"initContainers": [leads], "containers": [main],
        "volumes": [{"name": "data", "emptyDir": {}}]});
    apply(&node, "astray", "Never", spec);
    let reason = of("state.waiting.reason");
    node.wait_value("pod/astray", &reason, "CreateContainerConfigError");
    let message = node.value("pod/astray", &of("state.waiting.message"));
    assert!(message.contains("resolve \"out\""), "{message}");
    assert_eq!(node.value("pod/astray", "{.status.phase}"), "Pending");
    assert_eq!(node.value("pod/astray", &of("lastState")), "{}");
}
