//! The network of one node's pods.
//!
//! - [`plan`]: pure. Address blocks and pools, names, the packet filter rules as data.
//! - [`NodeNetwork`]: makes the node's bridge and rules, wires pods to it, connects it to the
//!   pods of other nodes, lists and removes what it made. All by netlink; no other program is
//!   run.
//! - [`ServiceTable`]: the services in the packet filter, as [`plan::services`] has them.
//! - [`Netns`]: a network namespace that is held open, and code that runs inside it.
//! - [`dial`]: a TCP connection from inside another network namespace.
//! - [`check`]: what this host offers, and what each lack costs.
//!
//! How packets go: each pod has `eth0` with its address alone (a /32) and a default route to
//! the node's gateway address on the bridge, so packets between pods of one node take the
//! node's routing and packet filter like all others, and translated packets find their way
//! back. Where the kernel's bridge filter is on (`bridge-nf-call-iptables`, which other
//! programs set and rely on, so it is left as it is), a packet translated to a pod of the same
//! bridge skips the routing and goes straight to the pod's port; ports are in hairpin mode so
//! that this also works when it is the port that it came from. Both ways are tested.
//!
//! `unsafe` is needed for two system calls on namespaces, in [`Netns`] only.

mod check;
mod dial;
mod error;
mod filter;
mod netns;
mod nft;
mod node;
pub mod plan;
mod proxy;
mod remove;
mod route;
mod serve;
mod shortcut;
mod sysctl;
mod wire;

pub use check::{Probe, check};
pub use dial::dial;
pub use error::NetError;
pub use netns::Netns;
pub use node::{
    AttachRequest, Attached, Attachment, DEFAULT_VNI, DEFAULT_VXLAN_PORT, Disturbances,
    NetworkConfig, NodeNetwork, PeerFailure,
};
pub use proxy::{
    Datagrams, Fate, Pick, ProxyConfig, ServiceNotices, ServiceTable, ServiceTrace, UdpFronts,
};
