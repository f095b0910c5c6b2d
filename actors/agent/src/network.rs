//! The addresses of the node's pods, their links, and the way to other nodes' pods. Shared by all pods of the node; what is
//! attached is read back from the kernel when the agent starts.

use kabuki_net::plan::{AddressPool, Cidr, Peer};
use kabuki_net::{
    AttachRequest, Datagrams, Disturbances, NetError, Netns, NetworkConfig, NodeNetwork,
    PeerFailure, ServiceNotices, ServiceTable,
};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The pod network and who has which address.
#[derive(Clone)]
pub(crate) struct PodNetwork {
    net: NodeNetwork,
    addresses: Arc<Mutex<Addresses>>,
    /// Changes with every link that comes or goes.
    links: Arc<watch::Sender<u64>>,
    /// Changes when the packet filter had to be made anew.
    restored: Arc<watch::Sender<u64>>,
}

struct Addresses {
    pool: AddressPool,
    by_pod: HashMap<String, IpAddr>,
}

impl PodNetwork {
    /// Makes the node's side of the network and takes over what is attached to it.
    pub async fn open(config: NetworkConfig) -> Result<Self, NetError> {
        let net = NodeNetwork::open(config)?;
        net.ensure().await?;
        let pool = net.adopt_pool().await?;
        let attached = net.attached().await?;
        let by_pod = attached
            .into_iter()
            .filter_map(|a| Some((a.pod_uid?, a.address?)))
            .collect();
        let addresses = Arc::new(Mutex::new(Addresses { pool, by_pod }));
        let counter = || Arc::new(watch::channel(0).0);
        Ok(Self {
            net,
            addresses,
            links: counter(),
            restored: counter(),
        })
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Wires a pod whose network namespace is at `netns`, and tells its address.
    pub async fn attach(&self, uid: &str, netns: &Path) -> Result<IpAddr, NetError> {
        let netns = Netns::open(netns)?;
        let address = {
            let mut held = self.addresses();
            match held.by_pod.get(uid).copied() {
                Some(address) => address,
                None => {
                    let address = held.pool.allocate()?;
                    held.by_pod.insert(uid.to_string(), address);
                    address
                }
            }
        };
        let request = AttachRequest {
            pod_uid: uid.to_string(),
            netns,
            address,
        };
        match self.net.attach(request).await {
            Ok(attachment) => {
                self.links.send_modify(|n| *n += 1);
                Ok(attachment.address)
            }
            Err(error) => {
                self.release(uid);
                Err(error)
            }
        }
    }

    /// Takes a pod's link away and gives its address back. One that has none is fine.
    pub async fn detach(&self, uid: &str) -> Result<(), NetError> {
        let detached = self.net.detach(uid).await;
        if detached.is_ok() {
            self.release(uid);
        }
        detached.map(drop)
    }

    fn release(&self, uid: &str) {
        let mut held = self.addresses();
        if let Some(address) = held.by_pod.remove(uid) {
            held.pool.release(address);
            self.links.send_modify(|n| *n += 1);
        }
    }

    /// The pods that are wired, by uid, with their addresses.
    pub fn wired(&self) -> Vec<(String, IpAddr)> {
        let held = self.addresses();
        let wired = held.by_pod.iter();
        wired.map(|(uid, ip)| (uid.clone(), *ip)).collect()
    }

    /// Tells of links that come and go.
    pub fn links(&self) -> watch::Receiver<u64> {
        self.links.subscribe()
    }

    /// Tells when the packet filter was made anew.
    pub fn restored(&self) -> watch::Receiver<u64> {
        self.restored.subscribe()
    }

    /// The node's own addresses.
    pub async fn own_addresses(&self) -> Result<Vec<IpAddr>, NetError> {
        self.net.own_addresses().await
    }

    /// Makes the node's side of the network what it should be once more.
    pub async fn ensure(&self, services: &[Cidr]) -> Result<(), NetError> {
        self.net.ensure().await?;
        self.restored.send_modify(|n| *n += 1);
        self.net.ensure_service_routes(services).await
    }

    /// The way of the node's own processes to services.
    pub async fn ensure_service_routes(&self, services: &[Cidr]) -> Result<(), NetError> {
        self.net.ensure_service_routes(services).await
    }

    /// The services in the packet filter. Blocks shortly.
    pub fn services(&self, ranges: Vec<Cidr>) -> Result<ServiceTable, NetError> {
        self.net.services(ranges)
    }

    /// The node's UDP connections. Blocks shortly.
    pub fn datagrams(&self) -> Result<Datagrams, NetError> {
        self.net.datagrams()
    }

    /// Changes of the packet filter by others than the socket with this number. Blocks shortly.
    pub fn service_notices(&self, own: u32) -> Result<ServiceNotices, NetError> {
        self.net.service_notices(own)
    }

    /// Connects the pods of these nodes, and no others. Tells which could not be.
    pub async fn set_peers(&self, peers: &[Peer]) -> Result<Vec<PeerFailure>, NetError> {
        self.net.set_peers(peers).await
    }

    /// Has the next [`PodNetwork::set_peers`] look at what there is.
    pub async fn forget_peers(&self) {
        self.net.forget_peers().await;
    }

    /// Changes of the machine's network that may concern peers.
    pub fn disturbances(&self) -> Result<Disturbances, NetError> {
        self.net.disturbances()
    }

    /// Makes these addresses, and no others of ours, local to the node.
    pub async fn hold_local(&self, addresses: &[IpAddr]) -> Result<(), NetError> {
        self.net.hold_local(addresses).await
    }

    /// Takes away the links of all pods that are not in `known`.
    pub async fn sweep(&self, known: &HashSet<String>) -> Result<(), NetError> {
        for attached in self.net.attached().await? {
            match attached.pod_uid {
                Some(uid) if known.contains(&uid) => {}
                Some(uid) => self.detach(&uid).await?,
                None => drop(self.net.remove_interface(&attached.host_interface).await?),
            }
        }
        Ok(())
    }
}
