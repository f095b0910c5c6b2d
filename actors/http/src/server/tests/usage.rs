//! Figures of nodes and pods.

use super::recorder::object;
use super::{Recorder, admin, arrived, ask, client, connect};
use crate::representation::json_of_protobuf;
use http::StatusCode;
use kabuki_model::Stored;
use kabuki_protocol::node::{ContainerMetrics, NodeMetrics, PodMetrics, Usage};
use serde_json::{Value, json};
use std::sync::Arc;

const ROOT: &str = "/apis/metrics.k8s.io/v1beta1";

fn node(name: &str) -> Arc<Stored> {
    let value = json!({"metadata": {"name": name, "uid": name, "labels": {"zone": "z"}}});
    object("nodes", "Node", 5, value)
}

fn pod(name: &str, node: &str) -> Arc<Stored> {
    let value = json!({
        "metadata": {"name": name, "namespace": "shop", "uid": name},
        "spec": {"nodeName": node, "containers": []},
    });
    object("pods", "Pod", 6, value)
}

fn used(cpu_nanocores: u64, kibibytes: u64) -> Usage {
    Usage {
        cpu_nanocores,
        memory_working_set_bytes: kibibytes << 10,
        ..Usage::default()
    }
}

/// Two nodes, of which one answers, with a pod each.
fn world() -> Arc<Recorder> {
    let recorder = Arc::new(Recorder::default());
    let (quiet, deaf) = (pod("web", "a"), pod("db", "b"));
    recorder.hold(vec![node("a"), node("b"), quiet, deaf]);
    let container = |name: &str, usage| ContainerMetrics {
        name: name.to_string(),
        usage,
    };
    recorder.measure(NodeMetrics {
        node: "a".to_string(),
        at_ms: 1_767_225_600_000,
        usage: used(500, 2048),
        pods: vec![PodMetrics {
            namespace: "shop".to_string(),
            name: "web".to_string(),
            uid: "web".to_string(),
            usage: used(300, 40),
            containers: vec![container("c", used(100, 10)), container("d", used(150, 20))],
            ..PodMetrics::default()
        }],
        ..NodeMetrics::default()
    });
    recorder
}

async fn get(recorder: &Arc<Recorder>, path: &str, accept: &str) -> (StatusCode, Value) {
    let mut client = client(connect(recorder, arrived(Some(admin()), false))).await;
    let path = format!("{ROOT}/{path}");
    let answer = ask(&mut client, "GET", &path, &[("accept", accept)], "").await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn figures_are_those_of_the_nodes_that_answer() {
    let recorder = world();
    let (_, nodes) = get(&recorder, "nodes", "application/json").await;
    let own = json!({
        "metadata": {
            "name": "a", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"zone": "z"},
        },
        "timestamp": "2026-01-01T00:00:00Z", "window": "10s",
        "usage": {"cpu": "500n", "memory": "2Mi"},
    });
    let list = json!({
        "kind": "NodeMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {},
        "items": [own],
    });
    assert_eq!(nodes, list);
    let (_, pods) = get(&recorder, "namespaces/shop/pods", "application/json").await;
    let containers = json!([
        {"name": "c", "usage": {"cpu": "100n", "memory": "10Ki"}},
        {"name": "d", "usage": {"cpu": "150n", "memory": "20Ki"}},
    ]);
    assert_eq!(pods["items"][0]["containers"], containers);
    assert_eq!(pods["items"].as_array().map(Vec::len), Some(1));
    let (_, everywhere) = get(&recorder, "pods", "*/*").await;
    assert_eq!(everywhere, pods);
}

#[tokio::test]
async fn figures_have_a_form_in_protobuf() {
    let recorder = world();
    for path in ["nodes/a", "pods", "namespaces/shop/pods/web"] {
        let (_, mut plain) = get(&recorder, path, "application/json").await;
        let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
        let path = format!("{ROOT}/{path}");
        let accept = "application/vnd.kubernetes.protobuf,application/json";
        let answer = ask(&mut client, "GET", &path, &[("accept", accept)], "").await;
        let given = answer.headers.get("content-type").map(|v| v.as_bytes());
        assert_eq!(given, Some(&b"application/vnd.kubernetes.protobuf"[..]));
        let read = json_of_protobuf(&answer.body).expect("protobuf");
        // In protobuf, nothing and an empty structure are the same.
        let fields = plain.as_object_mut().expect("an object");
        fields.retain(|_, value| *value != json!({}));
        let mut read = read;
        let fields = read.as_object_mut().expect("an object");
        fields.retain(|_, value| *value != json!({}));
        assert_eq!(read, plain, "{path}");
    }
}

#[tokio::test]
async fn figures_are_shown_as_a_table() {
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let (_, pods) = get(&world(), "pods", table).await;
    let names = pods["columnDefinitions"]
        .as_array()
        .expect("columns")
        .iter();
    let names: Vec<&str> = names.filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(names, ["Name", "cpu", "memory", "Window"]);
    assert_eq!(
        pods["rows"][0]["cells"],
        json!(["web", "250n", "30Ki", "10s"])
    );
    assert_eq!(pods["rows"][0]["object"]["metadata"]["namespace"], "shop");
}

#[tokio::test]
async fn one_without_figures_is_not_found_and_nothing_is_written() {
    let recorder = world();
    let (code, one) = get(&recorder, "namespaces/shop/pods/web", "*/*").await;
    assert_eq!((code, &one["kind"]), (StatusCode::OK, &json!("PodMetrics")));
    let other = Arc::new(Recorder::default());
    other.hold(vec![node("b")]);
    let (code, status) = get(&other, "nodes/b", "*/*").await;
    assert_eq!(code, StatusCode::NOT_FOUND);
    assert_eq!(status["message"], "nodes.metrics.k8s.io \"b\" not found");
    let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
    let path = format!("{ROOT}/nodes/a");
    for method in ["PUT", "DELETE", "POST", "PATCH"] {
        let refused = ask(&mut client, method, &path, &[], "{}").await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    let path = format!("{ROOT}/nodes?watch=1");
    let refused = ask(&mut client, "GET", &path, &[], "").await;
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
}
