//! What containers have, hear and say: the same for those of a manifest and for those that are
//! added to a running pod.

use super::pod::node_with_busybox;
use kabuki_tests::harness::{Daemon, until};
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A container by what its fields are to show.
struct Shown {
    name: &'static str,
    image: &'static str,
    script: &'static str,
    fields: Value,
}

fn shown() -> Vec<Shown> {
    let of = |name, script, fields| Shown {
        name,
        image: "busybox",
        script,
        fields,
    };
    let looks = "pwd; id -u; id -g; echo $0 $FIRST $SET_COLOUR; cat /seen/f; \
        (echo > /seen/g) 2>/dev/null || echo closed; grep CapBnd /proc/self/status; \
        echo bye > /var/words; exit 5";
    vec![
        of(
            "looks",
            looks,
            json!({
                "args": ["zero"], "workingDir": "/var/made", "imagePullPolicy": "IfNotPresent",
                "env": [{"name": "FIRST", "value": "one"}],
                "envFrom": [{"prefix": "SET_", "configMapRef": {"name": "settings"}}],
                "securityContext": {"runAsUser": 33, "runAsGroup": 55, "capabilities": {"drop": ["ALL"]}},
                "terminationMessagePath": "/var/words",
                "volumeMounts": [{"name": "shared", "mountPath": "/seen", "readOnly": true}],
            }),
        ),
        of(
            "fails",
            "echo no luck; exit 4",
            json!({"imagePullPolicy": "IfNotPresent",
                "terminationMessagePolicy": "FallbackToLogsOnError"}),
        ),
        of(
            "talks",
            "while read line; do echo got $line; done; echo end",
            json!({"imagePullPolicy": "IfNotPresent", "stdin": true, "stdinOnce": true}),
        ),
        of(
            "terminal",
            "[ -t 0 ] && [ -t 1 ] && echo a terminal",
            json!({"imagePullPolicy": "IfNotPresent", "stdin": true, "tty": true}),
        ),
        Shown {
            image: "example.com/absent:1",
            ..of("absent", "true", json!({"imagePullPolicy": "Never"}))
        },
    ]
}

/// A pod that has what the containers look at, and these containers.
fn pod(name: &str, containers: Vec<Value>) -> String {
    let mount = json!([{"name": "shared", "mountPath": "/data"}]);
    let of = |name: &str, script: &str| {
        json!({"name": name, "image": "busybox", "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", script], "volumeMounts": mount})
    };
    let mut all = vec![of("main", "exec sleep 1000")];
    all.extend(containers);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 0, "restartPolicy": "Never", "containers": all,
            "initContainers": [of("writes", "echo here > /data/f")],
            "volumes": [{"name": "shared", "emptyDir": {}}],
        },
    });
    pod.to_string()
}

fn in_the_manifest(one: &Shown) -> Value {
    let mut container = one.fields.clone();
    container["name"] = one.name.into();
    container["image"] = one.image.into();
    container["command"] = json!(["sh", "-c", one.script]);
    container
}

fn add(node: &Daemon, pod: &str, one: &Shown) {
    let file = node.data_dir().join(format!("{}.json", one.name));
    std::fs::write(&file, one.fields.to_string()).expect("written");
    let custom = format!("--custom={}", file.display());
    let image = format!("--image={}", one.image);
    let args = ["debug", pod, &image, "-c", one.name, &custom];
    node.ok(&[&args[..], &["--", "sh", "-c", one.script]].concat());
}

/// Holds what became of the containers against their fields; `list` is where their statuses are.
fn judge(node: &Daemon, pod: &str, list: &str) {
    let object = format!("pod/{pod}");
    let path = |name: &str, field: &str| {
        format!("{{.status.{list}[?(@.name==\"{name}\")].state.{field}}}")
    };
    let ends = |name: &str, code: &str| {
        node.wait_value(&object, &path(name, "terminated.exitCode"), code);
        let message = node.value(&object, &path(name, "terminated.message"));
        (message, node.ok(&["logs", pod, "-c", name]))
    };
    let said = "/var/made\n33\n55\nzero one green\nhere\nclosed\nCapBnd:\t0000000000000000\n";
    assert_eq!(ends("looks", "5"), ("bye\n".to_string(), said.to_string()));
    let words = "no luck\n".to_string();
    assert_eq!(ends("fails", "4"), (words.clone(), words));
    assert_eq!(ends("terminal", "0").1.trim_end(), "a terminal");
    node.wait_value(
        &object,
        &path("absent", "waiting.reason"),
        "ErrImageNeverPull",
    );
    // It hears what is said to it, and that this was all.
    until("it listens", LIMIT, || {
        let since = node.value(&object, &path("talks", "running.startedAt"));
        (!since.is_empty()).then_some(())
    });
    let mut attach = node.command(&["attach", "-i", pod, "-c", "talks"]);
    let attach = attach.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut attach = attach.stderr(Stdio::piped()).spawn().expect("starts");
    let mut stdin = attach.stdin.take().expect("a pipe");
    stdin.write_all(b"one\n").expect("writes");
    drop(stdin);
    let output = attach.wait_with_output().expect("ends");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(ends("talks", "0").1, "got one\nend\n");
}

