use super::*;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(5);

/// A server that answers each connection with the next text, and keeps what it was asked.
async fn server(answers: &[&str]) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let answers: Vec<String> = answers
        .iter()
        .map(|a| a.replace("PORT", &port.to_string()))
        .collect();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = asked.clone();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut held = Vec::new();
            while end_of_head(&held).is_none() {
                assert_ne!(stream.read_buf(&mut held).await.expect("a request"), 0);
            }
            let text = String::from_utf8(held).expect("text");
            kept.lock().expect("a lock").push(text);
            stream.write_all(answer.as_bytes()).await.expect("written");
        }
    });
    (port, asked)
}

fn wanted(port: u16) -> HttpGet {
    HttpGet {
        tls: false,
        host: "127.0.0.1".to_string(),
        port,
        path: "/ready?x=1".to_string(),
        headers: Vec::new(),
    }
}

#[tokio::test]
async fn answers_up_to_399_are_a_success() {
    for (answer, outcome) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            Outcome::Success,
        ),
        ("HTTP/1.0 204 No Content\r\n\r\n", Outcome::Success),
        ("HTTP/1.1 304 Not Modified\r\n\r\n", Outcome::Success),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            Outcome::Success,
        ),
        (
            "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
            Outcome::Failure("HTTP probe failed with statuscode: 503".to_string()),
        ),
    ] {
        let (port, _) = server(&[answer]).await;
        assert_eq!(probe(&wanted(port), LIMIT).await, outcome, "{answer:?}");
    }
}

#[tokio::test]
async fn the_request_is_the_probers_unless_the_manifest_says_otherwise() {
    let (port, asked) = server(&["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"]).await;
    probe(&wanted(port), LIMIT).await;
    let mut own = wanted(port);
    for (name, value) in [
        ("host", "web"),
        ("User-Agent", "me"),
        ("Accept", ""),
        ("X-A", "1"),
    ] {
        own.headers.push((name.to_string(), value.to_string()));
    }
    probe(&own, LIMIT).await;
    let asked = asked.lock().expect("a lock").clone();
    let plain = format!(
        "GET /ready?x=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: kube-probe/1.37\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(asked[0], plain);
    let text = "GET /ready?x=1 HTTP/1.1\r\nHost: web\r\nUser-Agent: me\r\nX-A: 1\r\n\
                Connection: close\r\n\r\n";
    assert_eq!(asked[1], text);
    own.headers
        .push(("X-B".to_string(), "1\r\nX-C: 2".to_string()));
    assert!(own.request().is_err());
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_host_only() {
    let there = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:PORT/other\r\n\r\n";
    let (port, asked) = server(&[there, "HTTP/1.1 500 No\r\n\r\n"]).await;
    let failed = Outcome::Failure("HTTP probe failed with statuscode: 500".to_string());
    assert_eq!(probe(&wanted(port), LIMIT).await, failed);
    assert!(asked.lock().expect("a lock")[1].starts_with("GET /other HTTP/1.1\r\n"));
    let away =
        "HTTP/1.1 301 Moved\r\nLocation: https://example.com/\r\nContent-Length: 4\r\n\r\naway";
    let (port, _) = server(&[away]).await;
    let warning = "Probe terminated redirects, Response body: away".to_string();
    assert_eq!(probe(&wanted(port), LIMIT).await, Outcome::Warning(warning));
    let (port, _) = server(&["HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n"; 11]).await;
    let Outcome::Failure(text) = probe(&wanted(port), LIMIT).await else {
        panic!("it fails");
    };
    assert!(text.ends_with("stopped after 10 redirects"), "{text}");
}

#[tokio::test]
async fn what_does_not_answer_fails_and_says_why() {
    let (port, _) = server(&["SSH-2.0\r\n\r\n", ""]).await;
    let text = format!("Get \"http://127.0.0.1:{port}/ready?x=1\": ");
    let malformed = format!("{text}malformed HTTP response \"SSH-2.0\"");
    assert_eq!(
        probe(&wanted(port), LIMIT).await,
        Outcome::Failure(malformed)
    );
    let ended = Outcome::Failure(format!("{text}EOF"));
    assert_eq!(probe(&wanted(port), LIMIT).await, ended);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let Outcome::Failure(text) = probe(&wanted(port), Duration::from_millis(50)).await else {
        panic!("it fails");
    };
    assert!(text.contains("context deadline exceeded"), "{text}");
}

#[test]
fn locations_may_be_relative() {
    let from = wanted(80);
    for (location, url) in [
        ("/a?b", "http://127.0.0.1:80/a?b"),
        ("c", "http://127.0.0.1:80/c"),
        ("//127.0.0.1:81/d", "http://127.0.0.1:81/d"),
        ("https://[::1]/e", "https://[::1]:443/e"),
        ("http://web", "http://web:80/"),
    ] {
        assert_eq!(
            location::resolve(&from, location).expect("it reads").url(),
            url
        );
    }
    assert!(location::resolve(&from, "http://a:b/").is_err());
    assert!(location::resolve(&from, "ftp://a/").is_err());
}
