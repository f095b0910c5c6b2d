//! Entries of the maps, as values.

use super::{LOCAL_INDEX, Shape};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The address under which a service's endpoints are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Primary {
    /// The cluster address; unspecified for a port of the node itself.
    pub address: Ipv4Addr,
    /// `IPPROTO_*`
    pub protocol: u8,
    /// The port.
    pub port: u16,
}

/// Where a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The endpoint's address.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: u16,
}

/// Which endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Those for all.
    Cluster,
    /// Those of this node.
    Local,
}

impl Scope {
    /// The number of its first endpoint.
    pub fn first_index(self) -> u32 {
        match self {
            Self::Cluster => 0,
            Self::Local => LOCAL_INDEX,
        }
    }
}

/// Under what a connection is addressed to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrontKey {
    /// An address of its own.
    Address(Primary),
    /// A port of every address of the node.
    NodePort {
        /// `IPPROTO_*`
        protocol: u8,
        /// The port.
        port: u16,
    },
}

impl FrontKey {
    /// `IPPROTO_*`
    pub fn protocol(&self) -> u8 {
        match self {
            Self::Address(primary) => primary.protocol,
            Self::NodePort { protocol, .. } => *protocol,
        }
    }
}

/// The key of an entry. In this order entries are added, and in the opposite one removed, so
/// that no front ever names endpoints that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKey {
    /// An endpoint by its number.
    Endpoint {
        /// Of what.
        primary: Primary,
        /// The number, from [`Scope::first_index`].
        index: u32,
    },
    /// An endpoint to which a client may be sent again.
    Member {
        /// Among which.
        scope: Scope,
        /// Of what.
        primary: Primary,
        /// Which.
        target: Target,
    },
    /// Sources that may use a guarded front.
    Source {
        /// Which front.
        front: Primary,
        /// The first address.
        from: Ipv4Addr,
        /// The last address.
        to: Ipv4Addr,
    },
    /// An endpoint that is no pod of the cluster, to which connections are masqueraded.
    Outside {
        /// `IPPROTO_*`
        protocol: u8,
        /// Which.
        target: Target,
    },
    /// A front.
    Front(FrontKey),
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryValue {
    /// That it is there.
    Present,
    /// Where the endpoint is.
    Target(Target),
    /// How a front picks its endpoint.
    Front {
        /// The chain.
        shape: Shape,
        /// Whose endpoints.
        primary: Primary,
        /// Whose front it is, for people: `namespace/name:port`.
        note: Arc<str>,
    },
}
