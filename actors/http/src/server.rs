//! Connections: HTTP/1.1 and HTTP/2 over whatever byte stream came through the node's port, and
//! what is the same for every request on them.

use crate::authentication::authenticate;
use crate::compression::compressed;
use crate::error;
use crate::gathering::Gathering;
use crate::limits::{
    HEADER_LIMIT, Limits, MAX_HEADER_BYTES, MAX_HEADERS, MAX_STREAMS, PING_EVERY, PING_LIMIT,
    STALL_LIMIT,
};
use crate::metrics::Metrics;
use crate::openapi::OpenApi;
use crate::query::Query;
use crate::request::{Context, RequestInfo};
use crate::response::{Response, refusal};
use crate::route::route;
use crate::stalled::{Impatient, Patient, told};
use crate::watching::Events;
use http::{Method, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kabuki_model::identity::Identity;
use kabuki_protocol::FrontHandle;
use kabuki_protocol::front::Authenticated;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};

/// How much of an answer waits inside the server for one HTTP/2 client, in bytes.
const SEND_BUFFER: usize = 64 << 10;
/// The frames of HTTP/2 are as large as a TLS record.
const FRAME_BYTES: u32 = 16 << 10;
/// How much of bodies may be on its way, for one request and one connection, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Who came through the port.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// Where from.
    pub peer: SocketAddr,
    /// Who, by a verified client certificate.
    pub certificate: Option<Identity>,
    /// Until when that certificate is good, in seconds since the epoch.
    pub certificate_ends_s: i64,
    /// A certificate was shown that is not good: every request is refused.
    pub bad_certificate: bool,
    /// Whether HTTP/2 was chosen.
    pub http2: bool,
}

/// The HTTP API of one server. Clones share it.
#[derive(Clone)]
pub struct Server {
    front: FrontHandle,
    shared: Arc<Shared>,
}

/// What all connections share.
#[derive(Default)]
pub struct Shared {
    /// What is left of the bounds.
    pub limits: Limits,
    /// What was counted.
    pub metrics: Metrics,
    /// Encoded events.
    pub events: Events,
    /// Schemas of what is served.
    pub openapi: OpenApi,
}

impl Server {
    /// The API in front of a control plane.
    pub fn new(front: FrontHandle) -> Self {
        Self {
            front,
            shared: Arc::default(),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Serves one connection until it ends.
    pub async fn serve<S>(&self, stream: S, arrived: Arrived)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = Impatient::new(stream, STALL_LIMIT);
        let (server, http2) = (self.clone(), arrived.http2);
        let arrived = Arc::new(arrived);
        let service = service_fn(move |request| {
            let (server, arrived) = (server.clone(), arrived.clone());
            // Apart, so that an idle connection is small.
            Box::pin(async move { Ok::<_, Infallible>(server.respond(request, &arrived).await) })
        });
        let ended = match http2 {
            true => {
                let io = TokioIo::new(Gathering::new(stream));
                hyper::server::conn::http2::Builder::new(Patient(STALL_LIMIT))
                    .timer(TokioTimer::new())
                    .keep_alive_interval(PING_EVERY)
                    .keep_alive_timeout(PING_LIMIT)
                    .max_concurrent_streams(MAX_STREAMS)
                    .max_header_list_size(MAX_HEADER_BYTES as u32)
                    .max_send_buf_size(SEND_BUFFER)
                    .max_frame_size(FRAME_BYTES)
                    .initial_stream_window_size(STREAM_WINDOW)
                    .initial_connection_window_size(CONNECTION_WINDOW)
                    .serve_connection(io, service)
                    .await
            }
            false => {
                let io = TokioIo::new(stream);
                hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_LIMIT)
                    .max_buf_size(MAX_HEADER_BYTES)
                    .max_headers(MAX_HEADERS)
                    .half_close(false)
                    .serve_connection(io, service)
                    .with_upgrades()
                    .await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP connection ended");
        }
    }

    async fn respond(&self, request: http::Request<Incoming>, arrived: &Arrived) -> Response {
        let began = Instant::now();
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let info = RequestInfo::parse(request.method(), request.uri().path(), &query);
        let label = self.shared.metrics.label(&info);
        let accepts = compressed::accepted(request.headers());
        let head_only = request.method() == Method::HEAD;
        let response = self.admitted(request, arrived, info, query).await;
        self.shared
            .metrics
            .observe(label, response.status(), began.elapsed());
        match head_only {
            true => response.map(|_| crate::response::full("")),
            false if arrived.http2 => compressed::answer(accepts, response).map(told),
            false => compressed::answer(accepts, response),
        }
    }

    /// Names the caller, asks whether it may, finds room, and has the request answered.
    async fn admitted(
        &self,
        mut request: http::Request<Incoming>,
        arrived: &Arrived,
        info: RequestInfo,
        query: Query,
    ) -> Response {
        let who = match self.name(&request, arrived).await {
            Ok(who) => who,
            Err(error) => return refusal(&error),
        };
        let attributes = info.attributes(&query);
        let decision = self.front.authorize(&who.who, &attributes);
        if !decision.allowed {
            return refusal(&error::forbidden(&who.who, &attributes, &decision.reason));
        }
        let long = info.is_long_running(&query);
        let permit = match self.shared.limits.request(long).await {
            Ok(permit) => permit,
            Err(error) => return refusal(&error),
        };
        let context = Context {
            front: self.front.clone(),
            shared: self.shared.clone(),
            who,
            info,
            method: request.method().clone(),
            query,
            headers: std::mem::take(request.headers_mut()),
            peer: arrived.peer,
        };
        let response = route(context, request).await;
        match response.status() {
            // What is still to come belongs to the request.
            StatusCode::OK | StatusCode::SWITCHING_PROTOCOLS if long => {
                response.map(|body| crate::response::holding(body, permit))
            }
            _ => response,
        }
    }

    async fn name(
        &self,
        request: &http::Request<Incoming>,
        arrived: &Arrived,
    ) -> Result<Authenticated, kabuki_model::StatusError> {
        let now = jiff::Timestamp::now().as_second();
        let ended = arrived.certificate.is_some() && arrived.certificate_ends_s < now;
        if arrived.bad_certificate || ended {
            return Err(error::unauthorized());
        }
        authenticate(
            &*self.front,
            arrived.certificate.as_ref(),
            request.uri().path(),
            request.headers(),
        )
        .await
    }
}

#[cfg(test)]
mod tests;
