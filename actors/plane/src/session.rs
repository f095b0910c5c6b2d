//! The client port: TLS connections of clients, one session actor each.
//!
//! ```text
//! clients (one-for-one)
//! ├── listener     accepts; each handshake in a task of its own, with a time limit
//! └── sessions     one temporary child per connection
//!     ├── session-1
//!     └── session-2
//! ```
//!
//! Who talks to it: clients over the wire (`kabuki_protocol::session`). A session identifies its
//! client by the certificate and hands every call on under that identity: to the gateway, or to
//! a node. It decides nothing itself.
//!
//! Invariants: nothing is read from a client before its certificate was verified; a client that
//! vanishes leaves nothing behind (every call is a task of the session and ends with it); what a
//! client does not read is not buffered without limit; at most [`MAX_SESSIONS`] are open.

mod actor;
mod call;
mod listener;
mod node_access;
mod output;
mod port;

pub use listener::ListenError;
pub use port::ClientPort;

use crate::gateway::GatewayHandle;
use kabuki_protocol::NodeHandle;
use kabuki_protocol::session::VersionInfo;
use std::sync::Arc;

/// How many sessions may be open at once; the next waits, then is turned away. Each costs some 100 KB.
pub const MAX_SESSIONS: usize = 2048;

/// What sessions hand calls to.
#[derive(Clone)]
pub struct Services {
    /// Requests and watches.
    pub gateway: GatewayHandle,
    /// Streams with nodes, by name.
    pub nodes: Arc<dyn Nodes>,
    /// Who serves.
    pub version: VersionInfo,
}

/// Where the nodes are.
pub trait Nodes: Send + Sync + 'static {
    /// The node of this name; `None` when it is not known or not connected.
    fn node(&self, name: &str) -> Option<NodeHandle>;
}
