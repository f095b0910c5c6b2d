//! Unmodified `kubectl` through its verbs, against a real node.

use kabuki_tests::harness::{Daemon, Outcome, busybox_archive, until};
use serde_json::Value;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

/// How long anything may take that is not under test itself.
const LIMIT: Duration = Duration::from_secs(60);
const SETTINGS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: web}}
data: {colour: red}
";

/// Runs `kubectl` with something on its standard input.
pub fn fed(node: &Daemon, args: &[&str], input: &str) -> Outcome {
    let mut command = node.host().command("kubectl");
    command
        .env("KUBECONFIG", node.data_dir().join("admin.kubeconfig"))
        .env("HOME", node.data_dir())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = command.spawn().expect("kubectl starts");
    let mut stdin = process.stdin.take().expect("a pipe");
    // A command that reads nothing may have closed it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = process.wait_with_output().expect("kubectl ends");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `kubectl`, which must succeed, and gives its output.
pub fn ok(node: &Daemon, args: &[&str]) -> String {
    ok_fed(node, args, "")
}

pub fn ok_fed(node: &Daemon, args: &[&str], input: &str) -> String {
    let outcome = fed(node, args, input);
    assert_eq!(outcome.code, 0, "kubectl {}: {outcome:?}", args.join(" "));
    outcome.out
}

pub fn json(node: &Daemon, args: &[&str]) -> Value {
    let text = ok(node, args);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}\n{text}", args.join(" ")))
}

#[test]
fn what_is_served_is_found_and_explained() {
    let node = Daemon::start();
    let version = ok(&node, &["version"]);
    assert!(version.contains("Server Version: v1."), "{version}");
    let resources = ok(&node, &["api-resources", "--no-headers"]);
    for line in [
        "configmaps                           cm           v1",
        "deployments                          deploy       apps/v1",
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let found = resources.lines().any(|l| {
            let have: Vec<&str> = l.split_whitespace().collect();
            have.starts_with(&words)
        });
        assert!(found, "{line}\n{resources}");
    }
    assert!(ok(&node, &["api-versions"]).lines().any(|l| l == "apps/v1"));
    let explained = ok(&node, &["explain", "deployment.spec.strategy.type"]);
    assert!(explained.contains("FIELD: type <string>"), "{explained}");
    let tree = ok(&node, &["explain", "pods", "--recursive"]);
    assert!(
        tree.contains("containerPort\t<integer> -required-"),
        "{tree}"
    );
    assert_eq!(ok(&node, &["get", "--raw", "/readyz"]), "ok");
    let metrics = ok(&node, &["get", "--raw", "/metrics"]);
    for name in [
        "apiserver_request_total{",
        "kabuki_store_revision ",
        "process_resident_memory_bytes ",
    ] {
        assert!(metrics.contains(name), "{name}");
    }
}

