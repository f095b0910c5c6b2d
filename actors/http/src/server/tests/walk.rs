//! Every route, by everyone who may not take it.

use super::{Recorder, admin, arrived, ask, client, connect};
use crate::discovery::group_versions;
use crate::served::{self, Part};
use crate::usage::Measured;
use http::StatusCode;
use kabuki_model::identity::Identity;
use kabuki_model::review::ReviewKind;
use std::sync::Arc;

/// Every path that there is, with every method that it takes.
fn routes() -> Vec<(&'static str, String)> {
    let mut routes: Vec<(&str, String)> = [
        "/",
        "/api",
        "/apis",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/livez/ping",
        "/.well-known/openid-configuration",
        "/openid/v1/jwks",
    ]
    .map(|path| ("GET", path.to_string()))
    .into();
    for (group, version) in group_versions() {
        let root = root(group, version);
        routes.push(("GET", root.clone()));
        routes.push(("GET", format!("/openapi/v3{root}")));
    }
    for served in served::all() {
        let root = root(served.group, served.version);
        let plural = served.kind.names.plural;
        let collection = match served.namespaced() {
            true => format!("{root}/namespaces/default/{plural}"),
            false => format!("{root}/{plural}"),
        };
        for path in [collection.clone(), format!("{root}/{plural}")] {
            routes.extend(["GET", "POST", "DELETE"].map(|m| (m, path.clone())));
            routes.push(("GET", format!("{path}?watch=1")));
        }
        routes.push(("GET", format!("{root}/watch/{plural}")));
        for part in [Part::Whole].into_iter().chain(served.parts()) {
            let path = match part {
                Part::Whole => format!("{collection}/x"),
                part => format!("{collection}/x/{}", part.name()),
            };
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                routes.push((method, path.clone()));
            }
        }
    }
    for measured in Measured::ALL {
        let root = root(Measured::GROUP, Measured::VERSION);
        for path in [
            measured.plural().to_string(),
            format!("{}/x", measured.plural()),
        ] {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                routes.push((method, format!("{root}/{path}")));
            }
        }
    }
    for path in [
        "healthz",
        "metrics",
        "pods",
        "stats/summary",
        "containerLogs/a/b/c",
    ] {
        routes.push(("GET", format!("/api/v1/nodes/x/proxy/{path}")));
    }
    for review in ReviewKind::ALL {
        let root = root(review.group(), review.version());
        routes.push(("POST", format!("{root}/{}", review.plural())));
    }
    routes
}

fn root(group: &str, version: &str) -> String {
    match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    }
}

#[tokio::test]
async fn nothing_reaches_the_control_plane_without_good_credentials() {
    let recorder = Arc::new(Recorder::default());
    let token = [("authorization", "Bearer not.a.token")];
    for (bad, headers) in [(false, &[][..]), (true, &[]), (false, &token)] {
        let mut client = client(connect(&recorder, arrived(None, bad))).await;
        for (method, path) in routes() {
            let answer = ask(&mut client, method, &path, headers, "{}").await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
            let status = answer.json();
            assert_eq!(status["kind"], "Status", "{method} {path}");
            assert_eq!(status["reason"], "Unauthorized", "{method} {path}");
        }
    }
    assert_eq!(recorder.reached(), 0);
}

#[tokio::test]
async fn one_who_is_no_administrator_reads_and_writes_nothing() {
    let recorder = Arc::new(Recorder::default());
    let jane = Identity::new("jane", []);
    let mut client = client(connect(&recorder, arrived(Some(jane), false))).await;
    let read_only = |method: &str, path: &str| method == "GET" && !path.contains("/secrets");
    let mut refused = 0;
    for (method, path) in routes() {
        if read_only(method, &path) {
            continue;
        }
        let answer = ask(&mut client, method, &path, &[], "{}").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        let message = answer.json()["message"].to_string();
        assert!(message.contains("User \\\"jane\\\" cannot"), "{message}");
        refused += 1;
    }
    assert!(refused > 50, "{refused}");
    assert_eq!(recorder.reached(), 0);
}

#[tokio::test]
async fn an_administrator_reaches_what_is_served() {
    let recorder = Arc::new(Recorder::default());
    let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
    for (method, path) in routes() {
        // Watches do not end.
        if path.contains("watch") || method != "GET" {
            continue;
        }
        let answer = ask(&mut client, method, &path, &[], "").await;
        let code = answer.status.as_u16();
        assert!(!matches!(code, 401 | 403), "{method} {path}: {code}");
    }
    assert!(recorder.reached() > 0);
}
