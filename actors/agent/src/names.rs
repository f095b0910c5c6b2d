//! The name server of the node's pods, under the address that it has on every node.
//!
//! ```text
//!   directory ── changed services ──> names ── snapshots of the zone ──> server (threads of dns)
//!                                       └── the address ──> the node's loopback interface
//! ```
//!
//! Who talks to it: the directory's changes, and a watchman of the server. The server outlives the
//! actor: names are answered while the actor restarts, from what was known last. A part of the
//! server that ends by itself has the whole of it opened again.
//!
//! Nothing is answered as missing before everything is known, be it from the copy on disk.

mod actor;
mod lookup;

use crate::config::AgentConfig;
use crate::directory::{Changes, DirectoryHandle};
use crate::event::EventHandle;
use crate::network::PodNetwork;
use actor::Keeper;
use kabuki_dns::forward::{CacheLimits, ForwardConfig, Forwarder, Stub, Upstreams};
use kabuki_dns::server::{Clients, Published, Server, ServerConfig, ServerError};
use kabuki_dns::wire::Name;
use kabuki_dns::zone::ZoneSettings;
use kabuki_kit::{ChildSpec, Slot};
use kabuki_net::plan::Cidr;
use ractor_cluster::RactorMessage;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The port of name servers.
const PORT: u16 = 53;
/// Answers of others that are kept: what the pods of one node ask for.
const KEPT: CacheLimits = CacheLimits {
    entries: 16_384,
    bytes: 8 << 20,
};
/// The node's name servers. Where systemd stands in front of them under an address that only the
/// node itself reaches, they are in the other file.
const NODE_FILE: &str = "/etc/resolv.conf";
const NODE_FILE_OF_SYSTEMD: &str = "/run/systemd/resolve/resolv.conf";

#[derive(RactorMessage)]
pub(crate) enum NamesMessage {
    Changed {
        changes: Changes,
        handled: oneshot::Sender<()>,
    },
    /// Make the address local and listen on it.
    Open,
    /// A part of the server ended.
    Broken,
}

/// Reaches the name server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct NamesHandle {
    slot: Slot<NamesMessage>,
    shared: Arc<Shared>,
}

/// What outlives the actor.
struct Shared {
    node_name: String,
    addresses: Vec<IpAddr>,
    zone: ZoneSettings,
    forward: ForwardConfig,
    clients: Clients,
    directory: DirectoryHandle,
    network: PodNetwork,
    events: EventHandle,
    server: Mutex<Option<Arc<Server>>>,
}

impl NamesHandle {
    pub fn new(
        config: &AgentConfig,
        directory: DirectoryHandle,
        network: PodNetwork,
        events: EventHandle,
    ) -> Self {
        let block = |cidr: &Cidr| (cidr.network(), cidr.prefix_len());
        let mut blocks = vec![block(&config.cluster_cidr)];
        blocks.extend(config.names.clients.iter().map(block));
        let own = config.cluster_dns.iter().chain([&config.node_ip]);
        let single = |a: &IpAddr| (*a, if a.is_ipv4() { 32 } else { 128 });
        blocks.extend(own.map(single));
        Self {
            slot: Slot::new("names"),
            shared: Arc::new(Shared {
                node_name: config.node_name.clone(),
                addresses: config.cluster_dns.clone(),
                zone: ZoneSettings {
                    domain: config.cluster_domain.clone(),
                    pod_blocks: vec![block(&config.cluster_cidr)],
                    service_blocks: config.service_cidr.iter().map(block).collect(),
                    servers: config.cluster_dns.clone(),
                },
                forward: forward(config),
                clients: Clients { blocks },
                directory,
                network,
                events,
                server: Mutex::default(),
            }),
        }
    }

    pub fn child(&self) -> ChildSpec {
        let shared = self.shared.clone();
        ChildSpec::worker("names", &self.slot, move |_| {
            (Keeper::new(shared.clone()), ())
        })
    }
}

fn forward(config: &AgentConfig) -> ForwardConfig {
    let names = &config.names;
    let stubs = names.stub_domains.iter().filter_map(|(domain, servers)| {
        Some(Stub {
            domain: Name::from_text(domain).ok()?,
            servers: servers.clone(),
        })
    });
    ForwardConfig {
        upstreams: match names.upstreams.is_empty() {
            true => Upstreams::File(node_file()),
            false => Upstreams::Fixed(names.upstreams.clone()),
        },
        stubs: stubs.collect(),
        own: config.cluster_dns.clone(),
        cache: KEPT,
    }
}

/// The file with the node's name servers that others than the node itself can reach.
pub(crate) fn node_file() -> PathBuf {
    let text = std::fs::read_to_string(NODE_FILE).unwrap_or_default();
    let servers = kabuki_dns::resolv_conf::nameservers(&text);
    let only_itself = !servers.is_empty() && servers.iter().all(IpAddr::is_loopback);
    let other = Path::new(NODE_FILE_OF_SYSTEMD);
    match only_itself && other.exists() {
        true => other.to_path_buf(),
        false => PathBuf::from(NODE_FILE),
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Option<Arc<Server>>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server, while it runs.
    fn server(&self) -> Option<Arc<Server>> {
        self.held().clone()
    }

    /// Opens a server in the place of the one that there may be.
    fn open(&self, published: Published) -> Result<Arc<Server>, ServerError> {
        let config = ServerConfig {
            addresses: self
                .addresses
                .iter()
                .map(|a| SocketAddr::new(*a, PORT))
                .collect(),
            threads: None,
            prepare: kabuki_runtime::prefer_this_thread,
            clients: self.clients.clone(),
        };
        let mut held = self.held();
        // What was kept from others is still good.
        let forwarder = match held.take() {
            Some(before) => before.forwarder().clone(),
            None => Forwarder::new(self.forward.clone()),
        };
        let server = Arc::new(Server::open(&config, published, forwarder)?);
        *held = Some(server.clone());
        Ok(server)
    }
}
