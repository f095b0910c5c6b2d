//! Sessions of the native protocol: one actor for each connection that came through the port.
//!
//! ```text
//! sessions (one-for-one)     one temporary child per connection
//! ├── session-1
//! └── session-2
//! ```
//!
//! Who talks to it: clients, nodes and servers over the wire (`kabuki_protocol::session`). A session
//! hands every call on under the identity of the certificate: to the gateway, to a node, or to
//! the server's part of the cluster. It decides nothing itself.
//!
//! Invariants: a client that vanishes leaves nothing behind (every call is a task of the session
//! and ends with it); what a client does not read is not buffered without limit; at most
//! [`MAX_SESSIONS`] are open.

mod actor;
mod backup;
mod call;
mod door;
mod node_access;
mod output;
mod server_call;

pub use door::Sessions;
pub(crate) use node_access::open_node;
pub use server_call::{ServerCalls, SignNode};

use crate::gateway::GatewayHandle;
use kabuki_protocol::NodeHandle;
use kabuki_protocol::session::VersionInfo;
use std::sync::Arc;

/// How many sessions may be open at once; the next waits, then is turned away. Each costs some 100 KB.
pub const MAX_SESSIONS: usize = 2048;

/// What sessions hand calls to.
#[derive(Clone)]
pub struct Services {
    /// This node.
    pub node: NodeHandle,
    /// What only servers have; sessions without it serve streams with this node alone.
    pub server: Option<ServerSide>,
    /// Who serves.
    pub version: VersionInfo,
}

/// What the sessions of a server hand calls to.
#[derive(Clone)]
pub struct ServerSide {
    /// Requests and watches.
    pub gateway: GatewayHandle,
    /// Streams with other nodes, by name.
    pub nodes: Arc<dyn Nodes>,
    /// The server's part of the cluster.
    pub calls: ServerCalls,
}

/// Where the other nodes are.
pub trait Nodes: Send + Sync + 'static {
    /// The node of this name; `None` when it is not known.
    fn node(&self, name: &str) -> Option<NodeHandle>;
}
