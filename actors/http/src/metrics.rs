//! `/metrics` in Prometheus' text format: requests as Kubernetes' API server names them, what the
//! control plane measures of itself, and the process.

mod exposition;
mod process;
mod requests;

pub use exposition::Exposition;
pub use requests::Metrics;

use crate::request::Context;
use crate::response::{Response, answer, full};
use http::StatusCode;
use http::header::HeaderValue;

/// Prometheus' text format.
const FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Answers `/metrics`.
pub async fn metrics(context: &Context) -> Response {
    let measures = context.front.measures().await;
    let mut text = Exposition::default();
    let version = context.front.version();
    text.one(
        "kabuki_build_info",
        "Which program serves.",
        false,
        &[
            ("version", &version.kabuki),
            ("kubernetes", &version.kubernetes),
            ("node", &version.node),
        ],
        1.0,
    );
    for measure in &measures {
        text.measure(measure);
    }
    context.shared.metrics.expose(&mut text);
    let (in_flight, long) = context.shared.limits.in_flight();
    text.one(
        "apiserver_current_inflight_requests",
        "Requests under way, watches and streams apart.",
        false,
        &[],
        in_flight as f64,
    );
    text.one(
        "apiserver_longrunning_requests",
        "Watches and streams that are open.",
        false,
        &[],
        long as f64,
    );
    text.one(
        "kabuki_http_connections",
        "Open connections of HTTP clients.",
        false,
        &[],
        context.shared.limits.connections() as f64,
    );
    process::expose(&mut text);
    answer(StatusCode::OK, FORMAT, full(text.into_text()))
}
