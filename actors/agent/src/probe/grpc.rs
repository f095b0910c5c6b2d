//! One health check (`grpc.health.v1.Health/Check`) over HTTP/2. The two messages have one field
//! each, so they are written and read by hand.

use super::{USER_AGENT, joined, tls, worded};
use bytes::{BufMut, Bytes, BytesMut};
use kabuki_lifecycle::probe::Outcome;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

const OK: &str = "0";
const UNIMPLEMENTED: &str = "12";
/// `HealthCheckResponse.ServingStatus`.
const SERVING: u64 = 1;
/// A health answer is a few bytes.
const MESSAGE_MAX: usize = 4096;

/// What the server answered.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    /// `grpc-status` and `grpc-message`.
    code: String,
    text: String,
    message: Vec<u8>,
}

pub(super) async fn probe(
    host: &str,
    port: u16,
    service: &str,
    with_tls: bool,
    limit: Duration,
) -> Outcome {
    let began = tokio::time::Instant::now();
    let at = joined(host, port);
    let shown = format!("{}s", limit.as_secs());
    let connect = async {
        let stream = TcpStream::connect((host, port)).await?;
        let _ = stream.set_nodelay(true);
        Ok::<_, std::io::Error>(stream)
    };
    let stream = match tokio::time::timeout(limit, connect).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let why = worded(&error);
            let text = format!("error: failed to connect service at {at:?}: {why}");
            return Outcome::Failure(text);
        }
        Err(_) => {
            let text = format!(
                "timeout: failed to connect service {at:?} within {shown}: context deadline exceeded"
            );
            return Outcome::Failure(text);
        }
    };
    let rest = limit.saturating_sub(began.elapsed());
    let asked = tokio::time::timeout(rest, async {
        match with_tls {
            false => ask(stream, &at, "http", service).await,
            true => {
                let stream = tls::connect(stream, host, &[b"h2"]).await;
                ask(stream.map_err(|e| worded(&e))?, &at, "https", service).await
            }
        }
    });
    match asked.await {
        Ok(answer) => judge(answer),
        Err(_) => Outcome::Failure(format!(
            "timeout: health rpc did not complete within {shown}"
        )),
    }
}

fn judge(answer: Result<Answer, String>) -> Outcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => return Outcome::Failure(format!("error: health rpc probe failed: {why}")),
    };
    let said = || format!("rpc error: code = {} desc = {}", answer.code, answer.text);
    match answer.code.as_str() {
        OK => match status(&answer.message) {
            Some(SERVING) => Outcome::Success,
            Some(other) => {
                let name = match other {
                    0 => "UNKNOWN".to_string(),
                    2 => "NOT_SERVING".to_string(),
                    3 => "SERVICE_UNKNOWN".to_string(),
                    other => other.to_string(),
                };
                Outcome::Failure(format!("service unhealthy (responded with {name:?})"))
            }
            None => {
                let why = "error: health rpc probe failed: the answer cannot be read";
                Outcome::Failure(why.to_string())
            }
        },
        UNIMPLEMENTED => Outcome::Failure(format!(
            "error: this server does not implement the grpc health protocol \
             (grpc.health.v1.Health): {}",
            answer.text
        )),
        _ => Outcome::Failure(format!("error: health rpc probe failed: {}", said())),
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    authority: &str,
    scheme: &str,
    service: &str,
) -> Result<Answer, String> {
    let worded = |error: h2::Error| error.to_string();
    let (sender, connection) = h2::client::handshake(stream).await.map_err(worded)?;
    let exchange = async {
        let mut sender = sender.ready().await.map_err(worded)?;
        let request = http::Request::post(format!(
            "{scheme}://{authority}/grpc.health.v1.Health/Check"
        ))
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", USER_AGENT)
        .body(())
        .map_err(|e| e.to_string())?;
        let (response, mut body) = sender.send_request(request, false).map_err(worded)?;
        body.send_data(framed(service), true).map_err(worded)?;
        read(response.await.map_err(worded)?).await
    };
    // The connection moves only while it is asked to.
    tokio::select! {
        answer = exchange => answer,
        ended = connection => Err(match ended {
            Ok(()) => "the connection ended".to_string(),
            Err(error) => error.to_string(),
        }),
    }
}

