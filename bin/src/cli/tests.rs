//! Whole commands against an API in memory: what they say, and what they write.

use super::failure::Outcome;
use super::fake::{FakeApi, deployment, pod, session};
use super::session::Session;
use super::{Verb, command, perform};
use clap::FromArgMatches;
use kabuki_model::object::Resource;
use serde_json::{Value, json};
use std::sync::Arc;

/// Runs a command line; what it wrote, and what it failed with.
pub(super) async fn run(session: &Session, line: &[&str]) -> (String, Outcome) {
    let before = session.out.written().len();
    let words = std::iter::once("kabuki").chain(line.iter().copied());
    let matches = command().try_get_matches_from(words).expect("arguments");
    let verb = Verb::from_arg_matches(&matches).expect("a verb");
    let outcome = perform(session, verb, command()).await;
    (session.out.written()[before..].to_string(), outcome)
}

pub(super) async fn said(session: &Session, line: &[&str]) -> String {
    let (text, outcome) = run(session, line).await;
    assert_eq!(outcome, Ok(()), "{line:?}");
    text
}

pub(super) async fn refused(session: &Session, line: &[&str]) -> String {
    run(session, line).await.1.expect_err("refused").text()
}

fn manifest(dir: &tempfile::TempDir, value: &Value) -> String {
    let path = dir.path().join("manifest.yaml");
    std::fs::write(&path, kabuki_model::manifest::to_yaml(value)).expect("writes");
    path.display().to_string()
}

fn config(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
}

fn stored(api: &Arc<FakeApi>, name: &str) -> Value {
    api.value(Resource::CONFIG_MAPS, name).expect("is there")
}

#[test]
fn the_command_line_is_well_formed() {
    command().debug_assert();
}

#[test]
fn every_verb_has_an_example() {
    fn check(command: &clap::Command, path: &str) {
        for verb in command.get_subcommands() {
            let path = format!("{path} {}", verb.get_name());
            let help = verb
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains("kabuki") || help.contains("top"),
                "{path} has no example"
            );
            check(verb, &path);
        }
    }
    check(&command(), "kabuki");
}

#[test]
fn switches_take_values_and_stand_together() {
    let parsed = |line: &[&str]| {
        let matches = command().try_get_matches_from(line).expect("parses");
        let (_, verb) = matches.subcommand().expect("a verb");
        let on = |name: &str| verb.get_flag(name);
        (on("stdin"), on("tty"))
    };
    assert_eq!(
        parsed(&["kabuki", "exec", "-it", "web", "--", "sh"]),
        (true, true)
    );
    assert_eq!(
        parsed(&[
            "kabuki",
            "exec",
            "-i=false",
            "--tty=true",
            "web",
            "--",
            "sh"
        ]),
        (false, true)
    );
    assert_eq!(
        parsed(&["kabuki", "exec", "web", "--", "sh", "-i"]),
        (false, false)
    );
}

#[tokio::test]
async fn apply_creates_configures_and_leaves_alone() {
    let (session, api) = session(&[]);
    let dir = tempfile::tempdir().expect("a folder");
    let path = manifest(&dir, &config(json!({"a": "1", "b": "2"})));
    assert_eq!(
        said(&session, &["apply", "-f", &path]).await,
        "configmap/c created\n"
    );
    assert_eq!(
        said(&session, &["apply", "-f", &path]).await,
        "configmap/c unchanged\n"
    );
    assert_eq!(api.writes(), ["create configmaps/default/c"]);
    // Someone else adds an entry; the manifest drops one and changes one.
    said(
        &session,
        &["patch", "cm", "c", "-p", r#"{"data":{"z":"9"}}"#],
    )
    .await;
    let path = manifest(&dir, &config(json!({"a": "3"})));
    assert_eq!(
        said(&session, &["apply", "-f", &path]).await,
        "configmap/c configured\n"
    );
    assert_eq!(stored(&api, "c")["data"], json!({"a": "3", "z": "9"}));
}

#[tokio::test]
async fn apply_tries_without_storing() {
    let (session, api) = session(&[]);
    let dir = tempfile::tempdir().expect("a folder");
    let path = manifest(&dir, &config(json!({"a": "1"})));
    let line = ["apply", "-f", &path, "--dry-run=client"];
    assert_eq!(
        said(&session, &line).await,
        "configmap/c created (dry run)\n"
    );
    assert_eq!(api.writes(), Vec::<String>::new());
    let line = ["apply", "-f", &path, "--dry-run=server"];
    assert_eq!(
        said(&session, &line).await,
        "configmap/c created (server dry run)\n"
    );
    assert!(api.value(Resource::CONFIG_MAPS, "c").is_none());
    for flag in ["--server-side", "--prune", "-k=x"] {
        let text = refused(&session, &["apply", "-f", &path, flag]).await;
        assert!(text.contains("is not supported"), "{flag}: {text}");
    }
}

#[tokio::test]
async fn get_shows_tables_names_and_paths() {
    let (session, _) = session(&[pod("web-1"), pod("web-2"), deployment("web", 2)]);
    let text = said(&session, &["get", "pods"]).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "NAME    READY   STATUS    RESTARTS   AGE");
    assert!(
        lines[1].starts_with("web-1   1/1     Running   0          "),
        "{text}"
    );
    assert_eq!(
        said(&session, &["get", "pods", "-o", "name"]).await,
        "pod/web-1\npod/web-2\n"
    );
    assert_eq!(
        said(
            &session,
            &["get", "pod", "web-1", "-o", "jsonpath={.status.podIP}"]
        )
        .await,
        "10.244.0.5"
    );
    assert_eq!(
        said(
            &session,
            &[
                "get",
                "pods",
                "-o",
                "custom-columns=N:.metadata.name,X:.spec.none"
            ]
        )
        .await,
        "N       X\nweb-1   <none>\nweb-2   <none>\n"
    );
    let all = said(&session, &["get", "all", "--no-headers"]).await;
    assert!(
        all.contains("pod/web-1") && all.contains("deployment.apps/web"),
        "{all}"
    );
    let labels = said(&session, &["get", "pods", "-L", "app", "--show-labels"]).await;
    assert!(
        labels
            .lines()
            .next()
            .is_some_and(|l| l.ends_with("APP   LABELS")),
        "{labels}"
    );
}

