//! Which pod a request is about, and the limits of asking its node.

use crate::request::Context;
use kabuki_model::request::Request;
use kabuki_model::{ObjectKey, Resource, StatusError};
use kabuki_protocol::NodeStream;
use kabuki_protocol::front::Freshness;
use kabuki_protocol::node::{NodeRequest, PodRef};
use std::time::Duration;

/// How long a node may take to begin. Starting a process in a container takes some milliseconds.
const OPEN_LIMIT: Duration = Duration::from_secs(30);

/// The pod of a request.
pub(super) fn pod(context: &Context) -> PodRef {
    PodRef {
        namespace: context.info.namespace.clone(),
        name: context.info.name.clone(),
    }
}

/// Refuses a pod that there is none of.
pub(super) async fn exists(context: &Context) -> Result<(), StatusError> {
    let get = Request::Get {
        key: ObjectKey::new(Resource::PODS, &context.info.namespace, &context.info.name),
        subresource: None,
    };
    let read = context
        .front
        .read(context.identity(), get, Freshness::Latest);
    read.await.map(drop)
}

/// Opens a stream with the node of a pod, as the caller of the request.
pub(super) async fn open(
    context: &Context,
    request: NodeRequest,
) -> Result<NodeStream, StatusError> {
    let opening = context.front.open(context.identity(), None, request);
    match tokio::time::timeout(OPEN_LIMIT, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(StatusError::new(
            kabuki_model::status::Reason::Timeout,
            "the pod's node did not answer in time",
        )),
    }
}
