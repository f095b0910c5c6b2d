//! What is said and written by the verbs that close, empty and taint nodes.

use crate::cli::fake::{pod, session};
use crate::cli::tests::{refused, run, said};
use kabuki_model::object::Resource;
use serde_json::{Value, json};

fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"rack": name}}, "spec": {},
    })
}

fn owned(name: &str, kind: &str) -> Value {
    let mut pod = pod(name);
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": kind, "name": "web", "uid": "o", "controller": true,
    }]);
    pod
}

fn with_data(mut pod: Value) -> Value {
    pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    pod
}

#[tokio::test]
async fn nodes_are_closed_and_opened_once() {
    let (session, api) = session(&[node("a"), node("b")]);
    assert_eq!(said(&session, &["cordon", "a"]).await, "node/a cordoned\n");
    let closed = |name: &str| api.value(Resource::NODES, name).expect("there")["spec"].clone();
    assert_eq!(closed("a")["unschedulable"], true);
    assert_eq!(
        said(&session, &["cordon", "node/a", "b"]).await,
        "node/a already cordoned\nnode/b cordoned\n"
    );
    assert_eq!(
        said(&session, &["uncordon", "-l", "rack=a"]).await,
        "node/a uncordoned\n"
    );
    assert_eq!(closed("a"), json!({}));
    api.writes();
    assert_eq!(
        said(&session, &["uncordon", "b", "--dry-run"]).await,
        "node/b uncordoned (dry run)\n"
    );
    assert!(api.writes().is_empty());
}

#[tokio::test]
async fn which_nodes_must_be_said() {
    let (session, _) = session(&[node("a")]);
    for verb in ["cordon", "uncordon", "drain"] {
        let text = refused(&session, &[verb]).await;
        assert!(
            text.starts_with(&format!("error: USAGE: {verb} NODE")),
            "{text}"
        );
        assert_eq!(
            refused(&session, &[verb, "a", "-l", "rack=a"]).await,
            "error: cannot specify both a node name and a --selector option"
        );
        assert_eq!(
            refused(&session, &[verb, "x"]).await,
            "Error from server (NotFound): nodes \"x\" not found"
        );
        let text = refused(&session, &[verb, "pod/a"]).await;
        assert_eq!(text, "error: expected resource of type node, got \"pod\"");
        assert_eq!(
            said(&session, &[verb, "-l", "rack=z"]).await,
            "No resources found\n"
        );
    }
}

#[tokio::test]
async fn a_node_is_emptied_by_evictions() {
    let (session, api) = session(&[node("a"), owned("web-1", "ReplicaSet")]);
    let mut other = owned("elsewhere", "ReplicaSet");
    other["spec"]["nodeName"] = "b".into();
    let text = said(&session, &["drain", "a", "--grace-period=5"]).await;
    assert_eq!(
        text,
        "node/a cordoned\nevicting pod default/web-1\npod/web-1 evicted\nnode/a drained\n"
    );
    let writes = api.writes();
    assert_eq!(writes[1..], ["evict pods/default/web-1 5s".to_string()]);
    assert_eq!(
        said(&session, &["drain", "a"]).await,
        "node/a already cordoned\nnode/a drained\n"
    );
}

#[tokio::test]
async fn only_pods_of_the_node_with_the_labels_leave() {
    let mut elsewhere = owned("elsewhere", "ReplicaSet");
    elsewhere["spec"]["nodeName"] = "b".into();
    let mut back = owned("back", "ReplicaSet");
    back["metadata"]["labels"]["tier"] = "back".into();
    let objects = [node("a"), owned("front", "ReplicaSet"), back, elsewhere];
    let (session, api) = session(&objects);
    said(&session, &["drain", "a", "--pod-selector=tier=back"]).await;
    let left = |name: &str| api.value(Resource::PODS, name).is_some();
    assert!(!left("back") && left("front") && left("elsewhere"));
    assert_eq!(
        refused(&session, &["drain", "a", "--pod-selector=a in"]).await,
        "error: --pod-selector=<pod_selector> must be a valid label selector"
    );
}

#[tokio::test]
async fn nothing_leaves_when_one_pod_must_not() {
    let objects = [
        node("a"),
        owned("fine", "ReplicaSet"),
        pod("alone"),
        pod("lonely"),
        with_data(owned("data", "ReplicaSet")),
        owned("daemon", "DaemonSet"),
    ];
    let (session, api) = session(&objects);
    let (text, outcome) = run(&session, &["drain", "a"]).await;
    assert!(
        text.starts_with("node/a cordoned\nerror: unable to drain node \"a\" due to error: "),
        "{text}"
    );
    assert!(
        text.ends_with("continuing command...\nThere are pending nodes to be drained:\n a\n"),
        "{text}"
    );
    let text = outcome.expect_err("refused").text();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "error: cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): \
             default/daemon",
            "error: cannot delete Pods that declare no controller (use --force to override): \
             default/alone, default/lonely",
            "error: cannot delete Pods with local storage (use --delete-emptydir-data to \
             override): default/data",
        ]
    );
    assert!(api.writes().iter().all(|w| w.starts_with("patch nodes")));
}

