//! What is handed on to nodes and pods: the proxies, and streams of logs; and OpenAPI's forms.

use super::recorder::object;
use super::{Recorder, admin, arrived, ask, client, connect};
use bytes::Bytes;
use http::StatusCode;
use kabuki_model::StatusError;
use kabuki_model::request::Request;
use kabuki_model::status::Reason;
use kabuki_protocol::node::{
    FromNode, LogStream, NodeMetrics, NodeRequest, Outcome, ToNode, Usage,
};
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn world() -> Arc<Recorder> {
    let recorder = Arc::new(Recorder::default());
    let node = json!({"metadata": {"name": "a", "uid": "a"}});
    let pod = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "w"},
        "spec": {"nodeName": "a", "containers": [{"name": "c", "ports": [{"containerPort": 80}]}]},
    });
    recorder.hold(vec![
        object("nodes", "Node", 3, node),
        object("pods", "Pod", 4, pod),
    ]);
    recorder.measure(NodeMetrics {
        node: "a".to_string(),
        usage: Usage {
            cpu_ns: 2_000_000_000,
            ..Usage::default()
        },
        ..NodeMetrics::default()
    });
    recorder
}

#[tokio::test]
async fn a_node_serves_what_a_kubelet_serves() {
    let recorder = world();
    let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
    let root = "/api/v1/nodes/a/proxy";
    let text = |answer: &super::Answered| String::from_utf8_lossy(&answer.body).to_string();
    let healthy = ask(&mut client, "GET", &format!("{root}/healthz"), &[], "").await;
    assert_eq!(text(&healthy), "ok");
    for path in ["metrics", "metrics/resource"] {
        let metrics = ask(&mut client, "GET", &format!("{root}/{path}"), &[], "").await;
        assert!(text(&metrics).contains("\nnode_cpu_usage_seconds_total 2\n"));
    }
    let summary = ask(
        &mut client,
        "GET",
        &format!("{root}/stats/summary"),
        &[],
        "",
    )
    .await;
    assert_eq!(summary.json()["node"]["nodeName"], "a");
    let pods = ask(&mut client, "GET", &format!("{root}/pods"), &[], "").await;
    assert_eq!(pods.json()["items"][0]["metadata"]["name"], "web");
    match recorder.last() {
        Request::List(list) => assert_eq!(list.fields, "spec.nodeName=a"),
        other => panic!("{other:?}"),
    }
    for path in ["checkpoint", "exec/shop/web/c", "run/shop/web/c", ""] {
        let refused = ask(&mut client, "GET", &format!("{root}/{path}"), &[], "").await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{path}");
        let message = refused.json()["message"].to_string();
        assert!(message.contains("it serves healthz"), "{message}");
    }
    let written = ask(&mut client, "POST", &format!("{root}/healthz"), &[], "").await;
    assert_eq!(written.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_node_says_how_it_is_set_up() {
    let recorder = world();
    let mut opened = recorder.listen();
    let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
    let path = "/api/v1/nodes/a/proxy/configz";
    for said in [Ok("{\"kubeletconfig\":{}}"), Err(StatusCode::FORBIDDEN)] {
        let answering = ask(&mut client, "GET", path, &[], "");
        let node = async {
            let (request, _input, output) = opened.recv().await.expect("a stream");
            assert_eq!(request, NodeRequest::Settings);
            let chunk = match said {
                Ok(settings) => FromNode::Settings(settings.to_string()),
                Err(_) => FromNode::Done(Err(StatusError::new(Reason::Forbidden, "no"))),
            };
            output.send(chunk).await.expect("somebody reads");
        };
        let (answer, ()) = tokio::join!(answering, node);
        match said {
            Ok(settings) => assert_eq!(answer.body, settings),
            Err(code) => assert_eq!(answer.status, code),
        }
    }
}

#[tokio::test]
async fn one_stream_of_a_log_is_asked_for_alone() {
    let recorder = world();
    let mut opened = recorder.listen();
    let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
    let cases = [
        (
            "/api/v1/namespaces/shop/pods/web/log?container=c&stream=Stderr",
            LogStream::Stderr,
        ),
        (
            "/api/v1/nodes/a/proxy/containerLogs/shop/web/c?stream=Stdout",
            LogStream::Stdout,
        ),
        (
            "/api/v1/namespaces/shop/pods/web/log?container=c&stream=All&tailLines=1",
            LogStream::All,
        ),
    ];
    for (path, stream) in cases {
        let answering = ask(&mut client, "GET", path, &[], "");
        let node = async {
            let (request, _input, output) = opened.recv().await.expect("a stream");
            match request {
                NodeRequest::Logs(log) => {
                    assert_eq!((log.stream, &*log.container), (stream, "c"));
                    assert_eq!((&*log.pod.namespace, &*log.pod.name), ("shop", "web"));
                }
                other => panic!("{other:?}"),
            }
            let said = FromNode::Output(Bytes::from_static(b"line\n"));
            output.send(said).await.expect("somebody reads");
            let done = FromNode::Done(Ok(Outcome::Complete));
            output.send(done).await.expect("somebody reads");
        };
        let (answer, ()) = tokio::join!(answering, node);
        assert_eq!(answer.body, "line\n", "{path}");
    }
    for query in ["stream=Stdin", "stream=Stdout&tailLines=3"] {
        let path = format!("/api/v1/namespaces/shop/pods/web/log?{query}");
        let refused = ask(&mut client, "GET", &path, &[], "").await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
}

#[tokio::test]
async fn a_proxied_connection_changes_its_protocol() {
    let recorder = world();
    let mut opened = recorder.listen();
    let mut stream = connect(&recorder, arrived(Some(admin()), false));
    let request = "GET /api/v1/namespaces/shop/pods/web:80/proxy/chat?a=b HTTP/1.1\r\nhost: k\r\n\
                   connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\
                   authorization: Bearer secret\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let (asked, mut input, output) = opened.recv().await.expect("a stream");
    assert!(matches!(asked, NodeRequest::PortForward { port: 80, .. }));
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match input.recv().await.expect("a request") {
            ToNode::Input(bytes) => head.extend_from_slice(&bytes),
            other => panic!("{other:?}"),
        }
    }
    let head = String::from_utf8(head).expect("text").to_lowercase();
    assert!(head.starts_with("get /chat?a=b http/1.1\r\n"), "{head}");
    assert!(head.contains("upgrade: websocket") && head.contains("sec-websocket-key: x"));
    assert!(!head.contains("secret"), "credentials stay here");
    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                  \r\nfrom the pod";
    let said = FromNode::Output(Bytes::from_static(answer.as_bytes()));
    output.send(said).await.expect("somebody reads");
    let mut got = Vec::new();
    while !got.ends_with(b"from the pod") {
        let read = stream.read_buf(&mut got).await.expect("bytes");
        assert!(read > 0, "{}", String::from_utf8_lossy(&got));
    }
    assert!(got.starts_with(b"HTTP/1.1 101"));
    stream.write_all(b"from the client").await.expect("sent");
    match input.recv().await.expect("bytes") {
        ToNode::Input(bytes) => assert_eq!(bytes, "from the client"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn openapi_comes_as_protobuf_to_who_asks_for_it() {
    let recorder = Arc::new(Recorder::default());
    let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
    let cases = [
        (
            "/openapi/v2",
            "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
            "2.0",
        ),
        (
            "/openapi/v3/apis/metrics.k8s.io/v1beta1",
            "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
            "3.0.0",
        ),
    ];
    for (path, media, version) in cases {
        let accept = format!("{media}, application/json;q=0.5");
        let headers = [("accept", &*accept)];
        let first = ask(&mut client, "GET", path, &headers, "").await;
        assert_eq!(first.headers["content-type"], media);
        // The first field is the version: its number, its length, its text.
        assert_eq!(
            first.body[..2],
            [10, u8::try_from(version.len()).expect("short")]
        );
        assert!(first.body[2..].starts_with(version.as_bytes()));
        let tag = first.headers["etag"].to_str().expect("text");
        let json = ask(&mut client, "GET", path, &[], "").await;
        assert_ne!(json.headers["etag"], tag, "each form has its own tag");
        assert!(json.json().get("paths").is_some());
        let headers = [("accept", &*accept), ("if-none-match", tag)];
        let again = ask(&mut client, "GET", path, &headers, "").await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED);
        let other = [("accept", "text/html")];
        let refused = ask(&mut client, "GET", path, &other, "").await;
        assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE);
    }
}

#[tokio::test]
async fn a_binding_is_tried_without_being_done() {
    let recorder = Arc::new(Recorder::default());
    let pod = |name: &str, node: Option<&str>| {
        let value = json!({
            "metadata": {"name": name, "namespace": "shop", "uid": "w"},
            "spec": {"nodeName": node, "containers": []},
        });
        object("pods", "Pod", 4, value)
    };
    let node = object(
        "nodes",
        "Node",
        3,
        json!({"metadata": {"name": "a", "uid": "a"}}),
    );
    recorder.hold(vec![pod("web", None), node.clone()]);
    let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
    let path = "/api/v1/namespaces/shop/pods/web/binding?dryRun=All";
    let body = r#"{"target": {"name": "a"}}"#;
    let tried = ask(&mut client, "POST", path, &[], body).await;
    assert_eq!(tried.status, StatusCode::CREATED);
    assert!(
        matches!(recorder.last(), Request::Get { .. }),
        "nothing is bound"
    );
    let other = r#"{"metadata": {"uid": "x"}, "target": {"name": "a"}}"#;
    let refused = ask(&mut client, "POST", path, &[], other).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    recorder.hold(vec![pod("web", Some("b")), node]);
    let refused = ask(&mut client, "POST", path, &[], body).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
}
