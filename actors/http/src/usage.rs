//! What nodes and pods use, as `metrics.k8s.io/v1beta1`, which `kubectl top` asks for. Nothing of it
//! is stored: each request asks the nodes that it is about, at the same time. A node that does not
//! answer has no figures, and neither have its pods.
//!
//! The caller was authorised for `metrics.k8s.io`; the nodes are asked by the control plane itself.

use crate::error;
use crate::options;
use crate::representation::{Made, Purpose, negotiate};
use crate::request::Context;
use crate::response::{Response, answer, full};
use crate::served;
use futures::StreamExt;
use futures::stream;
use http::StatusCode;
use jiff::Timestamp;
use kabuki_model::identity::Identity;
use kabuki_model::request::Request;
use kabuki_model::{Quantity, StatusError, Stored};
use kabuki_protocol::front::Freshness;
use kabuki_protocol::node::{FromNode, NodeMetrics, NodeRequest, Usage};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// A node that does not answer within this time is left out.
const NODE_LIMIT: Duration = Duration::from_secs(5);
/// So many nodes are asked at once: an answer of a full node has a few dozen kilobytes.
const NODES_AT_ONCE: usize = 64;
/// Over which time processors are measured: what nodes do, see the agent's `metrics`.
const WINDOW: &str = "10s";

/// Whose use is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// `NodeMetrics`
    Nodes,
    /// `PodMetrics`
    Pods,
}

impl Measured {
    /// The group of all.
    pub const GROUP: &'static str = "metrics.k8s.io";
    /// The version of all.
    pub const VERSION: &'static str = "v1beta1";
    /// All, in the order of `api-resources`.
    pub const ALL: &'static [Self] = &[Self::Nodes, Self::Pods];
    /// The verbs that they take.
    pub const VERBS: &'static [&'static str] = &["get", "list"];

    /// What is served under a path.
    pub fn of(group: &str, version: &str, plural: &str) -> Option<Self> {
        let here = group == Self::GROUP && version == Self::VERSION;
        let mut all = Self::ALL.iter().copied();
        all.find(|m| here && m.plural() == plural)
    }

    /// `nodes`
    pub fn plural(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Pods => "pods",
        }
    }

    /// `NodeMetrics`
    pub fn kind(self) -> &'static str {
        match self {
            Self::Nodes => "NodeMetrics",
            Self::Pods => "PodMetrics",
        }
    }

    /// Whether they are in namespaces.
    pub fn namespaced(self) -> bool {
        self == Self::Pods
    }

    /// `metrics.k8s.io/v1beta1`
    pub fn api_version() -> String {
        format!("{}/{}", Self::GROUP, Self::VERSION)
    }
}

/// Answers a request for figures.
pub async fn serve(context: &Context, measured: Measured) -> Result<Response, StatusError> {
    let info = &context.info;
    let one = !info.name.is_empty();
    let misplaced = one && measured.namespaced() == info.namespace.is_empty();
    if misplaced || !info.subresource.is_empty() {
        return Err(error::no_such_path());
    }
    if !Measured::VERBS.contains(&info.verb.as_str()) {
        return Err(error::method_not_allowed());
    }
    let negotiated = negotiate(&context.headers, Purpose::Objects)?.asked(&context.query)?;
    let about = about(context, measured).await?;
    let rows = match measured {
        Measured::Nodes => of_nodes(context, &about).await,
        Measured::Pods => of_pods(context, &about).await,
    };
    if one && rows.is_empty() {
        let what = format!("{}.{}", measured.plural(), Measured::GROUP);
        let key = kabuki_model::ObjectKey::new(
            kabuki_model::Resource::named(&what),
            &info.namespace,
            &info.name,
        );
        return Err(StatusError::not_found(&key));
    }
    let made = Made {
        api_version: Measured::api_version(),
        kind: measured.kind(),
        columns: &[
            ("Name", "name"),
            ("cpu", "quantity"),
            ("memory", "quantity"),
            ("Window", "duration"),
        ],
        one,
        rows,
    };
    let body = full(negotiated.made(made)?);
    Ok(answer(StatusCode::OK, negotiated.content_type(), body))
}

/// The objects whose use is asked for.
async fn about(context: &Context, measured: Measured) -> Result<Vec<Arc<Stored>>, StatusError> {
    let of = served::find("", "v1", measured.plural());
    let of = of.ok_or_else(error::no_such_path)?;
    let list = Request::List(options::selection(context, of)?);
    let who = asking();
    let read = context.front.read(&who, list, Freshness::Latest);
    Ok(read.await?.into_list().unwrap_or_default().items)
}

