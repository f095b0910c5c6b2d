//! `proxy`: an HTTP request handed on to a port of a pod, over a forwarded connection; in TLS where
//! the name begins with `https:`.

mod carry;
mod target;
mod tls;

use super::upgrade::begin;
use super::websocket::has_token;
use crate::request::Context;
use crate::response::{Response, full, holding};
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, TE};
use http::header::{PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use kabuki_model::StatusError;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// How long a pod may take to begin its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// What concerns one connection alone (RFC 9110, section 7.6.1).
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// A connection with a pod.
trait Carried: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Carried for S {}

/// Hands a request on.
pub(super) async fn serve(
    context: &Context,
    request: http::Request<Incoming>,
) -> Result<Response, StatusError> {
    let upgrade = match has_token(&context.headers, CONNECTION, "upgrade") {
        true => context.headers.get(UPGRADE).cloned(),
        false => None,
    };
    let target = target::find(context).await?;
    let node = super::target::open(context, target.request()).await?;
    let (stream, pumps) = carry::connect(node);
    let unreachable = |error: &dyn std::fmt::Display| {
        StatusError::unavailable(format!("error trying to reach the pod: {error}"))
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(pumps);
    let stream: Box<dyn Carried> = match target.secure() {
        true => {
            let greeted = tokio::time::timeout(ANSWER_LIMIT, tls::connect(stream)).await;
            let greeted = greeted.map_err(|_| unreachable(&"no TLS handshake in time"))?;
            Box::new(greeted.map_err(|e| unreachable(&e))?)
        }
        false => Box::new(stream),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| unreachable(&e))?;
    tasks.spawn(async move {
        // Its failure is that of the request on it.
        let _ = connection.with_upgrades().await;
    });
    let mut handed = http::Request::new(full(""));
    *handed.method_mut() = request.method().clone();
    *handed.uri_mut() = uri(context, request.uri().query())?;
    handed.headers_mut().clone_from(&context.headers);
    forwardable(handed.headers_mut(), context, &target.host());
    let mut waiting = None;
    match upgrade {
        Some(protocol) => {
            let headers = handed.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, protocol);
            waiting = Some(request);
        }
        None => *handed.body_mut() = request.into_body().map_err(io::Error::other).boxed_unsync(),
    }
    let answering = tokio::time::timeout(ANSWER_LIMIT, sender.send_request(handed));
    let answered = answering
        .await
        .map_err(|_| unreachable(&"no answer in time"))?;
    let answered = answered.map_err(|e| unreachable(&e))?;
    if answered.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(request) = waiting else {
            return Err(unreachable(&"it changed the protocol without being asked"));
        };
        return switched(context, request, answered, tasks).await;
    }
    let (mut head, body) = answered.into_parts();
    for name in &HOP_BY_HOP {
        head.headers.remove(name);
    }
    relocate(&mut head.headers, context);
    let body = body.map_err(io::Error::other).boxed_unsync();
    Ok(Response::from_parts(head, holding(body, (tasks, sender))))
}

/// Joins the client's connection with the pod's, both of another protocol now.
async fn switched(
    context: &Context,
    request: http::Request<Incoming>,
    mut answered: http::Response<Incoming>,
    tasks: JoinSet<()>,
) -> Result<Response, StatusError> {
    let upgrading = hyper::upgrade::on(&mut answered);
    begin(context, request, move |mut client| async move {
        let _carrying = tasks;
        match upgrading.await {
            Ok(upgraded) => {
                let mut pod = TokioIo::new(upgraded);
                // Its failure is the end of the connection, which both sides see.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut pod).await;
            }
            Err(error) => tracing::debug!(%error, "a proxied connection was not upgraded"),
        }
    })
    .await?;
    let (head, _) = answered.into_parts();
    let mut response = Response::new(full(""));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Ok(response)
}

/// The path of `proxy` itself, and what follows it:
/// `/api/v1/namespaces/NAMESPACE/pods/NAME/proxy` and the rest.
fn parts(path: &str) -> (&str, &str) {
    /// The slash at which the rest begins.
    const REST: usize = 7;
    let rest = path.match_indices('/').nth(REST);
    path.split_at(rest.map_or(path.len(), |(at, _)| at))
}

/// What the pod is asked: what follows `proxy` in the path.
fn uri(context: &Context, query: Option<&str>) -> Result<Uri, StatusError> {
    let (_, path) = parts(&context.info.path);
    let path = match path {
        "" => "/",
        path => path,
    };
    let text = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_string(),
    };
    let bad = |e: http::uri::InvalidUri| StatusError::bad_request(format!("the path: {e}"));
    text.parse().map_err(bad)
}

/// Leaves out what is not the pod's business: above all, the caller's credentials.
fn forwardable(headers: &mut HeaderMap, context: &Context, host: &str) {
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(AUTHORIZATION);
    let impersonation: Vec<HeaderName> = headers
        .keys()
        .filter(|n| n.as_str().starts_with("impersonate-"))
        .cloned()
        .collect();
    for name in impersonation {
        headers.remove(name);
    }
    let text = |text: &str| HeaderValue::from_str(text).ok();
    if let Some(host) = text(host) {
        headers.insert(HOST, host);
    }
    if let Some(peer) = text(&context.peer.ip().to_string()) {
        headers.append(HeaderName::from_static("x-forwarded-for"), peer);
    }
}

/// A pod that sends its client elsewhere means a path of its own.
fn relocate(headers: &mut HeaderMap, context: &Context) {
    let to = headers.get(LOCATION).and_then(|l| l.to_str().ok());
    let Some(path) = to.filter(|l| l.starts_with('/') && !l.starts_with("//")) else {
        return;
    };
    let (before, _) = parts(&context.info.path);
    if let Ok(location) = HeaderValue::from_str(&format!("{before}{path}")) {
        headers.insert(LOCATION, location);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_the_path_is_the_pods_own() {
        let own = "/api/v1/namespaces/proxy/pods/proxy:80/proxy";
        assert_eq!(parts(own), (own, ""));
        let with = format!("{own}/a/proxy/b");
        assert_eq!(parts(&with), (own, "/a/proxy/b"));
    }
}
