mod handed;
mod hostile;
mod recorder;
mod several;
mod usage;
mod walk;
mod watches;

use super::{Arrived, Server};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kabuki_model::identity::{GROUP_MASTERS, Identity};
use recorder::Recorder;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::DuplexStream;

/// How one comes in.
fn arrived(certificate: Option<Identity>, bad_certificate: bool) -> Arrived {
    Arrived {
        peer: SocketAddr::from(([10, 0, 0, 9], 40000)),
        certificate,
        certificate_ends_s: i64::MAX,
        bad_certificate,
        http2: false,
    }
}

fn admin() -> Identity {
    Identity::new("ann", [GROUP_MASTERS.to_string()])
}

/// A server over a recorder, and a connection to it.
fn connect(recorder: &Arc<Recorder>, arrived: Arrived) -> DuplexStream {
    let server = Server::new(recorder.clone());
    let (near, far) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move { server.serve(far, arrived).await });
    near
}

async fn client(stream: DuplexStream) -> SendRequest<Full<Bytes>> {
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("a connection");
    tokio::spawn(connection);
    sender
}

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

async fn ask(
    client: &mut SendRequest<Full<Bytes>>,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answered {
    let mut request = http::Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "kabuki");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).expect("a request");
    client.ready().await.expect("the server listens");
    let response = client.send_request(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    Answered {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.expect("a body").to_bytes(),
    }
}

#[tokio::test]
async fn both_versions_of_http_give_the_same_answer() {
    let recorder = Arc::new(Recorder::default());
    let mut first = client(connect(&recorder, arrived(Some(admin()), false))).await;
    let old = ask(&mut first, "GET", "/api/v1", &[], "").await;
    let mut arrived = arrived(Some(admin()), false);
    arrived.http2 = true;
    let stream = TokioIo::new(connect(&recorder, arrived));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .expect("a connection");
    tokio::spawn(connection);
    let request = http::Request::get("https://kabuki/api/v1").body(Full::new(Bytes::new()));
    let answer = sender.send_request(request.expect("a request")).await;
    let body = answer.expect("an answer").into_body().collect().await;
    assert_eq!(body.expect("a body").to_bytes(), old.body);
    assert_eq!(old.json()["kind"], "APIResourceList");
}

#[tokio::test]
async fn discovery_is_not_sent_again_to_who_has_it() {
    let recorder = Arc::new(Recorder::default());
    let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
    for path in ["/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1"] {
        let first = ask(&mut client, "GET", path, &[], "").await;
        let tag = first.headers["etag"].to_str().expect("text");
        let again = ask(&mut client, "GET", path, &[("if-none-match", tag)], "").await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path}");
        assert!(again.body.is_empty());
    }
}

#[tokio::test]
async fn an_ended_certificate_ends_what_may_be_asked_on_a_connection_that_lives() {
    let recorder = Arc::new(Recorder::default());
    let mut arrived = arrived(Some(admin()), false);
    arrived.certificate_ends_s = 1;
    let mut client = client(connect(&recorder, arrived)).await;
    let refused = ask(&mut client, "GET", "/api/v1/pods", &[], "").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(recorder.reached(), 0);
}