fn asking() -> Identity {
    Identity::controller("metrics")
}

/// The figures of some nodes, by their names.
async fn figures(context: &Context, nodes: BTreeSet<String>) -> HashMap<String, NodeMetrics> {
    let asked = stream::iter(nodes).map(|node| async move {
        let found = tokio::time::timeout(NODE_LIMIT, ask(context, &node)).await;
        match found {
            Ok(Ok(Some(figures))) => Some((node, figures)),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => {
                tracing::debug!(node, error = error.message, "a node has no figures");
                None
            }
            Err(_) => {
                tracing::debug!(node, "a node does not answer with its figures");
                None
            }
        }
    });
    let found = asked.buffer_unordered(NODES_AT_ONCE);
    found.filter_map(std::future::ready).collect().await
}

/// The figures of one node.
pub(crate) async fn ask(context: &Context, node: &str) -> Result<Option<NodeMetrics>, StatusError> {
    let (who, request) = (asking(), NodeRequest::Metrics);
    let mut stream = context.front.open(&who, Some(node), request).await?;
    while let Some(chunk) = stream.output.recv().await {
        match chunk {
            FromNode::Metrics(metrics) => return Ok(Some(metrics)),
            FromNode::Done(end) => {
                end?;
                break;
            }
            _ => {}
        }
    }
    Ok(None)
}

/// An object, and its cells.
type Row = (Value, Vec<Value>);

async fn of_nodes(context: &Context, about: &[Arc<Stored>]) -> Vec<Row> {
    let names = about.iter().map(|o| o.key.name.to_string()).collect();
    let figures = figures(context, names).await;
    let found = about.iter().filter_map(|object| {
        let of = figures.get(&*object.key.name)?;
        let mut value = begun(object, of.at_ms);
        value["usage"] = usage(&of.usage);
        Some((value, cells(object, &of.usage)))
    });
    found.collect()
}

async fn of_pods(context: &Context, about: &[Arc<Stored>]) -> Vec<Row> {
    let node_of = |object: &Arc<Stored>| {
        let typed = object.typed::<kabuki_model::k8s_openapi::api::core::v1::Pod>();
        typed.ok()?.spec.as_ref()?.node_name.clone()
    };
    let nodes: BTreeSet<String> = about.iter().filter_map(node_of).collect();
    let figures = figures(context, nodes).await;
    let mut by_uid = HashMap::new();
    for node in figures.values() {
        by_uid.extend(node.pods.iter().map(|pod| (&*pod.uid, (node.at_ms, pod))));
    }
    let found = about.iter().filter_map(|object| {
        let (at_ms, pod) = by_uid.get(&*object.uid)?;
        let mut value = begun(object, *at_ms);
        let containers = pod.containers.iter();
        let containers = containers.map(|c| json!({"name": c.name, "usage": usage(&c.usage)}));
        value["containers"] = containers.collect();
        // A table shows the sum of the containers, as `kubectl top` does.
        let sum = pod
            .containers
            .iter()
            .fold(Usage::default(), |sum, c| Usage {
                cpu_nanocores: sum.cpu_nanocores.saturating_add(c.usage.cpu_nanocores),
                memory_working_set_bytes: sum
                    .memory_working_set_bytes
                    .saturating_add(c.usage.memory_working_set_bytes),
                ..sum
            });
        Some((value, cells(object, &sum)))
    });
    found.collect()
}

fn begun(object: &Stored, at_ms: i64) -> Value {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
    let at = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut metadata = json!({"name": &*object.key.name, "creationTimestamp": at});
    if !object.key.namespace.is_empty() {
        metadata["namespace"] = (*object.key.namespace).into();
    }
    if let Some(labels) = object.meta().labels.as_ref().filter(|l| !l.is_empty()) {
        metadata["labels"] = json!(labels);
    }
    json!({"metadata": metadata, "timestamp": at, "window": WINDOW})
}

fn cpu(usage: &Usage) -> String {
    format!("{}n", usage.cpu_nanocores)
}

fn memory(usage: &Usage) -> String {
    let bytes = i64::try_from(usage.memory_working_set_bytes).unwrap_or(i64::MAX);
    Quantity::from_bytes(bytes).to_string()
}

fn usage(usage: &Usage) -> Value {
    json!({"cpu": cpu(usage), "memory": memory(usage)})
}

fn cells(object: &Stored, used: &Usage) -> Vec<Value> {
    let name = (*object.key.name).into();
    vec![name, cpu(used).into(), memory(used).into(), WINDOW.into()]
}
