//! Where the servers are, as their Nodes say.

use crate::node_lifecycle::is_lost;
use kabuki_model::Resource;
use kabuki_model::Stored;
use kabuki_model::k8s_openapi::api::core::v1::Node;
use kabuki_model::view::View;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// `server` or `worker`; only servers write these annotations.
const ROLE: &str = "cluster.kabuki.dev/role";
/// `HOST:PORT` of the node's port.
const ADDRESS: &str = "cluster.kabuki.dev/address";
/// Where servers listen if nobody says otherwise.
pub(super) const USUAL_PORT: u16 = 6443;

/// One server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Server {
    port: u16,
    address: Ipv4Addr,
}

/// The servers that clients may be sent to.
pub(super) struct Servers(BTreeSet<Server>);

impl Servers {
    /// The servers that are ready. Where none says so, all: somebody has to be asked.
    pub(super) fn read(view: &dyn View) -> Self {
        let nodes = view.scan(&Resource::NODES, None, None);
        let all: Vec<(Server, bool)> = nodes.filter_map(|n| server(n)).collect();
        let ready: BTreeSet<Server> = all.iter().filter(|(_, r)| *r).map(|(s, _)| *s).collect();
        Self(match ready.is_empty() {
            true => all.into_iter().map(|(s, _)| s).collect(),
            false => ready,
        })
    }

    /// The ports that they listen on.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        let ports: BTreeSet<u16> = self.0.iter().map(|s| s.port).collect();
        ports.into_iter()
    }

    /// The addresses of those that listen on this port.
    pub(super) fn behind(&self, port: u16) -> impl Iterator<Item = Ipv4Addr> {
        let servers = self.0.iter().filter(move |s| s.port == port);
        servers.map(|s| s.address)
    }
}

/// The server that a Node stands for, and whether it is ready.
fn server(stored: &Stored) -> Option<(Server, bool)> {
    let node = stored.typed::<Node>().ok()?;
    let annotations = node.metadata.annotations.as_ref()?;
    let leaving = node.metadata.deletion_timestamp.is_some();
    if annotations.get(ROLE)? != "server" || leaving {
        return None;
    }
    let (host, port) = annotations.get(ADDRESS)?.rsplit_once(':')?;
    // A host that only the node itself knows (its loopback, a name) leads nowhere from a pod.
    let usable = |a: &Ipv4Addr| !a.is_loopback() && !a.is_unspecified() && !a.is_link_local();
    let told = host.parse().ok().filter(usable);
    let address = told.or_else(|| internal(&node).filter(usable))?;
    let server = Server {
        port: port.parse().ok()?,
        address,
    };
    Some((server, has_said_ready(&node) && !is_lost(&node)))
}

fn internal(node: &Node) -> Option<Ipv4Addr> {
    let addresses = node.status.as_ref()?.addresses.as_deref()?;
    let own = addresses.iter().filter(|a| a.type_ == "InternalIP");
    own.filter_map(|a| a.address.parse().ok()).next()
}

fn has_said_ready(node: &Node) -> bool {
    let status = node.status.as_ref();
    let conditions = status.and_then(|s| s.conditions.as_deref());
    conditions
        .unwrap_or_default()
        .iter()
        .any(|c| c.type_ == "Ready")
}

/// Whether a change of a Node can change where the servers are.
pub(super) fn is_changed(now: &Stored, before: Option<&Stored>) -> bool {
    match before {
        Some(before) => server(now) != server(before),
        None => server(now).is_some(),
    }
}