async fn read(response: http::Response<h2::RecvStream>) -> Result<Answer, String> {
    let (head, mut body) = response.into_parts();
    if head.status != http::StatusCode::OK {
        return Err(format!(
            "unexpected HTTP status code received from server: {}",
            head.status
        ));
    }
    let mut held = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|e| e.to_string())?;
        let _ = body.flow_control().release_capacity(data.len());
        held.extend_from_slice(&data);
        if held.len() > MESSAGE_MAX {
            return Err("the answer is too long".to_string());
        }
    }
    let trailers = body.trailers().await.map_err(|e| e.to_string())?;
    // An answer without a body has them among its headers.
    let all = trailers.as_ref().unwrap_or(&head.headers);
    let text = |name: &str| {
        let value = all.get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default().to_string()
    };
    let code = text("grpc-status");
    if code.is_empty() {
        return Err("the answer has no grpc-status".to_string());
    }
    // One byte says whether it is compressed, four its length.
    let message = match held.split_at_checked(5) {
        Some(([0, ..], message)) => message.to_vec(),
        _ => Vec::new(),
    };
    Ok(Answer {
        code,
        text: text("grpc-message"),
        message,
    })
}

/// `HealthCheckRequest` in its frame.
fn framed(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&message);
    frame.freeze()
}

/// `HealthCheckResponse.status`; absent means 0.
fn status(message: &[u8]) -> Option<u64> {
    let Some((tag, rest)) = message.split_first() else {
        return Some(0);
    };
    if *tag != 0x08 {
        return None;
    }
    let mut value = 0u64;
    for (place, byte) in rest.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A health server that answers one question with `code` and a status.
    async fn server(code: &'static str, serving: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
            let (request, mut respond) = connection.accept().await.expect("one").expect("good");
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            assert_eq!(request.headers()["user-agent"], USER_AGENT);
            tokio::spawn(async move {
                let mut body = request.into_body();
                let data = body.data().await.expect("a message").expect("whole");
                assert_eq!(&data[..], b"\0\0\0\0\x05\x0a\x03web");
                let head = http::Response::new(());
                let mut answer = respond.send_response(head, false).expect("sent");
                let mut frame = vec![0, 0, 0, 0, serving.len() as u8];
                frame.extend_from_slice(serving);
                answer.send_data(frame.into(), false).expect("sent");
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", http::HeaderValue::from_static(code));
                answer.send_trailers(trailers).expect("sent");
            });
            while connection.accept().await.is_some() {}
        });
        port
    }

    async fn ask_one(code: &'static str, serving: &'static [u8]) -> Outcome {
        let port = server(code, serving).await;
        probe("127.0.0.1", port, "web", false, Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn a_service_serves_or_does_not() {
        assert_eq!(ask_one("0", &[8, 1]).await, Outcome::Success);
        let text = "service unhealthy (responded with \"NOT_SERVING\")".to_string();
        assert_eq!(ask_one("0", &[8, 2]).await, Outcome::Failure(text));
        let text = "service unhealthy (responded with \"UNKNOWN\")".to_string();
        assert_eq!(ask_one("0", &[]).await, Outcome::Failure(text));
        let Outcome::Failure(text) = ask_one("12", &[]).await else {
            panic!("it fails");
        };
        assert!(
            text.contains("does not implement the grpc health protocol"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn what_is_no_server_fails_in_time() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let limit = Duration::from_millis(100);
        let text = "timeout: health rpc did not complete within 0s".to_string();
        let outcome = probe("127.0.0.1", port, "", false, limit).await;
        assert_eq!(outcome, Outcome::Failure(text));
        drop(listener);
        let Outcome::Failure(text) = probe("127.0.0.1", port, "", false, limit).await else {
            panic!("it fails");
        };
        assert!(text.ends_with("connection refused"), "{text}");
    }
}
