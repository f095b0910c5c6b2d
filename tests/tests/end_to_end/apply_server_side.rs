//! Server-side apply with unmodified `kubectl`, against a real node.

use crate::kubectl::{fed, json, ok, ok_fed};
use kabuki_tests::harness::Daemon;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: registry.invalid/web:1
        env: [{name: COLOUR, value: red}]
";

const APPLY: &[&str] = &["apply", "--server-side", "-f", "-"];

fn shown(node: &Daemon) -> Value {
    let args = [
        "get",
        "deploy",
        "web",
        "-o",
        "json",
        "--show-managed-fields",
    ];
    json(node, &args)
}

/// The managers of the object and how they wrote, without those of the cluster itself.
fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array();
    let people = entries.into_iter().flatten().filter(|e| {
        let name = e["manager"].as_str().unwrap_or_default();
        !name.starts_with("kabuki-")
    });
    let name = |e: &Value| format!("{}:{}", e["manager"], e["operation"]).replace('"', "");
    people.map(name).collect()
}

#[test]
fn owners_conflict_and_give_way_to_force() {
    let node = Daemon::start();
    assert_eq!(
        ok_fed(&node, APPLY, WEB),
        "deployment.apps/web serverside-applied\n"
    );
    let first = shown(&node);
    assert_eq!(managers(&first), ["kubectl:Apply"]);
    let again = ok_fed(&node, APPLY, WEB);
    assert_eq!(again, "deployment.apps/web serverside-applied\n");
    let second = shown(&node);
    assert_eq!(
        first["metadata"]["managedFields"][0],
        second["metadata"]["managedFields"][0]
    );
    let other: Vec<&str> = [APPLY, &["--field-manager", "other"]].concat();
    let blue = WEB.replace("red", "blue");
    let refused = fed(&node, &other, &blue);
    assert_eq!(refused.code, 1, "{refused:?}");
    let conflict = "conflict with \"kubectl\": .spec.template.spec.containers[name=\"web\"].env[name=\"COLOUR\"].value";
    assert!(refused.err.contains(conflict), "{refused:?}");
    let forced: Vec<&str> = [&other[..], &["--force-conflicts"]].concat();
    ok_fed(&node, &forced, &blue);
    let third = shown(&node);
    assert_eq!(managers(&third), ["kubectl:Apply", "other:Apply"]);
    let env = &third["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(env[0]["value"], "blue");
    // What neither applies any more goes.
    let bare = WEB.replace("        env: [{name: COLOUR, value: red}]\n", "");
    ok_fed(&node, APPLY, &bare);
    ok_fed(&node, &other, &bare);
    let fourth = shown(&node);
    assert!(
        fourth["spec"]["template"]["spec"]["containers"][0]
            .get("env")
            .is_none()
    );
    // Owners are not shown to those who did not ask.
    let plain = json(&node, &["get", "deploy", "web", "-o", "json"]);
    assert!(plain["metadata"].get("managedFields").is_none());
}

#[test]
fn what_was_applied_by_the_client_is_applied_by_the_server() {
    let node = Daemon::start();
    ok_fed(&node, &["apply", "-f", "-"], WEB);
    assert_eq!(
        managers(&shown(&node)),
        ["kubectl-client-side-apply:Update"]
    );
    let blue = WEB.replace("red", "blue");
    ok_fed(&node, APPLY, &blue);
    let object = shown(&node);
    // One is the annotation's: the client keeps it as long as it is there.
    let mut seen = managers(&object);
    seen.sort();
    assert_eq!(seen, ["kubectl-last-applied:Apply", "kubectl:Apply"]);
    let env = &object["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(env[0]["value"], "blue");
    let diff = fed(&node, &["diff", "--server-side", "-f", "-"], WEB);
    assert_eq!(diff.code, 1, "{diff:?}");
    assert!(diff.out.contains("value: red"), "{diff:?}");
    let same = fed(&node, &["diff", "--server-side", "-f", "-"], &blue);
    assert_eq!(same.code, 0, "{same:?}");
}

#[test]
fn an_edit_and_a_scale_have_managers_of_their_own() {
    let node = Daemon::start();
    ok_fed(&node, APPLY, WEB);
    let editor = node.data_dir().join("editor");
    fs::write(&editor, "#!/bin/sh\nsed -i s/red/green/ \"$1\"\n").expect("an editor");
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).expect("an editor");
    let edited = node
        .host()
        .command("kubectl")
        .env("KUBECONFIG", node.data_dir().join("admin.kubeconfig"))
        .env("HOME", node.data_dir())
        .env("KUBE_EDITOR", &editor)
        .args(["edit", "deploy", "web"])
        .stdin(Stdio::null())
        .output()
        .expect("kubectl ends");
    assert!(edited.status.success(), "{edited:?}");
    ok(&node, &["scale", "deploy", "web", "--replicas", "0"]);
    for (kind, patch) in [
        ("merge", r#"{"spec":{"paused":true}}"#),
        (
            "json",
            r#"[{"op":"add","path":"/spec/minReadySeconds","value":3}]"#,
        ),
        (
            "strategic",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"web","workingDir":"/"}]}}}}"#,
        ),
    ] {
        ok(
            &node,
            &["patch", "deploy", "web", "--type", kind, "-p", patch],
        );
    }
    let object = shown(&node);
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["env"][0]["value"], &container["workingDir"]),
        (&"green".into(), &"/".into())
    );
    assert_eq!(
        managers(&object),
        [
            "kubectl:Apply",
            "kubectl-edit:Update",
            "kubectl-patch:Update"
        ]
    );
    let refused = fed(&node, APPLY, WEB);
    assert!(
        refused
            .err
            .contains("conflict with \"kubectl-edit\" using apps/v1"),
        "{refused:?}"
    );
}

#[test]
fn unknown_fields_and_dry_runs_change_nothing() {
    let node = Daemon::start();
    let wrong = WEB.replace("replicas:", "replica:");
    let refused = fed(&node, APPLY, &wrong);
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .err
            .contains(".spec.replica: field not declared in schema"),
        "{refused:?}"
    );
    let tried: Vec<&str> = [APPLY, &["--dry-run=server"]].concat();
    let out = ok_fed(&node, &tried, WEB);
    assert_eq!(
        out,
        "deployment.apps/web serverside-applied (server dry run)\n"
    );
    assert_eq!(ok(&node, &["get", "deploy", "-o", "name"]), "");
}
