//! The addresses of the node's pods, their links, and the way to other nodes' pods. Shared by all pods of the node; what is
//! attached is read back from the kernel when the agent starts.

use kabuki_net::plan::{AddressPool, Peer};
use kabuki_net::{
    AttachRequest, Disturbances, NetError, Netns, NetworkConfig, NodeNetwork, PeerFailure,
};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The pod network and who has which address.
#[derive(Clone)]
pub(crate) struct PodNetwork {
    net: NodeNetwork,
    addresses: Arc<Mutex<Addresses>>,
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
        Ok(Self { net, addresses })
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
            Ok(attachment) => Ok(attachment.address),
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
        }
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
