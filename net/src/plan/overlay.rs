//! The way to the pods of other nodes: by which path each peer's block is reached.
//!
//! A peer on a segment that this node is connected to gets a plain route by the peer's
//! address. The others are reached through one VXLAN device (RFC 7348) without multicast and
//! without learning: the far end of the tunnel to a peer is told by its block alone, so nothing
//! but the Node objects needs to be known. Its address there is the first of the block, which
//! no pod ever has, and its hardware address follows from that one.
//!
//! [`overlay_plan`] says what should be, [`overlay_changes`] what is to be done about it.

mod changes;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Cidr, MacAddress, mac_for};

pub use changes::{Change, FoundDevice, OverlayState, overlay_changes};

/// What VXLAN over IPv4 adds to every packet, in bytes: the outer IPv4 and UDP headers, its
/// own, and the inner Ethernet header.
pub const VXLAN_OVERHEAD: u32 = 20 + 8 + 8 + 14;

/// How nodes reach each other's pods. It is meant to be the same on all nodes; where two nodes
/// differ and say so, the one that wants VXLAN has its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Always through VXLAN.
    Vxlan,
    /// Always by a plain route: all nodes share a segment.
    Direct,
    /// By a plain route where two nodes share a segment, else through VXLAN.
    #[default]
    Auto,
}

/// A text that is not a [`NetworkMode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a network mode: it is vxlan, direct or auto")]
pub struct NetworkModeError(String);

/// The VXLAN device of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VxlanSettings {
    /// Name of the device: 1 to 15 characters.
    pub device: String,
    /// The network's number, 1 to 2^24 - 1: the same on all nodes.
    pub vni: u32,
    /// The UDP port: the same on all nodes.
    pub port: u16,
}

/// What [`overlay_plan`] knows of the node itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeNet {
    /// The node's address among the nodes.
    pub node_ip: Ipv4Addr,
    /// The node's block.
    pub pod_cidr: Cidr,
    /// The block of all nodes' pods.
    pub cluster_cidr: Cidr,
    /// The VXLAN device, should there be need of it.
    pub vxlan: VxlanSettings,
    /// MTU of the pods and of the VXLAN device, in bytes.
    pub mtu: u32,
}

/// Another node, as its Node object describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The node's name: who is meant in errors.
    pub name: String,
    /// Its block of pod addresses.
    pub pod_cidr: Cidr,
    /// Its address among the nodes.
    pub address: IpAddr,
    /// Its own mode, if it told.
    pub mode: Option<NetworkMode>,
}

/// A network that one of the node's interfaces is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectedPrefix {
    /// The node's own address there.
    pub address: IpAddr,
    /// How many bits of it all neighbours share.
    pub prefix_len: u8,
    /// The interface's index.
    pub interface: u32,
}

/// The way to one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// A plain route.
    Direct {
        /// The peer's address.
        via: Ipv4Addr,
        /// The interface that the segment is at.
        interface: u32,
    },
    /// Through the VXLAN device.
    Vxlan {
        /// The peer's address: where the tunnel ends.
        node: Ipv4Addr,
    },
}

/// The VXLAN device as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VxlanDevice {
    /// Name, number and port.
    pub settings: VxlanSettings,
    /// The address that packets are sent from.
    pub local: Ipv4Addr,
    /// Its hardware address.
    pub mac: MacAddress,
    /// In bytes.
    pub mtu: u32,
}

/// Why a peer is not connected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerProblem {
    /// The two nodes are to use plain routes only, and share no segment.
    #[error(
        "its address {0} is not on a segment of this node, and the network mode is direct; use \
         the mode auto or vxlan on all nodes"
    )]
    OffSegment(Ipv4Addr),
    /// Only IPv4 is done.
    #[error("its {0} is IPv6; pod networks of this version are IPv4")]
    Ipv6(&'static str),
    /// The block is not of the cluster.
    #[error("its pod CIDR {0} is not inside the cluster CIDR {1}")]
    OutsideCluster(Cidr, Cidr),
    /// The block is somebody else's, at least in part.
    #[error("its pod CIDR {0} overlaps with {2} of node {1}")]
    Overlap(Cidr, String, Cidr),
    /// The block is this node's own, at least in part.
    #[error("its pod CIDR {0} overlaps with this node's own {1}")]
    OverlapsOwn(Cidr, Cidr),
    /// The address cannot be that of another node.
    #[error("its address {0} is {1}")]
    Address(Ipv4Addr, &'static str),
}

/// What should be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// The VXLAN device; `None` as long as no peer needs it.
    pub device: Option<VxlanDevice>,
    /// The way to each peer's block.
    pub paths: BTreeMap<Cidr, Path>,
    /// Whose each block is.
    pub owners: BTreeMap<Cidr, String>,
    /// Peers that are left out.
    pub problems: Vec<(String, PeerProblem)>,
}

/// Where the tunnel to `block` ends: the first address of the block, as next hop, and its
/// hardware address.
pub fn tunnel_end(block: Cidr) -> (IpAddr, MacAddress) {
    (block.network(), mac_for(block.network()))
}