#[test]
fn a_container_has_hears_and_says_what_its_fields_say() {
    let node = node_with_busybox();
    node.ok(&[
        "create",
        "configmap",
        "settings",
        "--from-literal=COLOUR=green",
    ]);
    node.apply(&pod("plain", shown().iter().map(in_the_manifest).collect()));
    judge(&node, "plain", "containerStatuses");
}

#[test]
fn a_container_that_is_added_to_a_running_pod_has_hears_and_says_the_same() {
    let node = node_with_busybox();
    node.ok(&[
        "create",
        "configmap",
        "settings",
        "--from-literal=COLOUR=green",
    ]);
    node.apply(&pod("opaque", Vec::new()));
    node.ok(&[
        "wait",
        "--for=condition=Ready",
        "pod/opaque",
        "--timeout=60s",
    ]);
    shown().iter().for_each(|one| add(&node, "opaque", one));
    judge(&node, "opaque", "ephemeralContainerStatuses");
    let main = "{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}";
    assert_eq!(node.value("pod/opaque", main), "0 true");
}

const SHOP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: busybox
        imagePullPolicy: IfNotPresent
        command: [sh, -c, '[ -n "$DATABASE" ] || { echo "fatal: DATABASE is not set"; exit 3; }; exec sleep 1000']
        env: []
"#;

/// What a person does whose pod crashes: each step tells what the next one needs.
#[test]
fn a_crash_is_found_and_mended_from_the_cli_alone() {
    let node = node_with_busybox();
    node.apply(SHOP);
    let row = until("the crashes are seen", LIMIT, || {
        let rows = node.ok(&["get", "pods", "--no-headers"]);
        rows.contains("CrashLoopBackOff").then_some(rows)
    });
    let pod = row.split_whitespace().next().expect("a name");
    assert_eq!(row.split_whitespace().nth(1), Some("0/1"), "{row}");
    let told = until("it is told that it happens again and again", LIMIT, || {
        let told = node.ok(&["events", "--for", &format!("pod/{pod}")]);
        let again = told
            .lines()
            .any(|l| l.contains("(x2 over") && l.contains("Started container web"));
        again.then_some(told)
    });
    assert!(
        told.contains("Back-off restarting failed container web"),
        "{told}"
    );
    let told = node.ok(&["describe", "pod", pod]);
    for line in [
        "State:          Waiting",
        "Reason:       CrashLoopBackOff",
        "Last State:     Terminated",
        "Exit Code:    3",
        "Type:                    Projected (a volume that contains injected data from multiple sources)",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    for which in [&["logs", pod][..], &["logs", pod, "--previous"]] {
        assert_eq!(node.ok(which), "fatal: DATABASE is not set\n");
    }
    // It ends too soon for anybody to join it: a copy does something else.
    let copy = ["debug", pod, "--copy-to=look", "--container=web"];
    node.ok(&[&copy[..], &["--", "sleep", "1000"]].concat());
    node.ok(&["wait", "--for=condition=Ready", "pod/look", "--timeout=60s"]);
    let looks = ["exec", "look", "--", "sh", "-c", "echo database: $DATABASE"];
    assert_eq!(node.ok(&looks), "database:\n");
    assert_eq!(node.value("pod/look", "{.metadata.labels}"), "");
    node.ok(&["delete", "pod", "look"]);
    node.apply(&SHOP.replace("env: []", "env: [{name: DATABASE, value: db}]"));
    node.ok(&["rollout", "status", "deployment/shop", "--timeout=60s"]);
    until("only the mended pod is left", LIMIT, || {
        let rows = node.ok(&["get", "pods", "--no-headers"]);
        (rows.lines().count() == 1 && rows.contains("1/1")).then_some(())
    });
    // A program that is not there is told of in so many words.
    node.apply(
        &SHOP
            .replace("[sh, -c,", "[shh, -c,")
            .replace("shop", "typo"),
    );
    until("the typing error is told", LIMIT, || {
        let told = node.ok(&["describe", "pods", "-l", "app=typo"]);
        let why = "cannot run container web: exec \"shh\": executable file not found in $PATH";
        told.contains(why).then_some(())
    });
}
