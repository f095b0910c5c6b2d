//! Answers: a status code, headers, and a body that is one piece or a stream.

use bytes::Bytes;
use futures::Stream;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kabuki_model::StatusError;
use std::io;

/// The body of an answer. An error ends the connection (HTTP/1.1) or the stream (HTTP/2) without
/// a proper end, so that the client does not take a part for the whole.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;
/// An answer.
pub type Response = http::Response<Body>;

/// JSON.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Plain text.
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A body that is all there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body that comes piece by piece; a piece is only taken when the client has room for it.
pub fn streamed(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    use futures::StreamExt;
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// The same body, which keeps something until it ends.
pub fn holding(body: Body, kept: impl Send + 'static) -> Body {
    body.map_frame(move |frame| {
        let _ = &kept;
        frame
    })
    .boxed_unsync()
}

/// An answer with a body of some type.
pub fn answer(status: StatusCode, content_type: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// A refusal as JSON: for those whose wishes are not known yet. What a negotiated client gets is
/// made by `representation`.
pub fn refusal(error: &StatusError) -> Response {
    let status = code(error);
    let mut response = answer(status, JSON, full(error.to_json().to_string()));
    refusal_headers(error, response.headers_mut());
    response
}

/// The HTTP code of a refusal.
pub fn code(error: &StatusError) -> StatusCode {
    StatusCode::from_u16(error.reason.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The headers that go with a refusal.
pub fn refusal_headers(error: &StatusError, headers: &mut HeaderMap) {
    if let Some(seconds) = error.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}

/// The warnings of an answer, as headers (RFC 7234, code 299, no agent).
pub fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    /// `Warning`
    const WARNING: HeaderName = http::header::WARNING;
    for warning in warnings {
        let quoted: String = warning
            .chars()
            .filter(|c| !c.is_control())
            .flat_map(|c| match c {
                '"' | '\\' => vec!['\\', c],
                _ => vec![c],
            })
            .collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            headers.append(WARNING, value);
        }
    }
}