#[tokio::test]
async fn get_says_what_is_not_there() {
    let (session, _) = session(&[pod("web-1")]);
    assert_eq!(
        said(&session, &["get", "cm"]).await,
        "No resources found in default namespace.\n"
    );
    let (text, outcome) = run(&session, &["get", "pod", "web-1", "x"]).await;
    assert!(text.contains("web-1"));
    let failure = outcome.expect_err("one is missing");
    assert_eq!(
        failure.text(),
        "Error from server (NotFound): pods \"x\" not found"
    );
    assert_eq!(failure.code(), 1);
    assert_eq!(
        said(&session, &["get", "pod", "x", "--ignore-not-found"]).await,
        ""
    );
    assert!(
        refused(&session, &["get", "pdos"])
            .await
            .contains("did you mean")
    );
}

#[tokio::test]
async fn sorting_follows_the_field() {
    let mut late = pod("a");
    late["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z".into();
    let (session, _) = session(&[late, pod("b")]);
    let line = [
        "get",
        "pods",
        "-o",
        "name",
        "--sort-by",
        ".metadata.creationTimestamp",
    ];
    assert_eq!(said(&session, &line).await, "pod/b\npod/a\n");
}

#[tokio::test]
async fn delete_names_what_is_gone() {
    let (session, api) = session(&[pod("web-1"), pod("web-2"), pod("web-3")]);
    assert_eq!(
        said(&session, &["delete", "pod", "web-1"]).await,
        "pod \"web-1\" deleted from default namespace\n"
    );
    said(&session, &["delete", "pod", "web-2", "--now"]).await;
    said(
        &session,
        &[
            "delete",
            "pods",
            "-l",
            "app=web",
            "--force",
            "--grace-period=0",
        ],
    )
    .await;
    assert_eq!(
        api.writes(),
        [
            "delete pods/default/web-1",
            "delete pods/default/web-2 1s",
            "delete pods/default/web-3 0s",
        ]
    );
    assert!(
        refused(&session, &["delete", "pods"])
            .await
            .contains("--all")
    );
    assert!(
        refused(&session, &["delete", "pod", "x"])
            .await
            .contains("NotFound")
    );
}

#[tokio::test]
async fn labels_are_not_overwritten_unasked() {
    let (session, api) = session(&[pod("web-1")]);
    assert_eq!(
        said(&session, &["label", "pod", "web-1", "new=1", "app-"]).await,
        "pod/web-1 labeled\n"
    );
    let text = refused(&session, &["label", "pod", "web-1", "tier=back"]).await;
    assert_eq!(
        text,
        "error: 'tier' already has a value (front), and --overwrite is false"
    );
    said(
        &session,
        &["label", "pod", "web-1", "tier=back", "--overwrite"],
    )
    .await;
    assert_eq!(
        said(&session, &["label", "pod/web-1", "tier=back"]).await,
        "pod/web-1 not labeled\n"
    );
    let labels =
        api.value(Resource::PODS, "web-1").expect("is there")["metadata"]["labels"].clone();
    assert_eq!(labels, json!({"new": "1", "tier": "back"}));
    assert_eq!(
        said(&session, &["annotate", "pod/web-1", "n=x y"]).await,
        "pod/web-1 annotated\n"
    );
}

#[tokio::test]
async fn workloads_are_scaled_set_and_rolled() {
    let (session, api) = session(&[deployment("web", 3)]);
    let value = || api.value(Resource::DEPLOYMENTS, "web").expect("is there");
    assert_eq!(
        said(&session, &["scale", "deploy/web", "--replicas=5"]).await,
        "deployment.apps/web scaled\n"
    );
    assert_eq!(value()["spec"]["replicas"], 5);
    let text = refused(
        &session,
        &[
            "scale",
            "deploy/web",
            "--replicas=1",
            "--current-replicas=3",
        ],
    )
    .await;
    assert!(text.contains("Expected replicas to be 3, was 5"), "{text}");
    assert_eq!(
        said(&session, &["set", "image", "deploy/web", "main=web:2"]).await,
        "deployment.apps/web image updated\n"
    );
    assert_eq!(
        value()["spec"]["template"]["spec"]["containers"][0]["image"],
        "web:2"
    );
    assert_eq!(
        refused(&session, &["set", "image", "deploy/web", "x=web:2"]).await,
        "error: unable to find container named \"x\""
    );
    said(&session, &["rollout", "pause", "deploy/web"]).await;
    let text = refused(&session, &["rollout", "pause", "deploy/web"]).await;
    assert_eq!(text, "error: deployments.apps \"web\" is already paused");
    said(&session, &["rollout", "resume", "deploy/web"]).await;
    said(&session, &["rollout", "restart", "deploy/web"]).await;
    let annotations = &value()["spec"]["template"]["metadata"]["annotations"];
    assert!(annotations["kubectl.kubernetes.io/restartedAt"].is_string());
}

#[tokio::test]
async fn a_rollout_goes_back_to_an_earlier_template() {
    let mut current = deployment("web", 1);
    current["metadata"]["uid"] = "d".into();
    current["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "2".into();
    current["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2".into();
    let set = |revision: &str, image: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": format!("web-{revision}"), "labels": {"app": "web"},
                "annotations": {"deployment.kubernetes.io/revision": revision},
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d",
                    "controller": true,
                }],
            },
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web", "pod-template-hash": revision}},
                    "spec": {"containers": [{"name": "main", "image": image}]},
                },
            },
        })
    };
    let (session, api) = session(&[current, set("1", "web:1"), set("2", "web:2")]);
    let history = said(&session, &["rollout", "history", "deploy/web"]).await;
    assert_eq!(
        history,
        "deployment.apps/web \nREVISION  CHANGE-CAUSE\n1         <none>\n2         <none>\n\n"
    );
    assert_eq!(
        said(&session, &["rollout", "undo", "deploy/web"]).await,
        "deployment.apps/web rolled back\n"
    );
    let template = &api.value(Resource::DEPLOYMENTS, "web").expect("is there")["spec"]["template"];
    assert_eq!(template["spec"]["containers"][0]["image"], "web:1");
    assert_eq!(template["metadata"]["labels"], json!({"app": "web"}));
    assert!(
        refused(
            &session,
            &["rollout", "undo", "deploy/web", "--to-revision=7"]
        )
        .await
        .contains("7")
    );
}

