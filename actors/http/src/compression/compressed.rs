//! The gzip body.

use super::{Compressible, FROM_BYTES};
use crate::response::{Body, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderValue, VARY};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What is gathered before it is sent, in bytes.
const PIECE_BYTES: usize = 16 << 10;

/// Whether the client takes gzip.
pub fn accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).into_iter();
    values
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|coding| {
            let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
            name.trim() == "gzip" && !matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00")
        })
}

/// Compresses an answer that may be and is worth it.
pub fn answer(accepted: bool, mut response: Response) -> Response {
    let marked = response.extensions_mut().remove::<Compressible>().is_some();
    if marked {
        response
            .headers_mut()
            .insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    let size = response.body().size_hint().exact();
    if !(accepted && marked && size.is_none_or(|size| size >= FROM_BYTES)) {
        return response;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ETAG);
    response.map(|body| {
        Gzip {
            inner: body,
            encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
        }
        .boxed_unsync()
    })
}

/// A body that is compressed as the client takes it.
struct Gzip {
    inner: Body,
    /// `None` when all was said.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl http_body::Body for Gzip {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        loop {
            let Some(encoder) = &mut this.encoder else {
                return Poll::Ready(None);
            };
            if encoder.get_ref().len() >= PIECE_BYTES {
                let piece = std::mem::take(encoder.get_mut());
                return Poll::Ready(Some(Ok(Frame::data(piece.into()))));
            }
            let frame = match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(error))) => {
                    this.encoder = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(None) => {
                    let last = this.encoder.take().map(GzEncoder::finish);
                    let last = last.map(|done| done.map(|b| Frame::data(b.into())));
                    return Poll::Ready(last);
                }
            };
            if let Ok(data) = frame.into_data()
                && let Err(error) = encoder.write_all(&data)
            {
                this.encoder = None;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::{JSON, answer as respond, full};
    use flate2::read::GzDecoder;
    use http::StatusCode;
    use std::io::Read;

    #[tokio::test]
    async fn a_large_answer_is_smaller_and_the_same() {
        let text = "{\"a\":1}".repeat(40_000);
        let mut response = respond(StatusCode::OK, JSON, full(text.clone()));
        response.extensions_mut().insert(Compressible);
        let response = answer(true, response);
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        let body = response.into_body().collect().await.expect("a body");
        let body = body.to_bytes();
        assert!(body.len() < text.len() / 10);
        let mut unpacked = String::new();
        let read = GzDecoder::new(&*body).read_to_string(&mut unpacked);
        read.expect("gzip");
        assert_eq!(unpacked, text);
    }

    #[test]
    fn small_answers_and_those_who_do_not_ask_get_it_plain() {
        let response = |size: usize| {
            let mut response = respond(StatusCode::OK, JSON, full(vec![b'x'; size]));
            response.extensions_mut().insert(Compressible);
            response
        };
        let coded = |r: Response| r.headers().contains_key(CONTENT_ENCODING);
        assert!(!coded(answer(true, response(1000))));
        assert!(!coded(answer(false, response(1 << 20))));
        assert!(coded(answer(true, response(1 << 20))));
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("br, gzip;q=0"));
        assert!(!accepted(&headers));
    }
}