/// The MTU of pods on a node whose address is on a device with `device_mtu`. In mode `auto` it
/// leaves room for VXLAN, so that a path may change without the pods noticing.
pub fn pod_mtu(device_mtu: u32, mode: NetworkMode) -> u32 {
    match mode {
        NetworkMode::Direct => device_mtu,
        NetworkMode::Vxlan | NetworkMode::Auto => device_mtu.saturating_sub(VXLAN_OVERHEAD),
    }
}

/// Decides the way to each peer. Of two peers that claim one address block, the earlier in
/// `peers` has it.
pub fn overlay_plan(
    own: &NodeNet,
    peers: &[Peer],
    segments: &[ConnectedPrefix],
    mode: NetworkMode,
) -> Desired {
    let mut desired = Desired::default();
    for peer in peers {
        match path_to(own, peer, segments, mode, &desired) {
            Ok(path) => {
                desired.paths.insert(peer.pod_cidr, path);
                desired.owners.insert(peer.pod_cidr, peer.name.clone());
            }
            Err(problem) => desired.problems.push((peer.name.clone(), problem)),
        }
    }
    let tunnels = |path: &Path| matches!(path, Path::Vxlan { .. });
    desired.device = desired.paths.values().any(tunnels).then(|| VxlanDevice {
        settings: own.vxlan.clone(),
        local: own.node_ip,
        mac: tunnel_end(own.pod_cidr).1,
        mtu: own.mtu,
    });
    desired
}

fn path_to(
    own: &NodeNet,
    peer: &Peer,
    segments: &[ConnectedPrefix],
    mode: NetworkMode,
    so_far: &Desired,
) -> Result<Path, PeerProblem> {
    let block = peer.pod_cidr;
    check_block(own, block, so_far)?;
    let address = check_address(own, peer.address)?;
    let modes = [mode, peer.mode.unwrap_or(mode)];
    let tunnel = Path::Vxlan { node: address };
    if modes.contains(&NetworkMode::Vxlan) {
        return Ok(tunnel);
    }
    match shared_segment(own, address, segments) {
        Some(interface) => Ok(Path::Direct {
            via: address,
            interface,
        }),
        None if modes.contains(&NetworkMode::Direct) => Err(PeerProblem::OffSegment(address)),
        None => Ok(tunnel),
    }
}

fn check_block(own: &NodeNet, block: Cidr, so_far: &Desired) -> Result<(), PeerProblem> {
    if !block.is_ipv4() {
        return Err(PeerProblem::Ipv6("pod CIDR"));
    }
    if !own.cluster_cidr.contains_block(&block) {
        return Err(PeerProblem::OutsideCluster(block, own.cluster_cidr));
    }
    if own.pod_cidr.overlaps(&block) {
        return Err(PeerProblem::OverlapsOwn(block, own.pod_cidr));
    }
    match so_far.owner_within(block) {
        Some((taken, owner)) => Err(PeerProblem::Overlap(block, owner.to_owned(), taken)),
        None => Ok(()),
    }
}

fn check_address(own: &NodeNet, address: IpAddr) -> Result<Ipv4Addr, PeerProblem> {
    let IpAddr::V4(v4) = address else {
        return Err(PeerProblem::Ipv6("address"));
    };
    let refused = if v4 == own.node_ip {
        "this node's own"
    } else if own.cluster_cidr.contains(address) {
        "inside the cluster CIDR, which is for pods"
    } else if v4.is_unspecified() || v4.is_loopback() || v4.is_multicast() || v4.is_broadcast() {
        "not one that another node can have"
    } else {
        return Ok(v4);
    };
    Err(PeerProblem::Address(v4, refused))
}

/// The interface of the segment that both nodes' addresses are on. It must be the one of the
/// node's own address, for that is what the peer sees: the two must come to the same answer.
fn shared_segment(own: &NodeNet, peer: Ipv4Addr, segments: &[ConnectedPrefix]) -> Option<u32> {
    let shared = segments.iter().filter(|segment| {
        let network = Cidr::containing(segment.address, segment.prefix_len);
        segment.address == IpAddr::V4(own.node_ip)
            && network.is_ok_and(|network| network.contains(peer.into()))
    });
    let narrowest = shared.max_by_key(|segment| segment.prefix_len)?;
    Some(narrowest.interface)
}

impl Desired {
    /// A block that overlaps `block`, and whose it is. Blocks of `paths` never overlap each
    /// other, so only its neighbours in order can.
    fn owner_within(&self, block: Cidr) -> Option<(Cidr, &str)> {
        let before = self.owners.range(..=block).next_back();
        let after = self.owners.range(block..).next();
        let hit = before.into_iter().chain(after);
        hit.into_iter()
            .find(|(taken, _)| taken.overlaps(&block))
            .map(|(taken, owner)| (*taken, owner.as_str()))
    }
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vxlan => "vxlan",
            Self::Direct => "direct",
            Self::Auto => "auto",
        })
    }
}

impl FromStr for NetworkMode {
    type Err = NetworkModeError;

    fn from_str(text: &str) -> Result<Self, NetworkModeError> {
        match text {
            "vxlan" => Ok(Self::Vxlan),
            "direct" => Ok(Self::Direct),
            "auto" => Ok(Self::Auto),
            _ => Err(NetworkModeError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
