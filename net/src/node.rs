//! The pod network of one node: its bridge, its rules, and the links into its pods.
//!
//! Called by the node agent. Everything happens in the network namespace in which
//! [`NodeNetwork::open`] was called, so several nodes can share a machine, each in a namespace
//! of its own. What exists is read back from the kernel, never from a file: the host end of
//! every pod's link carries the pod's uid and address in its alias.
//!
//! Invariants: no interface is changed or removed that is not the node's bridge, its VXLAN
//! device or one of its pods' links; no route but those that carry our mark; no nftables table but the one of [`crate::plan::TABLE_NAME`] is touched.

mod attach;
mod disturbance;
mod ensure;
mod local_address;
mod peers;
mod ranges;
mod reset;
mod shortcuts;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Mutex;

use crate::filter::Filter;
use crate::plan::{self, AddressPool, Cidr, MacAddress, NetworkMode, OverlayState, VxlanSettings};
use crate::remove::Remover;
use crate::route::Routes;
use crate::{NetError, Netns};

use shortcuts::ShortWay;

pub use disturbance::Disturbances;
pub use peers::PeerFailure;
pub(crate) use shortcuts::LENIENT;

/// The number of the VXLAN network, unless told otherwise ("kb"): far from 1, which other
/// programs take.
pub const DEFAULT_VNI: u32 = 0x6b62;

/// The UDP port of VXLAN, unless told otherwise: what Linux has by default and pod networks
/// use, not that of the RFC, which many networks filter or use themselves.
pub const DEFAULT_VXLAN_PORT: u16 = 8472;

/// Settings of a node's network. They do not change while it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Name of the bridge: 1 to 15 characters.
    pub bridge: String,
    /// The node's block. Its first host address is the gateway.
    pub pod_cidr: Cidr,
    /// The block of all nodes' pods; traffic that stays in it keeps its source address.
    pub cluster_cidr: Cidr,
    /// The node's address among the nodes.
    pub node_ip: IpAddr,
    /// How other nodes' pods are reached.
    pub mode: NetworkMode,
    /// The VXLAN device. It is made when the first peer needs it.
    pub vxlan: VxlanSettings,
    /// MTU of the bridge, the VXLAN device and the pods, in bytes. `None` takes that of the
    /// interface that has the node's address, else that of the one that the default route
    /// uses, else 1500; less what VXLAN adds, unless the mode is `direct`.
    pub mtu: Option<u32>,
}

impl NetworkConfig {
    /// Settings with the usual values for all that may be left out. The VXLAN device is called
    /// `overlay`: 1 to 15 characters.
    pub fn new(
        bridge: &str,
        overlay: &str,
        node_ip: IpAddr,
        pod_cidr: Cidr,
        cluster_cidr: Cidr,
    ) -> Self {
        Self {
            bridge: bridge.to_owned(),
            pod_cidr,
            cluster_cidr,
            node_ip,
            mode: NetworkMode::default(),
            vxlan: VxlanSettings {
                device: overlay.to_owned(),
                vni: DEFAULT_VNI,
                port: DEFAULT_VXLAN_PORT,
            },
            mtu: None,
        }
    }
}

/// What [`NodeNetwork::attach`] needs to know of a pod.
#[derive(Debug, Clone)]
pub struct AttachRequest {
    /// The pod's uid.
    pub pod_uid: String,
    /// The pod's network namespace.
    pub netns: Netns,
    /// The pod's address, from the node's pod CIDR.
    pub address: IpAddr,
}

/// A pod that was wired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The node's end of the link.
    pub host_interface: String,
    /// The pod's address.
    pub address: IpAddr,
    /// Where the pod's default route goes: the node's address on the bridge.
    pub gateway: IpAddr,
    /// The pod's hardware address.
    pub mac: MacAddress,
    /// MTU of the pod's interface, in bytes.
    pub mtu: u32,
}

/// A link into a pod, as found in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The node's end of the link.
    pub host_interface: String,
    /// The pod's uid; `None` when the wiring was cut short before it was labelled.
    pub pod_uid: Option<String>,
    /// The pod's address; `None` as above.
    pub address: Option<IpAddr>,
}

/// The pod network of one node. Cheap to clone; clones are the same network.
#[derive(Clone)]
pub struct NodeNetwork {
    inner: Arc<Inner>,
}

struct Inner {
    config: NetworkConfig,
    gateway: IpAddr,
    netns: Netns,
    routes: Routes,
    remover: Remover,
    filter: Filter,
    /// Index and MTU of the bridge, once ensured; 0 before.
    bridge_index: AtomicU32,
    mtu: AtomicU32,
    /// What the kernel has of the overlay; `None` when that has to be read.
    overlay: Mutex<Option<OverlayState>>,
    short_way: ShortWay,
}

impl NodeNetwork {
    /// Opens the network of the calling thread's namespace. Changes nothing yet; call
    /// [`NodeNetwork::ensure`] next. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the configuration is not possible or a netlink socket cannot be opened.
    pub fn open(config: NetworkConfig) -> Result<Self, NetError> {
        plan::check_interface_name(&config.bridge)?;
        plan::check_interface_name(&config.vxlan.device)?;
        if !(1..1 << 24).contains(&config.vxlan.vni) {
            return Err(NetError::Vni(config.vxlan.vni));
        }
        if config.vxlan.port == 0 {
            return Err(NetError::VxlanPort);
        }
        if !config.pod_cidr.is_ipv4() {
            return Err(NetError::Ipv6PodCidr(config.pod_cidr));
        }
        if !config.cluster_cidr.contains_block(&config.pod_cidr) {
            return Err(NetError::PodCidrOutsideCluster {
                pods: config.pod_cidr,
                cluster: config.cluster_cidr,
            });
        }
        let gateway = AddressPool::new(config.bridge.clone(), config.pod_cidr)?.gateway();
        let netns = Netns::current()?;
        Ok(Self {
            inner: Arc::new(Inner {
                gateway,
                routes: Routes::open()?,
                remover: Remover::open()?,
                filter: Filter::open(&netns)?,
                netns,
                config,
                bridge_index: AtomicU32::new(0),
                mtu: AtomicU32::new(0),
                overlay: Mutex::new(None),
                short_way: ShortWay::default(),
            }),
        })
    }

    /// The namespace that it is in.
    pub(crate) fn netns(&self) -> &Netns {
        &self.inner.netns
    }

    /// The settings.
    pub fn config(&self) -> &NetworkConfig {
        &self.inner.config
    }

    /// The node's address on the bridge.
    pub fn gateway(&self) -> IpAddr {
        self.inner.gateway
    }

    /// An address pool over the node's block, in which the addresses of all attached pods are
    /// taken: the pool to start with after a restart.
    ///
    /// # Errors
    /// When the links cannot be listed, or two pods claim one address.
    pub async fn adopt_pool(&self) -> Result<AddressPool, NetError> {
        let config = self.config();
        let mut pool = AddressPool::new(config.bridge.clone(), config.pod_cidr)?;
        for attached in self.attached().await? {
            if let Some(address) = attached.address {
                pool.reserve(address)?;
            }
        }
        Ok(pool)
    }

    fn bridge_index(&self) -> Option<u32> {
        match self.inner.bridge_index.load(Ordering::Acquire) {
            0 => None,
            index => Some(index),
        }
    }
}
