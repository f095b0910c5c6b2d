//! WebSocket (RFC 6455), the server's side: the handshake, the codec, and one connection as two
//! bounded queues.
//!
//! Invariants: no message is larger than [`MAX_MESSAGE_BYTES`]; what the client does not read is
//! not buffered beyond the queue's depth; a client that is silently gone is found by pings.

mod codec;
mod connection;

pub use codec::{Decoder, MAX_MESSAGE_BYTES, Message, Mistake, Opcode, encode};
pub use connection::{Connection, Gone, Sender, Tasks};

use crate::response::{Body, Response, full, refusal};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use kabuki_model::StatusError;

/// What is appended to the client's key (RFC 6455, section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether a request wants to become a WebSocket.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, CONNECTION, "upgrade") && has_token(headers, UPGRADE, "websocket")
}

/// Whether a header that is a list has a word in it, in any case.
pub(super) fn has_token(headers: &HeaderMap, name: http::HeaderName, token: &str) -> bool {
    words(headers, name).any(|w| w.eq_ignore_ascii_case(token))
}

/// The words of a header that is a list.
pub(super) fn words(headers: &HeaderMap, name: http::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    let lists = values.filter_map(|v| v.to_str().ok());
    lists.flat_map(|l| l.split(',')).map(str::trim)
}

/// The answer that lets a client begin, and which of its protocols was chosen: the first of `ours`
/// that it offers, in our order.
///
/// # Errors
/// What to answer instead.
pub fn accept(
    headers: &HeaderMap,
    ours: &[&'static str],
) -> Result<(Response, &'static str), Box<Response>> {
    let refuse = |why: String| Box::new(refusal(&StatusError::bad_request(why)));
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .map(HeaderValue::as_bytes)
        != Some(b"13")
    {
        let mut response = refuse("only version 13 of WebSocket is served".to_string());
        let version = HeaderValue::from_static("13");
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_VERSION, version);
        return Err(response);
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let key = key.filter(|k| STANDARD.decode(k).is_ok_and(|k| k.len() == 16));
    let Some(key) = key else {
        return Err(refuse(
            "the Sec-WebSocket-Key is missing or wrong".to_string(),
        ));
    };
    let offered: Vec<&str> = words(headers, SEC_WEBSOCKET_PROTOCOL).collect();
    let Some(chosen) = ours.iter().find(|p| offered.contains(p)).copied() else {
        return Err(refuse(format!(
            "unable to negotiate the WebSocket protocol: the client offers {offered:?}, served are \
             {ours:?}"
        )));
    };
    let mut response = switching("websocket");
    let accept = [key, GUID.as_bytes()].concat();
    let accept = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &accept));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    let protocol = HeaderValue::from_static(chosen);
    response
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    Ok((response, chosen))
}

/// `101 Switching Protocols`.
pub(super) fn switching(to: &'static str) -> Response {
    let body: Body = full("");
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(to));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                http::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_handshake_is_that_of_the_rfc() {
        let asked = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            (
                "sec-websocket-protocol",
                "v4.channel.k8s.io, v5.channel.k8s.io",
            ),
        ]);
        assert!(is_upgrade(&asked));
        let ours = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
        let (response, chosen) = accept(&asked, &ours).expect("accepted");
        assert_eq!(chosen, "v5.channel.k8s.io");
        assert_eq!(response.status(), 101);
        assert_eq!(
            response.headers()[SEC_WEBSOCKET_ACCEPT],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        let none = accept(&asked, &["v9"]).expect_err("refused");
        assert_eq!(none.status(), 400);
    }
}
