//! From a request to whoever answers it.

use crate::discovery;
use crate::error;
use crate::health;
use crate::metrics;
use crate::openapi;
use crate::openid;
use crate::read;
use crate::representation::{Purpose, negotiate};
use crate::request::Context;
use crate::response::{Response, answer, code, full, refusal, refusal_headers};
use crate::served::{self, Part, Served};
use crate::stream;
use crate::usage::{self, Measured};
use crate::watching;
use crate::write;
use http::Method;
use hyper::body::Incoming;
use kabuki_model::StatusError;
use kabuki_model::review::ReviewKind;

/// Answers a request.
pub async fn route(context: Context, request: http::Request<Incoming>) -> Response {
    match context.info.resource_request {
        true => resource(context, request).await,
        false => {
            let answered = path(&context).await;
            answered.unwrap_or_else(|error| refused(&context, &error))
        }
    }
}

/// A refusal, in the form that the client accepts.
fn refused(context: &Context, error: &StatusError) -> Response {
    // Who accepts nothing of what there is gets JSON all the same.
    let Ok(negotiated) = negotiate(&context.headers, Purpose::Plain) else {
        return refusal(error);
    };
    match negotiated.value(&error.to_json()) {
        Err(_) => refusal(error),
        Ok(body) => {
            let mut response = answer(code(error), negotiated.content_type(), full(body));
            refusal_headers(error, response.headers_mut());
            response
        }
    }
}

/// Paths that are no resources.
async fn path(context: &Context) -> Result<Response, StatusError> {
    if !matches!(context.method, Method::GET | Method::HEAD) {
        return Err(error::method_not_allowed());
    }
    let parts: Vec<&str> = context
        .info
        .path
        .split('/')
        .filter(|p| !p.is_empty())
        .collect();
    match parts.as_slice() {
        [] => discovery::paths(context),
        [endpoint @ ("livez" | "readyz" | "healthz")] => {
            Ok(health::health(context, endpoint, None))
        }
        [endpoint @ ("livez" | "readyz" | "healthz"), check] => {
            Ok(health::health(context, endpoint, Some(check)))
        }
        ["metrics"] => Ok(metrics::metrics(context).await),
        ["version"] => discovery::version(context),
        ["api"] => discovery::legacy(context),
        ["apis"] => discovery::groups(context),
        ["api", version] => discovery::resources(context, "", version),
        ["apis", group] => discovery::group(context, group),
        ["apis", group, version] => discovery::resources(context, group, version),
        [".well-known", "openid-configuration"] => openid::document(context),
        ["openid", "v1", "jwks"] => openid::keys(context),
        ["openapi", "v2"] => openapi::v2(context).await,
        ["openapi", "v3"] => openapi::index(context),
        ["openapi", "v3", "api", version] => openapi::v3(context, "", version).await,
        ["openapi", "v3", "apis", group, version] => openapi::v3(context, group, version).await,
        _ => Err(error::no_such_path()),
    }
}

/// Resources, and the parts of objects.
async fn resource(context: Context, request: http::Request<Incoming>) -> Response {
    let info = &context.info;
    if let Some(kind) = ReviewKind::of(&info.group, &info.resource)
        && info.version == kind.version()
    {
        let answered = reviewed(&context, kind, request).await;
        return answered.unwrap_or_else(|error| refused(&context, &error));
    }
    if let Some(measured) = Measured::of(&info.group, &info.version, &info.resource) {
        let answered = usage::serve(&context, measured).await;
        return answered.unwrap_or_else(|error| refused(&context, &error));
    }
    // The path behind it is the pod's own.
    if info.subresource == "proxy" {
        return stream::serve(context, request).await;
    }
    let found = served::find(&info.group, &info.version, &info.resource);
    let target = found.and_then(|s| s.part(&info.subresource).map(|part| (s, part)));
    let Some((served, part)) = target else {
        return refused(&context, &error::no_such_path());
    };
    if matches!(
        part,
        Part::Log | Part::Exec | Part::Attach | Part::PortForward | Part::Proxy
    ) {
        return stream::serve(context, request).await;
    }
    if !info.rest.is_empty() {
        return refused(&context, &error::no_such_path());
    }
    let answered = object(&context, served, part, request).await;
    answered.unwrap_or_else(|error| refused(&context, &error))
}

async fn reviewed(
    context: &Context,
    kind: ReviewKind,
    request: http::Request<Incoming>,
) -> Result<Response, StatusError> {
    let info = &context.info;
    if !info.name.is_empty() || kind.namespaced() == info.namespace.is_empty() {
        return Err(error::no_such_path());
    }
    match info.verb.as_str() {
        "create" => write::review(context, kind, request.into_body()).await,
        _ => Err(error::method_not_allowed()),
    }
}

/// Requests on objects, as the same requests that everyone sends.
async fn object(
    context: &Context,
    served: &Served,
    part: Part,
    request: http::Request<Incoming>,
) -> Result<Response, StatusError> {
    let body = request.into_body();
    let named = !context.info.name.is_empty();
    let verb = context.info.verb.as_str();
    match (verb, part, named) {
        ("list", Part::Whole, false) => read::list(context, served).await,
        ("watch", Part::Whole, _) => watching::watch(context, served).await,
        ("create", Part::Whole, false) => write::create(context, served, body).await,
        ("deletecollection", Part::Whole, false) if served.verbs().any(|v| v == verb) => {
            write::delete_collection(context, served, body).await
        }
        ("delete", Part::Whole, true) => write::delete(context, served, body).await,
        ("create", Part::Binding, true) => write::bind(context, served, body).await,
        ("create", Part::Eviction, true) => write::evict(context, served, body).await,
        ("create", Part::Token, true) => write::token(context, served, body).await,
        (_, _, true) if !part.verbs().contains(&verb) => Err(error::method_not_allowed()),
        ("get", _, true) => read::get(context, served, part).await,
        ("update", _, true) => write::update(context, served, part, body).await,
        ("patch", _, true) => write::patch(context, served, part, body).await,
        _ => Err(error::method_not_allowed()),
    }
}