#[test]
fn objects_are_applied_shown_changed_and_deleted() {
    let node = Daemon::start();
    let apply = &["apply", "-f", "-"];
    assert_eq!(
        ok_fed(&node, apply, SETTINGS),
        "configmap/settings created\n"
    );
    assert_eq!(
        ok_fed(&node, apply, SETTINGS),
        "configmap/settings unchanged\n"
    );
    let blue = SETTINGS.replace("red", "blue");
    let diff = fed(&node, &["diff", "-f", "-"], &blue);
    assert_eq!(diff.code, 1, "{diff:?}");
    assert!(diff.out.contains("+  colour: blue"), "{diff:?}");
    assert_eq!(
        ok_fed(&node, apply, &blue),
        "configmap/settings configured\n"
    );
    let wrong = SETTINGS.replace("\ndata:", "\ndta:");
    let refused = fed(&node, apply, &wrong);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("unknown field \"dta\""), "{refused:?}");
    let table = ok(&node, &["get", "configmaps", "settings", "--show-labels"]);
    assert!(table.starts_with("NAME"), "{table}");
    assert!(table.contains("app=web"), "{table}");
    let yaml = ok(&node, &["get", "cm", "settings", "-o", "yaml"]);
    assert!(yaml.contains("\n  colour: blue\n"), "{yaml}");
    let path = "jsonpath={.data.colour}";
    assert_eq!(ok(&node, &["get", "cm", "settings", "-o", path]), "blue");
    assert_eq!(
        ok(&node, &["get", "cm", "-l", "app=web", "-o", "name"]),
        "configmap/settings\n"
    );
    ok(&node, &["label", "cm", "settings", "tier=front"]);
    ok(&node, &["annotate", "cm", "settings", "note=kept"]);
    for (kind, patch) in [
        ("merge", r#"{"data":{"size":"9"}}"#),
        ("json", r#"[{"op":"add","path":"/data/size","value":"9"}]"#),
        ("strategic", r#"{"data":{"size":"9"}}"#),
    ] {
        ok(
            &node,
            &["patch", "cm", "settings", "--type", kind, "-p", patch],
        );
    }
    let shown = json(&node, &["get", "cm", "settings", "-o", "json"]);
    assert_eq!(shown["data"]["size"], "9");
    assert_eq!(shown["metadata"]["labels"]["tier"], "front");
    let described = ok(&node, &["describe", "cm", "settings"]);
    assert!(described.contains("colour:\n----\nblue"), "{described}");
    let editor = node.data_dir().join("editor");
    let script = "#!/bin/sh\nsed -i s/blue/green/ \"$1\"\n";
    std::fs::write(&editor, script).expect("writes");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&editor, mode).expect("may run");
    let mut edit = node.host().command("kubectl");
    let edited = edit
        .env("KUBECONFIG", node.data_dir().join("admin.kubeconfig"))
        .env("KUBE_EDITOR", &editor)
        .env("HOME", node.data_dir())
        .args(["edit", "cm", "settings"])
        .output()
        .expect("kubectl runs");
    assert!(edited.status.success(), "{edited:?}");
    assert_eq!(ok(&node, &["get", "cm", "settings", "-o", path]), "green");
    assert_eq!(
        ok(&node, &["delete", "cm", "settings"]),
        "configmap \"settings\" deleted\n"
    );
    let gone = fed(&node, &["get", "cm", "settings"], "");
    assert_eq!(
        gone.err,
        "Error from server (NotFound): configmaps \"settings\" not found\n"
    );
}

#[test]
fn a_deployment_is_rolled_out_scaled_and_waited_for() {
    let node = Daemon::start();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", &archive.display().to_string()]);
    let made = [
        "create",
        "deployment",
        "web",
        "--image=busybox",
        "--dry-run=client",
        "-o",
        "json",
        "--",
        "sleep",
        "1000000",
    ];
    let mut web = json(&node, &made);
    // Nothing can be pulled here.
    let spec = &mut web["spec"]["template"]["spec"];
    spec["containers"][0]["imagePullPolicy"] = "IfNotPresent".into();
    spec["terminationGracePeriodSeconds"] = 0.into();
    ok_fed(&node, &["create", "-f", "-"], &web.to_string());
    ok(
        &node,
        &["rollout", "status", "deployment/web", "--timeout=60s"],
    );
    ok(&node, &["scale", "deployment/web", "--replicas=2"]);
    let replicas = "jsonpath={.status.readyReplicas}";
    until("two replicas are ready", LIMIT, || {
        (ok(&node, &["get", "deploy", "web", "-o", replicas]) == "2").then_some(())
    });
    let available = "--for=condition=Available";
    ok(
        &node,
        &["wait", available, "deployment/web", "--timeout=60s"],
    );
    ok(&node, &["rollout", "restart", "deployment/web"]);
    ok(
        &node,
        &["rollout", "status", "deployment/web", "--timeout=60s"],
    );
    let history = ok(&node, &["rollout", "history", "deployment/web"]);
    assert!(history.contains("\n2 "), "{history}");
    ok(&node, &["rollout", "undo", "deployment/web"]);
    ok(
        &node,
        &["rollout", "status", "deployment/web", "--timeout=60s"],
    );
    let pods = json(&node, &["get", "pods", "-l", "app=web", "-o", "json"]);
    assert_eq!(pods["kind"], "List");
    let described = ok(&node, &["describe", "deployment", "web"]);
    assert!(described.contains("2 desired"), "{described}");
    ok(
        &node,
        &["delete", "deployment", "web", "--cascade=foreground"],
    );
    until("no pod is left", LIMIT, || {
        let left = ok(&node, &["get", "pods", "-o", "name"]);
        left.is_empty().then_some(())
    });
}
