//! Clients that send what no client should.

use super::{Recorder, admin, arrived, ask, client, connect};
use crate::body::MAX_BODY_BYTES;
use crate::limits::{HEADER_LIMIT, MAX_HEADERS};
use http::StatusCode;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends bytes and reads what comes until the server closes.
async fn talk(recorder: &Arc<Recorder>, bytes: &[u8]) -> String {
    let mut stream = connect(recorder, arrived(Some(admin()), false));
    // The server may close before it has taken everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(start_paused = true)]
async fn garbage_and_half_requests_end_their_own_connection_alone() {
    let recorder = Arc::new(Recorder::default());
    let answer = talk(&recorder, b"\x00\xff\x13 this is no HTTP\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") || answer.is_empty(),
        "{answer}"
    );
    // The clock is driven by the test: the limit passes at once.
    let answer = talk(&recorder, b"GET /api/v1/pods HTTP/1.1\r\nHost: a\r\n").await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
        "{answer}"
    );
    assert!(HEADER_LIMIT.as_secs() > 0);
    assert_eq!(recorder.reached(), 0);
    let mut other = client(connect(&recorder, arrived(Some(admin()), false))).await;
    let good = ask(&mut other, "GET", "/api/v1/pods", &[], "").await;
    assert_eq!(good.status, StatusCode::OK);
}

#[tokio::test]
async fn too_many_and_too_large_headers_are_refused() {
    let recorder = Arc::new(Recorder::default());
    let mut request = b"GET /api HTTP/1.1\r\nHost: a\r\n".to_vec();
    for number in 0..MAX_HEADERS * 40 {
        request.extend_from_slice(format!("x-{number}: y\r\n").as_bytes());
    }
    let answer = talk(&recorder, &request).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let mut request = b"GET /api HTTP/1.1\r\nHost: a\r\nx: ".to_vec();
    request.resize(request.len() + (1 << 20), b'y');
    let answer = talk(&recorder, &request).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() {
    let recorder = Arc::new(Recorder::default());
    let path = "/api/v1/namespaces/default/configmaps";
    let said = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 10485760\r\n\r\n{{"
    );
    let answer = talk(&recorder, said.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(
        answer.contains("\"reason\":\"RequestEntityTooLarge\""),
        "{answer}"
    );
    let mut chunked = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for _ in 0..=MAX_BODY_BYTES >> 16 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.resize(chunked.len() + (64 << 10), b' ');
        chunked.extend_from_slice(b"\r\n");
    }
    let answer = talk(&recorder, &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(recorder.reached(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let recorder = Arc::new(Recorder::default());
    let request = b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: a\r\n\
        Connection: close\r\nContent-Length: 100\r\n\r\n{";
    let answer = talk(&recorder, request).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(answer.contains("did not come in time"), "{answer}");
    assert_eq!(recorder.reached(), 0);
}

#[tokio::test]
async fn what_is_not_served_is_said_in_a_status() {
    let recorder = Arc::new(Recorder::default());
    let mut client = client(connect(&recorder, arrived(Some(admin()), false))).await;
    let path = "/api/v1/namespaces/default/configmaps";
    for (method, path, code, reason) in [
        ("GET", "/nonsense", 404, "NotFound"),
        ("GET", "/api/v2/pods", 404, "NotFound"),
        ("GET", "/api/v1/nonsense", 404, "NotFound"),
        ("GET", "/api/v1/nodes/n/nonsense", 404, "NotFound"),
        ("POST", "/version", 405, "MethodNotAllowed"),
        ("PUT", path, 405, "MethodNotAllowed"),
        ("BREW", path, 405, "MethodNotAllowed"),
        ("DELETE", "/api/v1/namespaces", 405, "MethodNotAllowed"),
        ("POST", "/api/v1/configmaps", 405, "MethodNotAllowed"),
    ] {
        let answer = ask(&mut client, method, path, &[], "{}").await;
        assert_eq!(answer.status.as_u16(), code, "{method} {path}");
        assert_eq!(answer.json()["reason"], reason, "{method} {path}");
    }
    let patch = format!("{path}/settings");
    let typed = [("content-type", "application/x-nonsense")];
    let answer = ask(&mut client, "PATCH", &patch, &typed, "{}").await;
    assert_eq!(answer.json()["reason"], "UnsupportedMediaType");
    assert_eq!(recorder.reached(), 0);
}