#[tokio::test]
async fn what_is_asked_for_leaves_with_a_warning() {
    let objects = [
        node("a"),
        pod("alone"),
        with_data(owned("data", "ReplicaSet")),
        owned("daemon", "DaemonSet"),
    ];
    let (session, api) = session(&objects);
    let line = [
        "drain",
        "a",
        "--force",
        "--ignore-daemonsets",
        "--delete-emptydir-data",
    ];
    let text = said(&session, &line).await;
    assert!(
        text.contains(
            "Warning: deleting Pods that declare no controller: default/alone; ignoring \
             DaemonSet-managed Pods: default/daemon; deleting Pods with local storage: \
             default/data\n"
        ),
        "{text}"
    );
    assert!(text.ends_with("node/a drained\n"), "{text}");
    assert!(api.value(Resource::PODS, "daemon").is_some());
    assert!(api.value(Resource::PODS, "data").is_none());
}

#[tokio::test]
async fn ended_pods_leave_whoever_made_them() {
    let mut ended = with_data(pod("job"));
    ended["status"]["phase"] = "Succeeded".into();
    let mut mirror = pod("mirror");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let (session, api) = session(&[node("a"), ended, mirror]);
    let text = said(&session, &["drain", "a"]).await;
    assert!(text.contains("pod/job evicted\n"), "{text}");
    assert!(api.value(Resource::PODS, "mirror").is_some());
}

#[tokio::test]
async fn pods_are_deleted_when_evictions_are_not_wanted() {
    let (session, api) = session(&[node("a"), owned("web-1", "ReplicaSet")]);
    let text = said(&session, &["drain", "a", "--disable-eviction"]).await;
    assert_eq!(text, "node/a cordoned\npod/web-1 deleted\nnode/a drained\n");
    assert_eq!(api.writes()[1], "delete pods/default/web-1");
}

#[tokio::test]
async fn dry_runs_only_tell() {
    let (session, api) = session(&[node("a"), owned("web-1", "ReplicaSet")]);
    assert_eq!(
        said(&session, &["drain", "a", "--dry-run"]).await,
        "node/a cordoned (dry run)\nevicting pod default/web-1 (dry run)\nnode/a drained (dry \
         run)\n"
    );
    assert!(api.writes().is_empty());
    assert_eq!(
        said(&session, &["drain", "a", "--dry-run=server"]).await,
        "node/a cordoned (server dry run)\nevicting pod default/web-1 (server dry run)\nnode/a \
         drained (server dry run)\n"
    );
    assert_eq!(api.writes()[1], "evict pods/default/web-1 (dry run)");
    assert!(api.value(Resource::PODS, "web-1").is_some());
}

#[tokio::test]
async fn pods_that_are_long_gone_are_not_waited_for() {
    let mut stuck = owned("stuck", "ReplicaSet");
    stuck["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    let (session, api) = session(&[node("a"), stuck]);
    let line = ["drain", "a", "--skip-wait-for-delete-timeout=60"];
    assert_eq!(
        said(&session, &line).await,
        "node/a cordoned\nnode/a drained\n"
    );
    assert!(api.value(Resource::PODS, "stuck").is_some());
}

#[tokio::test]
async fn taints_are_given_changed_and_taken() {
    let (session, api) = session(&[node("a"), node("b")]);
    let taints = |name: &str| {
        let node = api.value(Resource::NODES, name).expect("there");
        node["spec"]["taints"].clone()
    };
    assert_eq!(
        said(
            &session,
            &["taint", "nodes", "a", "b", "gpu=yes:NoSchedule"]
        )
        .await,
        "node/a tainted\nnode/b tainted\n"
    );
    assert_eq!(
        taints("a"),
        json!([{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])
    );
    assert_eq!(
        refused(&session, &["taint", "no", "a", "gpu=no:NoSchedule"]).await,
        "error: node a already has gpu taint(s) with same effect(s) and --overwrite is false"
    );
    let line = ["taint", "node", "a", "gpu=no:NoSchedule", "--overwrite"];
    assert_eq!(said(&session, &line).await, "node/a modified\n");
    assert_eq!(taints("a")[0]["value"], "no");
    assert_eq!(
        said(&session, &["taint", "nodes", "-l", "rack=b", "gpu-"]).await,
        "node/b untainted\n"
    );
    assert_eq!(taints("b"), Value::Null);
    let line = ["taint", "nodes", "--all", "x:NoExecute", "--dry-run"];
    assert_eq!(
        said(&session, &line).await,
        "node/a tainted (dry run)\nnode/b tainted (dry run)\n"
    );
    assert_eq!(taints("b"), Value::Null);
    assert_eq!(
        refused(&session, &["taint", "nodes", "b", "gpu:NoSchedule-"]).await,
        "error: taint \"gpu:NoSchedule\" not found"
    );
}

#[tokio::test]
async fn only_nodes_are_tainted() {
    let (session, _) = session(&[node("a"), pod("web-1")]);
    for (line, why) in [
        (
            &["taint", "pods", "web-1", "a:NoSchedule"][..],
            "error: invalid resource type pods, only node types are supported",
        ),
        (
            &["taint", "nodes", "a:NoSchedule"],
            "error: at least one resource name must be specified since 'all' parameter is not set",
        ),
        (
            &["taint", "nodes", "--all", "-l", "a=b", "a:NoSchedule"],
            "error: setting 'all' parameter with a non empty selector is prohibited",
        ),
        (
            &["taint", "nodes", "a"],
            "error: at least one taint update is required",
        ),
        (
            &["taint", "nodes", "a", "a:Never"],
            "error: invalid taint effect: Never, unsupported taint effect",
        ),
    ] {
        assert_eq!(refused(&session, line).await, why, "{line:?}");
    }
}
