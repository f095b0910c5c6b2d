//! One kind in several groups and versions, and the parts of pods.

use super::recorder::object;
use super::{Recorder, admin, arrived, ask, client, connect};
use http::StatusCode;
use kabuki_model::request::{PatchType, Request, Subresource};
use kabuki_model::watch::WatchEvent;
use serde_json::{Value, json};
use std::sync::Arc;

const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";

fn event() -> Arc<kabuki_model::Stored> {
    let value = json!({
        "metadata": {"name": "web.1", "namespace": "shop", "uid": "u"},
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "shop"},
        "reason": "Pulled", "message": "pulled it", "type": "Normal", "count": 3,
        "lastTimestamp": "2026-01-01T00:00:00Z",
    });
    object("events", "Event", 5, value)
}

#[tokio::test]
async fn events_are_read_in_both_their_groups() {
    let recorder = Arc::new(Recorder::default());
    recorder.hold(vec![event()]);
    let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
    let one = ask(&mut client, "GET", &format!("{EVENTS}/web.1"), &[], "").await;
    let expected = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": "web.1", "namespace": "shop", "uid": "u", "resourceVersion": "5"},
        "regarding": {"kind": "Pod", "name": "web", "namespace": "shop"},
        "reason": "Pulled", "note": "pulled it", "type": "Normal", "deprecatedCount": 3,
        "deprecatedLastTimestamp": "2026-01-01T00:00:00Z",
    });
    assert_eq!(one.json(), expected);
    let list = ask(&mut client, "GET", EVENTS, &[], "").await.json();
    assert_eq!(list["kind"], "EventList");
    assert_eq!(list["apiVersion"], "events.k8s.io/v1");
    assert_eq!(list["items"][0]["note"], "pulled it");
    let core = "/api/v1/namespaces/shop/events/web.1";
    let core = ask(&mut client, "GET", core, &[], "").await.json();
    assert_eq!(core["message"], "pulled it");
    let protobuf = [("accept", "application/vnd.kubernetes.protobuf")];
    let path = format!("{EVENTS}/web.1");
    let bytes = ask(&mut client, "GET", &path, &protobuf, "").await.body;
    let decoded = crate::representation::json_of_protobuf(&bytes).expect("a message");
    assert_eq!(decoded["note"], "pulled it");
}

#[tokio::test]
async fn the_table_of_events_is_the_same_in_both_groups() {
    let recorder = Arc::new(Recorder::default());
    recorder.hold(vec![event()]);
    let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let here = format!("{EVENTS}?includeObject=Object");
    let here = ask(&mut client, "GET", &here, &table, "").await.json();
    let core = "/api/v1/namespaces/shop/events?includeObject=Object";
    let core = ask(&mut client, "GET", core, &table, "").await.json();
    assert_eq!(here["columnDefinitions"], core["columnDefinitions"]);
    let cells = |table: &Value| table["rows"][0]["cells"].clone();
    assert_eq!(cells(&here)[3], "pod/web");
    assert_eq!(cells(&here)[6], cells(&core)[6]);
    assert_eq!(here["rows"][0]["object"]["note"], "pulled it");
    assert_eq!(core["rows"][0]["object"]["message"], "pulled it");
}

#[tokio::test]
async fn writes_and_selectors_say_in_which_group_they_are() {
    let recorder = Arc::new(Recorder::default());
    let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
    let path = format!("{EVENTS}?fieldSelector=regarding.name%3Dweb");
    ask(&mut client, "GET", &path, &[], "").await;
    match recorder.last() {
        Request::List(list) => assert_eq!(list.fields, "involvedObject.name=web"),
        other => panic!("{other:?}"),
    }
    let path = format!("{EVENTS}?fieldSelector=involvedObject.name%3Dweb");
    let refused = ask(&mut client, "GET", &path, &[], "").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    ask(&mut client, "POST", EVENTS, &[], "{}").await;
    match recorder.last() {
        Request::Create { options, .. } => assert_eq!(options.api_version, "events.k8s.io/v1"),
        other => panic!("{other:?}"),
    }
    let core = "/api/v1/namespaces/shop/events/web.1";
    let merge = [("content-type", "application/merge-patch+json")];
    ask(&mut client, "PATCH", core, &merge, "{}").await;
    match recorder.last() {
        Request::Patch { options, .. } => assert_eq!(options.api_version, "v1"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_watch_shows_events_in_its_own_group() {
    let recorder = Arc::new(Recorder::default());
    let mut sender = client(connect(&recorder, arrived(Some(admin()), false))).await;
    let path = format!("{EVENTS}?watch=1&resourceVersion=4");
    let request = http::Request::get(path).header("host", "kabuki");
    let request = request.body(http_body_util::Full::new(bytes::Bytes::new()));
    let answer = sender.send_request(request.expect("a request")).await;
    let mut body = answer.expect("an answer").into_body();
    let (_, events) = recorder.watches().pop().expect("a watch");
    let told = events.send(Ok(WatchEvent::Added(event()))).await;
    told.expect("somebody watches");
    let frame = http_body_util::BodyExt::frame(&mut body).await;
    let bytes = frame.expect("a frame").expect("no error").into_data();
    let value: Value = serde_json::from_slice(&bytes.expect("data")).expect("JSON");
    assert_eq!(value["object"]["apiVersion"], "events.k8s.io/v1");
    assert_eq!(value["object"]["regarding"]["name"], "web");
}

#[tokio::test]
async fn parts_of_pods_are_requests_on_that_part() {
    let recorder = Arc::new(Recorder::default());
    let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
    let parts = [
        ("ephemeralcontainers", Subresource::EphemeralContainers),
        ("resize", Subresource::Resize),
        ("status", Subresource::Status),
    ];
    for (name, part) in parts {
        let path = format!("/api/v1/namespaces/default/pods/web/{name}");
        let got = ask(&mut client, "GET", &path, &[], "").await;
        assert_eq!(got.status, StatusCode::OK);
        match recorder.last() {
            Request::Get { subresource, .. } => assert_eq!(subresource, Some(part)),
            other => panic!("{other:?}"),
        }
        ask(&mut client, "PUT", &path, &[], "{}").await;
        match recorder.last() {
            Request::Update { subresource, .. } => assert_eq!(subresource, Some(part)),
            other => panic!("{other:?}"),
        }
        let strategic = [("content-type", "application/strategic-merge-patch+json")];
        ask(&mut client, "PATCH", &path, &strategic, "{}").await;
        match recorder.last() {
            Request::Patch {
                subresource,
                patch_type,
                ..
            } => assert_eq!(
                (subresource, patch_type),
                (Some(part), PatchType::Strategic)
            ),
            other => panic!("{other:?}"),
        }
        let refused = ask(&mut client, "POST", &path, &[], "{}").await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{name}");
    }
}