#[tokio::test]
async fn waiting_ends_when_it_holds_and_when_time_is_up() {
    let (session, _) = session(&[pod("web-1"), deployment("web", 2)]);
    assert_eq!(
        said(&session, &["wait", "--for=condition=Ready", "pod/web-1"]).await,
        "pod/web-1 condition met\n"
    );
    assert_eq!(
        refused(
            &session,
            &[
                "wait",
                "--for=condition=Gone",
                "pod/web-1",
                "--timeout=10ms"
            ]
        )
        .await,
        "error: timed out waiting for the condition on pods/web-1"
    );
    assert_eq!(
        said(&session, &["wait", "--for=delete", "pod/none"]).await,
        ""
    );
    assert_eq!(
        said(&session, &["rollout", "status", "deploy/web"]).await,
        "deployment \"web\" successfully rolled out\n"
    );
}

#[tokio::test]
async fn few_words_make_manifests() {
    let (session, api) = session(&[]);
    let line = [
        "create",
        "deployment",
        "web",
        "--image=web:1",
        "--dry-run=client",
        "-o",
        "yaml",
    ];
    let text = said(&session, &line).await;
    assert!(
        text.starts_with("apiVersion: apps/v1\nkind: Deployment\n"),
        "{text}"
    );
    assert!(text.contains("image: web:1"), "{text}");
    assert_eq!(api.writes(), Vec::<String>::new());
    let line = ["create", "configmap", "c", "--from-literal=a=b"];
    assert_eq!(said(&session, &line).await, "configmap/c created\n");
    assert_eq!(stored(&api, "c")["data"], json!({"a": "b"}));
    assert!(refused(&session, &line).await.contains("(AlreadyExists)"));
    assert_eq!(
        said(&session, &["run", "one", "--image=web:1", "--", "a", "b"]).await,
        "pod/one created\n"
    );
    let pod = api.value(Resource::PODS, "one").expect("is there");
    assert_eq!(pod["spec"]["containers"][0]["args"], json!(["a", "b"]));
    assert_eq!(pod["metadata"]["labels"], json!({"run": "one"}));
}

#[tokio::test]
async fn what_comes_later_is_refused_by_name() {
    let (session, _) = session(&[]);
    let text = refused(&session, &["top", "disks"]).await;
    assert!(text.contains("use `top nodes` or `top pods`"), "{text}");
    let text = refused(&session, &["get", "pods", "-o", "go-template={{.}}"]).await;
    assert!(text.contains("go-template is not supported"), "{text}");
}
