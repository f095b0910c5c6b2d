//! What the node's network should be, as data. Pure: nothing here performs I/O, reads a
//! clock or draws a random number, so every decision is testable by value.
//!
//! The effects side ([`crate::NodeNetwork`]) reads what exists, asks this module what is to change,
//! and carries that out.

mod cidr;
mod names;
mod overlay;
mod pool;
mod rules;
pub mod services;
mod sweep;

pub use cidr::{Cidr, CidrError};
pub use names::{
    Alias, INTERFACE_NAME_ATTEMPTS, INTERFACE_PREFIX, InterfaceNameError, MacAddress,
    check_interface_name, host_interface_name, mac_for,
};
pub use overlay::{
    Change, ConnectedPrefix, Desired, FoundDevice, NetworkMode, NetworkModeError, NodeNet,
    OverlayState, Path, Peer, PeerProblem, VXLAN_OVERHEAD, VxlanDevice, VxlanSettings,
    overlay_changes, overlay_plan, pod_mtu, tunnel_end,
};
pub use pool::{AddressPool, PoolError};
pub use rules::{
    Chain, ChainKind, MEMBERS_SET, Match, OVERLAY_CHAIN, Rule, RuleSet, TABLE_NAME, Verdict,
    node_rules, overlay_rules,
};
pub use sweep::{AddressChange, address_changes, stale_pods};
