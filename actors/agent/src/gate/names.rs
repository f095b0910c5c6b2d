//! Lookups of names: `kabuki dns lookup`.

use super::actors::answer;
use crate::services::Services;
use kabuki_model::StatusError;
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::{FromNode, PodRef};

/// Looks a name up; as a pod of the node would, when one is named.
pub(super) async fn lookup(
    services: &Services,
    name: &str,
    kind: &str,
    from: Option<&PodRef>,
) -> Result<NodeStream, StatusError> {
    let file = match from {
        None => None,
        Some(pod) => Some(resolv_conf(services, pod)?),
    };
    let found = services.names.lookup(name, kind, file.as_deref()).await;
    let found = found.map_err(|error| StatusError::bad_request(error.to_string()))?;
    Ok(answer(FromNode::Name(found)))
}

/// What the pod's containers find in `/etc/resolv.conf`.
fn resolv_conf(services: &Services, pod: &PodRef) -> Result<String, StatusError> {
    let shown = format!("{}/{}", pod.namespace, pod.name);
    let entry = services
        .pods
        .named(&pod.namespace, &pod.name)
        .ok_or_else(|| StatusError::bad_request(format!("pod {shown} is not on this node")))?;
    let path = crate::pod::etc(services, &entry).join("resolv.conf");
    std::fs::read_to_string(path).map_err(|error| {
        StatusError::bad_request(format!("pod {shown} has no resolv.conf yet: {error}"))
    })
}
