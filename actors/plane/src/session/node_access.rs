//! Which node a stream goes to, and whether the caller may open it.

use super::{ServerSide, Services};
use kabuki_admission::Attributes;
use kabuki_model::identity::Identity;
use kabuki_model::view::{Index, View, index_entries};
use kabuki_model::{ObjectKey, Resource, StatusError};
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::{NodeRequest, PodRef};

pub(crate) async fn open_node(
    services: &Services,
    who: &Identity,
    node: Option<String>,
    request: NodeRequest,
) -> Result<NodeStream, StatusError> {
    let Some(server) = &services.server else {
        // A server that has decided already: the port lets nobody else in here.
        return match (who.is_server(), node) {
            (true, None) => services.node.open(request).await,
            _ => Err(StatusError::bad_request(
                "here only servers open streams, and only with this node",
            )),
        };
    };
    let name = match pod_access(&request) {
        Some((pod, verb, part)) => {
            let key = ObjectKey::new(Resource::PODS, &pod.namespace, &pod.name);
            let attributes = Attributes::object(verb, &key, part);
            server.gateway.authorize(who, &attributes)?;
            node_of(server, &key)?
        }
        None => {
            let name = node.unwrap_or_else(|| services.version.node.clone());
            let key = ObjectKey::new(Resource::NODES, "", &name);
            let verb = match request {
                NodeRequest::Actors
                | NodeRequest::Check
                | NodeRequest::ImageList
                | NodeRequest::TraceService { .. }
                | NodeRequest::DnsLookup { .. }
                | NodeRequest::Metrics
                | NodeRequest::Settings => "get",
                _ => "create",
            };
            // Who may see the node may see what it uses.
            let part = match request {
                NodeRequest::Metrics => "",
                _ => "proxy",
            };
            let attributes = Attributes::object(verb, &key, part);
            server.gateway.authorize(who, &attributes)?;
            name
        }
    };
    if name == services.version.node {
        return services.node.open(request).await;
    }
    let Some(node) = server.nodes.node(&name) else {
        let key = ObjectKey::new(Resource::NODES, "", &name);
        return Err(match server.gateway.view().get(&key) {
            Some(_) => StatusError::unavailable(format!("node {name:?} is not connected")),
            None => StatusError::not_found(&key),
        });
    };
    node.open(request).await
}

/// The pod of a request, and what it asks of it in the words of authorisation.
fn pod_access(request: &NodeRequest) -> Option<(&PodRef, &'static str, &'static str)> {
    match request {
        NodeRequest::Logs(logs) => Some((&logs.pod, "get", "log")),
        NodeRequest::Exec(exec) => Some((&exec.pod, "create", "exec")),
        NodeRequest::Attach(attach) => Some((&attach.pod, "create", "attach")),
        NodeRequest::PortForward { pod, .. } => Some((pod, "create", "portforward")),
        NodeRequest::DnsLookup {
            from: Some(pod), ..
        } => Some((pod, "get", "")),
        NodeRequest::DnsLookup { from: None, .. }
        | NodeRequest::TraceService { .. }
        | NodeRequest::Actors
        | NodeRequest::KillActor { .. }
        | NodeRequest::Check
        | NodeRequest::ImageList
        | NodeRequest::ImagePull { .. }
        | NodeRequest::ImageLoad { .. }
        | NodeRequest::ImageRemove { .. }
        | NodeRequest::Metrics
        | NodeRequest::Settings => None,
    }
}

/// The node that a pod is bound to.
fn node_of(server: &ServerSide, key: &ObjectKey) -> Result<String, StatusError> {
    let view = server.gateway.view();
    let pod = view.get(key).ok_or_else(|| StatusError::not_found(key))?;
    let bound = index_entries(&pod.key, &pod.json)
        .into_iter()
        .find_map(|(index, value)| (index == Index::Node).then_some(value));
    bound.ok_or_else(|| {
        StatusError::bad_request(format!("pod {} does not have a host assigned", key.name))
    })
}
