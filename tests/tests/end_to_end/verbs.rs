//! What the verbs of the CLI say and how they end, on a real node.

use kabuki_tests::harness::{Daemon, Outcome, busybox_archive};
use serde_json::Value;
use std::io::Write;
use std::process::Stdio;

const SETTINGS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: red}
";
const TOKEN: &str = "
apiVersion: v1
kind: Secret
metadata: {name: token}
stringData: {password: first}
";

fn json(node: &Daemon, args: &[&str]) -> Value {
    let text = node.ok(args);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("kabuki {}: {e}\n{text}", args.join(" ")))
}

/// `kabuki diff -f -`
fn diff(node: &Daemon, manifest: &str) -> Outcome {
    let mut command = node.command(&["diff", "-f", "-"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = command.spawn().expect("the CLI starts");
    let mut stdin = process.stdin.take().expect("a pipe");
    stdin.write_all(manifest.as_bytes()).expect("writes");
    drop(stdin);
    let output = process.wait_with_output().expect("the CLI ends");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The lines of a diff that say what changes, without its headings.
fn changes(outcome: &Outcome) -> Vec<&str> {
    let changed = |line: &&str| line.starts_with(['+', '-']);
    let heading = |line: &&str| line.starts_with("+++") || line.starts_with("---");
    outcome
        .out
        .lines()
        .filter(changed)
        .filter(|l| !heading(l))
        .collect()
}

#[test]
fn diff_tells_what_apply_would_change_and_changes_nothing() {
    let node = Daemon::start();
    let absent = diff(&node, SETTINGS);
    assert_eq!(absent.code, 1, "{absent:?}");
    assert!(changes(&absent).contains(&"+  colour: red"), "{absent:?}");
    assert_eq!(node.cli(&["get", "cm", "settings"]).code, 1);

    node.apply(SETTINGS);
    node.ok(&["annotate", "cm", "settings", "owner=me"]);
    let same = diff(&node, SETTINGS);
    assert_eq!((same.code, same.out.as_str()), (0, ""), "{same:?}");
    let other = diff(&node, &SETTINGS.replace("red", "blue"));
    assert_eq!(other.code, 1, "{other:?}");
    assert_eq!(changes(&other), ["-  colour: red", "+  colour: blue"]);
    assert_eq!(node.value("cm/settings", "{.data.colour}"), "red");

    node.apply(TOKEN);
    let secret = diff(&node, &TOKEN.replace("first", "second"));
    let hidden = ["-  password: '*** (before)'", "+  password: '*** (after)'"];
    assert_eq!(changes(&secret), hidden, "{secret:?}");

    let refused = diff(&node, &SETTINGS.replace("\ndata:", "\nnonsense:"));
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.err.contains("unknown field \"nonsense\""),
        "{refused:?}"
    );
}

#[test]
fn one_bad_document_does_not_keep_the_others_from_being_applied() {
    let node = Daemon::start();
    let gadget = "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: g}\n";
    let documents = [SETTINGS, "kind: Lonely\n", gadget, "a: [\n", TOKEN];
    let outcome = node.try_apply(&documents.join("---\n"));
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert_eq!(
        outcome.out,
        "configmap/settings created\nsecret/token created\n"
    );
    for part in [
        "apiVersion not set",
        "no matches for kind \"Gadget\"",
        "document 4",
    ] {
        assert!(outcome.err.contains(part), "{part}: {}", outcome.err);
    }
}

#[test]
fn reports_are_printed_for_programs_too() {
    let node = Daemon::start();
    let actors = json(&node, &["actors", "-o", "json"]);
    let paths: Vec<&str> = actors["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|a| a["path"].as_str())
        .collect();
    let scheduler = paths.iter().find(|p| p.ends_with("/scheduler"));
    assert!(scheduler.is_some(), "{paths:?}");
    let columns = node.ok(&[
        "actors",
        "-o",
        "custom-columns=ACTOR:.path,RESTARTS:.restarts",
    ]);
    assert!(columns.starts_with("ACTOR"), "{columns}");

    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    let names = node.ok(&["image", "ls", "-o", "jsonpath={.items[*].names[0]}"]);
    assert!(
        names.contains("docker.io/library/busybox:latest"),
        "{names}"
    );

    let checks = json(&node, &["check", "-o", "json"]);
    assert!(
        checks["items"]
            .as_array()
            .is_some_and(|c| c.iter().any(|c| c["name"] == "overlayfs"))
    );
    assert_eq!(
        json(&node, &["version", "-o", "json"])["serverVersion"]["node"],
        "n1"
    );
    let me = json(&node, &["auth", "whoami", "-o", "json"]);
    assert_eq!(me["status"]["userInfo"]["username"], "kabuki-admin");
    assert!(
        node.refused(&["actors", "-o", "name"])
            .contains("-o name is not available")
    );
}

#[test]
fn a_pods_exit_code_is_that_of_run() {
    let node = Daemon::start();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    let run = |name: &str, script: &str| {
        let mut args = vec![
            "run",
            name,
            "-i",
            "--rm",
            "--restart=Never",
            "--image=busybox",
        ];
        args.extend(["--image-pull-policy=IfNotPresent", "--", "sh", "-c", script]);
        node.cli(&args)
    };
    // Its input ends when it is attached to, so what follows is seen.
    let failed = run("fails", "cat; echo said; exit 7");
    assert_eq!(failed.code, 7, "{failed:?}");
    assert!(failed.out.contains("said\n"), "{failed:?}");
    assert!(
        failed.err.contains("pod default/fails terminated (Error)"),
        "{failed:?}"
    );
    // One that may be over before it is attached to.
    let hasty = run("hasty", "exit 8");
    assert_eq!(hasty.code, 8, "{hasty:?}");
    let well = run("works", "true");
    assert_eq!(well.code, 0, "{well:?}");
    assert_eq!(node.cli(&["get", "pods", "-o", "name"]).out, "");
}

#[test]
fn a_rollouts_revision_is_printed_as_an_object() {
    let node = Daemon::start();
    let args = [
        "create",
        "deployment",
        "web",
        "--image=web:1",
        "--replicas=0",
    ];
    node.ok(&args);
    node.ok(&["rollout", "status", "deploy/web", "--timeout=30s"]);
    let image = "jsonpath={.kind} {.spec.template.spec.containers[0].image}";
    let shown = node.ok(&[
        "rollout",
        "history",
        "deploy/web",
        "--revision=1",
        "-o",
        image,
    ]);
    assert_eq!(shown, "ReplicaSet web:1");
}

#[test]
fn a_second_node_is_told_why_it_cannot_start() {
    let node = Daemon::start();
    let address = node.address().to_string();
    let start =
        |data: &str, listen: &str| node.refused(&["node", "--data-dir", data, "--listen", listen]);
    let data = node.data_dir().to_str().expect("a path");
    let pid = node.pid().expect("it runs").to_string();
    let same_data = start(data, "127.0.0.1:7443");
    assert!(
        same_data.contains("is in use by another kabuki") && same_data.contains(&pid),
        "{same_data}"
    );
    let other = tempfile::tempdir().expect("a folder");
    let unused = other.path().join("data");
    let same_port = start(unused.to_str().expect("a path"), &address);
    assert!(
        same_port.contains(&format!("{address} is in use by another program")),
        "{same_port}"
    );
    assert!(!unused.exists(), "nothing was made");
}
