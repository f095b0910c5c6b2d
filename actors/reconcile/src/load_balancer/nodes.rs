//! The nodes that answer for load balancers, and where.

use crate::node_lifecycle::is_lost;
use kabuki_model::k8s_openapi::api::core::v1::{LoadBalancerIngress, Node};
use kabuki_model::view::View;
use kabuki_model::{Resource, Stored};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The label of nodes that answer for no load balancer.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// `HOST:PORT` of the node's port.
const ADDRESS: &str = "cluster.kabuki.dev/address";

/// What of a node matters here: its address, when it answers, and its own port.
pub(super) fn facts(stored: &Stored) -> (Option<IpAddr>, Option<i32>) {
    (address(stored), client_port(stored))
}

/// Where the nodes answer that are ready.
pub(super) fn ready(view: &dyn View) -> Vec<LoadBalancerIngress> {
    let nodes = view.scan(&Resource::NODES, None, None);
    let addresses: BTreeSet<IpAddr> = nodes.filter_map(|n| address(n)).collect();
    let ingress = addresses.into_iter().map(|a| LoadBalancerIngress {
        ip: Some(a.to_string()),
        ip_mode: Some("VIP".to_string()),
        ..LoadBalancerIngress::default()
    });
    ingress.collect()
}

/// The ports of the nodes' own API.
pub(super) fn client_ports(view: &dyn View) -> BTreeSet<i32> {
    let nodes = view.scan(&Resource::NODES, None, None);
    nodes.filter_map(|n| client_port(n)).collect()
}

fn client_port(stored: &Stored) -> Option<i32> {
    let annotations = stored.meta().annotations.as_ref()?;
    annotations.get(ADDRESS)?.rsplit_once(':')?.1.parse().ok()
}

/// The node's address for the outside, while it answers.
fn address(stored: &Stored) -> Option<IpAddr> {
    let node = stored.typed::<Node>().ok()?;
    let labels = node.metadata.labels.as_ref();
    let excluded = labels.is_some_and(|l| l.contains_key(EXCLUDED));
    let leaving = node.metadata.deletion_timestamp.is_some();
    let status = node.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let told = conditions.iter().any(|c| c.type_ == "Ready");
    if excluded || leaving || !told || is_lost(&node) {
        return None;
    }
    let addresses = status.addresses.as_deref().unwrap_or_default();
    let of = |kind: &str| {
        let own = addresses.iter().filter(|a| a.type_ == kind);
        own.filter_map(|a| a.address.parse().ok()).next()
    };
    of("ExternalIP").or_else(|| of("InternalIP"))
}
