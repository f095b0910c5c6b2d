//! The services in the kernel: chains and maps in the node's own table, which follow
//! [`crate::plan::services`] by atomic transactions.
//!
//! ```text
//!   service-prerouting, service-output -> services ── front ──> chain of its shape ── endpoint
//!   service-postrouting    masquerades what would not find its way back
//! ```
//!
//! Called by the node's proxy, on a thread that may block. Nothing outside of the chains and maps
//! that are named here is touched. Only the first packet of a connection passes these chains; what
//! is established goes on whatever happens to them.
//!
//! Invariants: every transaction is applied whole or not at all; a front never names endpoints
//! that are not there; what the kernel has at the start stays in force until it is known what is
//! to be different.

mod commit;
mod connections;
mod load;
mod notices;
mod rules;
mod trace;
mod wire;

use std::collections::BTreeSet;
use std::io;

use crate::nft::NetfilterSocket;
use crate::plan::services::{Delta, Services, Shape};
use crate::plan::{Cidr, TABLE_NAME};
use crate::{NetError, NodeNetwork};

pub use connections::{Datagrams, UdpFronts};
pub use notices::ServiceNotices;
pub use trace::{Fate, Pick, ServiceTrace};

/// Settings of the services of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyConfig {
    /// The node's own pods.
    pub pods: Cidr,
    /// All nodes' pods.
    pub cluster: Cidr,
    /// Where services get their addresses from. What no service has of it is refused.
    pub ranges: Vec<Cidr>,
}

/// The services in the kernel.
pub struct ServiceTable {
    config: ProxyConfig,
    socket: NetfilterSocket,
    /// The shapes that have a chain.
    shapes: BTreeSet<Shape>,
    /// How many there were when unused ones were last removed.
    tidied: usize,
}

impl NodeNetwork {
    /// The services of this node in the kernel. Reads and changes nothing yet. Blocks shortly.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub fn services(&self, ranges: Vec<Cidr>) -> Result<ServiceTable, NetError> {
        let config = ProxyConfig {
            pods: self.config().pod_cidr,
            cluster: self.config().cluster_cidr,
            ranges,
        };
        let opened = |source| NetError::Socket {
            purpose: "services",
            source,
        };
        let netns = self.netns();
        Ok(ServiceTable {
            config,
            socket: NetfilterSocket::open(netns).map_err(opened)?,
            shapes: BTreeSet::new(),
            tidied: 0,
        })
    }
}

impl ServiceTable {
    /// Where services get their addresses from: the next [`ServiceTable::rebuild`] uses it.
    pub fn set_ranges(&mut self, ranges: Vec<Cidr>) {
        self.config.ranges = ranges;
    }

    /// The entries that the kernel has, to start from.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn found(&mut self) -> Result<crate::plan::services::Entries, NetError> {
        Ok(self.load().map_err(|e| failed("read", e))?.entries)
    }

    /// Carries out a change that came from [`Services::update`] of these services. After an
    /// error [`ServiceTable::rebuild`] is due.
    ///
    /// # Errors
    /// When the kernel refuses: somebody else has changed the table.
    pub fn apply(&mut self, delta: &Delta, services: &Services) -> Result<(), NetError> {
        self.change(delta, services).map_err(|e| failed("write", e))
    }

    /// Makes the kernel's table what it should be, whatever it is, without a moment in which a
    /// service is missing. Without `whole`, only what is missing is added. Says whether anything
    /// was amiss.
    ///
    /// # Errors
    /// When the table cannot be read or written.
    pub fn rebuild(&mut self, services: &Services, whole: bool) -> Result<bool, NetError> {
        let found = self.load().map_err(|e| failed("read", e))?;
        self.restore(services, found, whole)
            .map_err(|e| failed("write", e))
    }

    /// The number of its socket, by which [`ServiceNotices`] know its own changes.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }
}

fn failed(operation: &'static str, error: io::Error) -> NetError {
    NetError::Filter {
        operation,
        table: TABLE_NAME.to_owned(),
        source: Box::new(error),
    }
}
