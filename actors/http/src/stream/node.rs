//! `proxy` of a node: what clients ask a kubelet for. There is no other server on the node, so its
//! agent's figures, the state and the logs answer.
//!
//! | path | from |
//! |---|---|
//! | `healthz` | whether the node answers |
//! | `metrics`, `metrics/resource`, `metrics/cadvisor`, `stats/summary` | the node's figures |
//! | `configz` | the node's settings |
//! | `pods` | the state |
//! | `containerLogs/NAMESPACE/POD/CONTAINER` | the node |
//!
//! Everything else is refused by name.

mod figures;

use super::log;
use crate::error;
use crate::request::Context;
use crate::response::{JSON, Response, TEXT, answer, full};
use crate::usage;
use http::header::HeaderValue;
use http::{Method, StatusCode};
use kabuki_model::request::{ListRequest, Request};
use kabuki_model::status::Reason;
use kabuki_model::{ObjectKey, Resource, StatusError};
use kabuki_protocol::front::Freshness;
use kabuki_protocol::node::{FromNode, NodeMetrics, NodeRequest, PodRef};
use serde_json::Value;
use std::time::Duration;

/// A node that does not answer within this time does not answer.
const NODE_LIMIT: Duration = Duration::from_secs(10);
/// Prometheus' text.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// What is served, for refusals.
const SERVED: &str = "healthz, metrics, metrics/resource, metrics/cadvisor, stats/summary, configz, \
                      pods, containerLogs/NAMESPACE/POD/CONTAINER";

/// Serves what a kubelet would.
pub(super) async fn serve(context: &Context) -> Result<Response, StatusError> {
    if !matches!(context.method, Method::GET | Method::HEAD) {
        return Err(error::method_not_allowed());
    }
    let node = context.info.name.as_str();
    exists(context, node).await?;
    let rest: Vec<&str> = context.info.rest.iter().map(String::as_str).collect();
    let text = |content_type, text: String| Ok(answer(StatusCode::OK, content_type, full(text)));
    match rest.as_slice() {
        ["healthz"] => {
            figures(context, node).await?;
            text(TEXT, "ok".to_string())
        }
        ["metrics"] => text(METRICS, figures::own(&figures(context, node).await?)),
        ["metrics", "resource"] => text(METRICS, figures::resource(&figures(context, node).await?)),
        ["metrics", "cadvisor"] => text(METRICS, figures::cadvisor(&figures(context, node).await?)),
        ["stats", "summary"] => {
            let summary = figures::summary(&figures(context, node).await?);
            text(JSON, summary.to_string())
        }
        ["configz"] => text(JSON, settings(context, node).await?),
        ["pods"] => pods(context, node).await,
        ["containerLogs", namespace, pod, container] => {
            let pod = PodRef {
                namespace: namespace.to_string(),
                name: pod.to_string(),
            };
            log::of(context, pod, container).await
        }
        other => Err(StatusError::new(
            Reason::NotFound,
            format!(
                "a node does not serve {:?}; it serves {SERVED}",
                other.join("/")
            ),
        )),
    }
}

async fn exists(context: &Context, node: &str) -> Result<(), StatusError> {
    let key = ObjectKey::new(Resource::NODES, "", node);
    let subresource = None;
    let get = Request::Get { key, subresource };
    let read = context
        .front
        .read(context.identity(), get, Freshness::Latest);
    read.await.map(drop)
}

async fn figures(context: &Context, node: &str) -> Result<NodeMetrics, StatusError> {
    let silent = || StatusError::unavailable(format!("node {node:?} does not answer"));
    let asked = tokio::time::timeout(NODE_LIMIT, usage::ask(context, node));
    asked.await.map_err(|_| silent())??.ok_or_else(silent)
}

/// How the node is set up, as JSON.
async fn settings(context: &Context, node: &str) -> Result<String, StatusError> {
    let silent = || StatusError::unavailable(format!("node {node:?} does not answer"));
    let asked = async {
        let opening = context
            .front
            .open(context.identity(), Some(node), NodeRequest::Settings);
        let mut stream = opening.await?;
        while let Some(chunk) = stream.output.recv().await {
            match chunk {
                FromNode::Settings(settings) => return Ok(settings),
                FromNode::Done(Err(error)) => return Err(error),
                _ => {}
            }
        }
        Err(silent())
    };
    let asked = tokio::time::timeout(NODE_LIMIT, asked).await;
    asked.map_err(|_| silent())?
}

/// The pods that are bound to the node.
async fn pods(context: &Context, node: &str) -> Result<Response, StatusError> {
    let mut list = ListRequest::all(Resource::PODS, None);
    list.fields = format!("spec.nodeName={node}");
    let list = Request::List(list);
    let read = context
        .front
        .read(context.identity(), list, Freshness::Latest);
    let found = read.await?.into_list().unwrap_or_default();
    let items: Result<Vec<Value>, _> = found.items.iter().map(|pod| pod.to_value()).collect();
    let items = items.map_err(|e| StatusError::internal(format!("{e}: {}", e.source)))?;
    let value = serde_json::json!({
        "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items,
    });
    Ok(answer(StatusCode::OK, JSON, full(value.to_string())))
}
