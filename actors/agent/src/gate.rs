//! The node's side of [`kabuki_protocol::Node`]: logs, terminals, port forwarding, images, the
//! live actor tree, and what the host offers. Each stream is a task that ends when either side
//! of the stream does.

mod actors;
mod attach;
mod check;
mod container;
mod exec;
mod forward;
mod images;
mod logs;
mod names;
mod settings;
mod streams;
mod trace;

pub use check::host_checks;
pub(crate) use images::used as used_images;

use crate::services::Services;
use futures::FutureExt;
use futures::future::BoxFuture;
use kabuki_kit::Tree;
use kabuki_model::StatusError;
use kabuki_protocol::Node;
use kabuki_protocol::node::{FromNode, NodeRequest, NodeStream, STREAM_DEPTH, ToNode};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Figures that somebody asks for may be so old.
const METRICS_AGE: Duration = Duration::from_secs(1);

/// Serves one node.
pub(crate) struct NodeGate {
    services: Arc<Services>,
    tree: Tree,
}

/// The two ends of a stream that a task works with.
pub(crate) struct Ends {
    pub input: mpsc::Receiver<ToNode>,
    pub output: mpsc::Sender<FromNode>,
}

/// The end of a stream that the caller gets, and the ends for the task.
pub(crate) fn stream() -> (NodeStream, Ends) {
    let (input, from_caller) = mpsc::channel(STREAM_DEPTH);
    let (to_caller, output) = mpsc::channel(STREAM_DEPTH);
    (
        NodeStream { input, output },
        Ends {
            input: from_caller,
            output: to_caller,
        },
    )
}

impl Ends {
    /// Sends a chunk; `false` when the caller has gone.
    pub async fn send(&self, chunk: FromNode) -> bool {
        self.output.send(chunk).await.is_ok()
    }
}

impl NodeGate {
    pub fn new(services: Arc<Services>, tree: Tree) -> Self {
        Self { services, tree }
    }

    async fn begin(&self, request: NodeRequest) -> Result<NodeStream, StatusError> {
        let services = &self.services;
        match request {
            NodeRequest::Logs(request) => logs::open(services, request).await,
            NodeRequest::Exec(request) => exec::open(services, request).await,
            NodeRequest::Attach(request) => attach::open(services, request).await,
            NodeRequest::PortForward { pod, port } => forward::open(services, &pod, port).await,
            NodeRequest::Actors => Ok(actors::list(&self.tree)),
            NodeRequest::KillActor { path } => actors::kill(&self.tree, &path),
            NodeRequest::Check => Ok(check::open(&services.layout.data)),
            NodeRequest::ImageList => Ok(images::list(services)),
            NodeRequest::ImagePull {
                reference,
                credentials,
            } => images::pull(services, &reference, credentials),
            NodeRequest::ImageLoad { name } => Ok(images::load(services, name)),
            NodeRequest::ImageRemove { reference } => Ok(images::remove(services, reference)),
            NodeRequest::DnsLookup { name, kind, from } => {
                names::lookup(services, &name, &kind, from.as_ref()).await
            }
            NodeRequest::TraceService { to, protocol, from } => {
                trace::open(services, to, &protocol, from).await
            }
            NodeRequest::Metrics => metrics(services).await,
            NodeRequest::Settings => {
                let shown = settings::shown(&services.config).to_string();
                Ok(actors::answer(FromNode::Settings(shown)))
            }
        }
    }
}

/// Figures for a person: the newest.
async fn metrics(services: &Services) -> Result<NodeStream, StatusError> {
    let measured = services.metrics.get(METRICS_AGE, false).await;
    let measured = measured.map_err(|error| StatusError::unavailable(error.to_string()))?;
    Ok(actors::answer(FromNode::Metrics((*measured).clone())))
}

impl Node for NodeGate {
    fn open(&self, request: NodeRequest) -> BoxFuture<'_, Result<NodeStream, StatusError>> {
        self.begin(request).boxed()
    }
}
