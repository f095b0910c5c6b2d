//! What a watch asks for, says, and costs.

use super::recorder::settings;
use super::{Recorder, admin, arrived, ask, client, connect};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use kabuki_model::StatusError;
use kabuki_model::request::Request;
use kabuki_model::watch::{WatchEvent, WatchStart};
use serde_json::Value;
use std::sync::Arc;

const PATH: &str = "/api/v1/namespaces/default/configmaps";

/// Begins a watch and gives its body.
async fn watch(recorder: &Arc<Recorder>, query: &str) -> hyper::body::Incoming {
    let mut client = client(connect(recorder, arrived(Some(admin()), false))).await;
    let uri = format!("{PATH}?watch=true&{query}");
    let request = http::Request::get(uri)
        .header("host", "a")
        .body(Full::new(Bytes::new()));
    let answer = client.send_request(request.expect("a request")).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.into_body()
}

/// The next event of a watch.
async fn next(body: &mut hyper::body::Incoming) -> Option<Value> {
    let frame = body.frame().await?.expect("no failure");
    let data = frame.into_data().expect("data");
    Some(serde_json::from_slice(&data).expect("one event"))
}

#[tokio::test]
async fn a_watch_says_what_happens_and_where_the_initial_list_ends() {
    let recorder = Arc::new(Recorder::default());
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1";
    let mut body = watch(&recorder, query).await;
    let (request, events) = recorder.watches().remove(0);
    assert_eq!(request.start, WatchStart::List);
    let send = async |event| events.send(Ok(event)).await.expect("it watches");
    send(WatchEvent::Added(settings(5, "red"))).await;
    send(WatchEvent::Bookmark {
        revision: 7,
        initial_end: true,
    })
    .await;
    send(WatchEvent::Modified(settings(8, "blue"))).await;
    let first = next(&mut body).await.expect("an event");
    assert_eq!(first["type"], "ADDED");
    assert_eq!(first["object"]["data"]["colour"], "red");
    let mark = next(&mut body).await.expect("a bookmark");
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["kind"], "ConfigMap");
    assert_eq!(mark["object"]["metadata"]["resourceVersion"], "7");
    let marks = &mark["object"]["metadata"]["annotations"];
    assert_eq!(marks["k8s.io/initial-events-end"], "true");
    let change = next(&mut body).await.expect("an event");
    assert_eq!(change["type"], "MODIFIED");
    assert_eq!(change["object"]["metadata"]["resourceVersion"], "8");
    let expired = StatusError::expired("too old resource version: 1 (5)");
    events.send(Err(expired)).await.expect("it watches");
    let last = next(&mut body).await.expect("an error");
    assert_eq!(last["type"], "ERROR");
    assert_eq!(last["object"]["code"], 410);
    assert!(next(&mut body).await.is_none());
}

#[tokio::test]
async fn where_a_watch_begins_follows_from_its_options() {
    for (query, start) in [
        ("", WatchStart::List),
        ("resourceVersion=0", WatchStart::List),
        ("resourceVersion=5", WatchStart::After(5)),
        (
            "resourceVersion=5&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            WatchStart::List,
        ),
        (
            "sendInitialEvents=false&resourceVersionMatch=NotOlderThan",
            WatchStart::After(7),
        ),
    ] {
        let recorder = Arc::new(Recorder::default());
        let _body = watch(&recorder, query).await;
        assert_eq!(recorder.watches()[0].0.start, start, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_it_said_that_it_would() {
    let recorder = Arc::new(Recorder::default());
    let mut body = watch(&recorder, "timeoutSeconds=30&resourceVersion=5").await;
    assert!(next(&mut body).await.is_none());
    assert!(
        recorder.watches()[0].1.is_closed(),
        "nothing is left behind"
    );
}

#[tokio::test]
async fn options_that_contradict_each_other_are_refused() {
    let recorder = Arc::new(Recorder::default());
    let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
    for (query, field) in [
        ("resourceVersionMatch=Exact", "resourceVersionMatch"),
        (
            "resourceVersion=0&resourceVersionMatch=Exact",
            "resourceVersionMatch",
        ),
        (
            "resourceVersion=5&resourceVersionMatch=Roughly",
            "resourceVersionMatch",
        ),
        ("sendInitialEvents=true", "sendInitialEvents"),
        ("watch=1&sendInitialEvents=true", "resourceVersionMatch"),
        ("watch=1&resourceVersionMatch=Exact", "resourceVersionMatch"),
    ] {
        let uri = format!("{PATH}?{query}");
        let refused = ask(&mut client, "GET", &uri, &[], "").await;
        assert_eq!(refused.status.as_u16(), 422, "{query}");
        let status = refused.json();
        assert_eq!(status["details"]["causes"][0]["field"], field, "{query}");
    }
    assert_eq!(recorder.reached(), 0);
}

#[tokio::test]
async fn requests_reach_the_control_plane_as_everyone_sends_them() {
    let recorder = Arc::new(Recorder::default());
    let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
    let agent = [("user-agent", "kubectl/v1.32 (linux)")];
    let object = r#"{"metadata":{"name":"settings"}}"#;
    let query = "?dryRun=All&fieldValidation=Strict";
    let uri = format!("{PATH}{query}");
    let created = ask(&mut client, "POST", &uri, &agent, object).await;
    assert_eq!(created.status.as_u16(), 201);
    let Request::Create { options, .. } = recorder.last() else {
        panic!("{:?}", recorder.last());
    };
    assert!(options.dry_run);
    assert_eq!(options.field_manager, "kubectl");
    let uri = format!("{PATH}/settings?propagationPolicy=Foreground&gracePeriodSeconds=3");
    let deleted = ask(&mut client, "DELETE", &uri, &[], "").await;
    assert_eq!(deleted.json()["status"], "Success");
    assert_eq!(deleted.json()["details"]["kind"], "configmaps");
    let Request::Delete { options, .. } = recorder.last() else {
        panic!("{:?}", recorder.last());
    };
    assert_eq!(options.grace_period_s, Some(3));
    let uri = format!("{PATH}?labelSelector=a%3Db&limit=5");
    let list = ask(&mut client, "GET", &uri, &[], "").await.json();
    assert_eq!(list["kind"], "ConfigMapList");
    assert_eq!(list["metadata"]["resourceVersion"], "7");
    assert_eq!(list["items"][0]["data"]["colour"], "red");
    let Request::List(asked) = recorder.last() else {
        panic!("{:?}", recorder.last());
    };
    assert_eq!((asked.labels.as_str(), asked.limit), ("a=b", 5));
}
