//! From an HTTP/1.1 request to a connection of another protocol.

use super::websocket::{accept, has_token, is_upgrade, switching, words};
use crate::request::Context;
use crate::response::Response;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kabuki_model::StatusError;
use kabuki_model::status::Reason;
use std::time::Duration;

/// Clients begin at once after the answer.
const UPGRADE_LIMIT: Duration = Duration::from_secs(30);
/// Which of the protocols inside of SPDY.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// Those that the server has, when none of the client's is among them.
const ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// The upgraded connection.
pub(super) type Stream = TokioIo<Upgraded>;

/// What a client and the server agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chosen {
    /// This protocol in a WebSocket.
    WebSocket(&'static str),
    /// This protocol in SPDY/3.1.
    Spdy(&'static str),
}

/// Which protocols there are for something, best first.
pub(super) struct Offer {
    pub(super) websocket: &'static [&'static str],
    pub(super) spdy: &'static [&'static str],
}

impl Offer {
    /// Agrees with the client: the answer to send, once the node has agreed, too. `Err` is what to
    /// answer to one that cannot be agreed with.
    pub(super) fn choose(
        &self,
        headers: &HeaderMap,
    ) -> Result<Result<(Response, Chosen), Response>, StatusError> {
        if is_upgrade(headers) {
            return Ok(match accept(headers, self.websocket) {
                Ok((response, protocol)) => Ok((response, Chosen::WebSocket(protocol))),
                Err(response) => Err(*response),
            });
        }
        let spdy =
            has_token(headers, CONNECTION, "upgrade") && has_token(headers, UPGRADE, "spdy/3.1");
        if !spdy {
            return Err(StatusError::bad_request("Upgrade request required"));
        }
        let offered: Vec<&str> = words(headers, STREAM_PROTOCOL).collect();
        let common = self.spdy.iter().copied().find(|p| offered.contains(p));
        let Some(protocol) = common else {
            let mut response = crate::response::refusal(&StatusError::new(
                Reason::Forbidden,
                format!(
                    "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, \
                     server accepts {:?}",
                    self.spdy
                ),
            ));
            for protocol in self.spdy {
                let value = HeaderValue::from_static(protocol);
                response.headers_mut().append(ACCEPTED, value);
            }
            *response.status_mut() = StatusCode::FORBIDDEN;
            return Ok(Err(response));
        };
        let mut response = switching("SPDY/3.1");
        let value = HeaderValue::from_static(protocol);
        response.headers_mut().insert(STREAM_PROTOCOL, value);
        Ok(Ok((response, Chosen::Spdy(protocol))))
    }
}

/// Serves the connection once it is upgraded, as a task of its own with room among the
/// long-running requests.
pub(super) async fn begin<F>(
    context: &Context,
    mut request: http::Request<Incoming>,
    serve: impl FnOnce(Stream) -> F + Send + 'static,
) -> Result<(), StatusError>
where
    F: Future<Output = ()> + Send,
{
    let permit = context.shared.limits.request(true).await?;
    let upgrading = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match tokio::time::timeout(UPGRADE_LIMIT, upgrading).await {
            Ok(Ok(upgraded)) => serve(TokioIo::new(upgraded)).await,
            Ok(Err(error)) => tracing::debug!(%error, "a connection was not upgraded"),
            Err(_) => tracing::debug!("a connection was not upgraded in time"),
        }
        drop(permit);
    });
    Ok(())
}
