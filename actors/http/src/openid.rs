//! The public keys of service accounts' tokens, for those who check them themselves (OpenID Connect
//! Discovery 1.0; RFC 7517).

use crate::request::Context;
use crate::response::{JSON, Response, answer, full};
use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use kabuki_model::StatusError;

/// How long others may go by what they have read; keys are replaced with weeks in between.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// `/.well-known/openid-configuration`
pub fn document(context: &Context) -> Result<Response, StatusError> {
    let (document, _) = context.front.openid()?;
    Ok(cached(document, JSON))
}

/// `/openid/v1/jwks`
pub fn keys(context: &Context) -> Result<Response, StatusError> {
    /// RFC 7517, section 8.5.
    const JWK_SET: HeaderValue = HeaderValue::from_static("application/jwk-set+json");
    let (_, keys) = context.front.openid()?;
    Ok(cached(keys, JWK_SET))
}

fn cached(text: Bytes, content_type: HeaderValue) -> Response {
    let mut response = answer(StatusCode::OK, content_type, full(text));
    response.headers_mut().insert(CACHE_CONTROL, CACHED);
    response
}
