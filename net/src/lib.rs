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
//! To pods of other nodes there is, beside that long way, a short one: packets of TCP connections
//! that were seen to go the long way unchanged in both directions are taken from the pod's link
//! straight to the VXLAN device, and from there to the pod, by small programs in the kernel. Their
//! first and last packets, some in between, and all that is translated go the long way, and where
//! the kernel takes no programs, everything does. `shortcut.rs` says how it is kept true.
//!
//! `unsafe` is needed for system calls that nobody wraps: two on namespaces, in [`Netns`], and bpf(2),
//! in `shortcut/kernel.rs` only.

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
