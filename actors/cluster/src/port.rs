//! The node's one port: TLS 1.3, told apart by the protocol name (ALPN) of the client's first
//! message.
//!
//! ```text
//! port     accepts; each handshake in a task of its own, with a time limit
//! ```
//!
//! | protocol | who may come | without a door of its own |
//! |---|---|---|
//! | `kabuki/1` | whoever has a certificate of the cluster | piped to a server |
//! | `kabuki-node/1`, `kabuki-raft/1`, `kabuki-snapshot/1` | servers | closed |
//! | `kabuki-cluster/3` | members | closed |
//! | `kabuki-join/1` | anyone | piped to a server |
//! | `h2`, `http/1.1`, none | anyone; a certificate may be shown | piped to a server |
//!
//! What is piped stays encrypted from end to end: a worker hands bytes on and sees nothing.
//!
//! Who talks to it: everyone outside, and the doors ([`Door`]), which take over what came through.
//! To add a protocol, add a line to `protocols.rs` and a door.
//!
//! Invariants: nothing of a connection is used before its certificate was verified, except by the
//! doors for joining and for HTTP (which has other ways to say who asks); a node comes in only with the key that it joined with, and not after it was
//! removed; the number of handshakes and pipes is bounded; the socket outlives restarts.

mod enter;
mod hello;
mod listener;
mod pipe;
mod protocols;

use crate::authority::PkiError;
use crate::credentials::Credentials;
use crate::seams::{Directory, Door};
use kabuki_kit::{ChildSpec, Slot};
use listener::{Listener, ListenerMessage};
use protocols::Protocols;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// How many connections a worker hands on at once; further ones are turned away. Each costs two
/// sockets and two buffers.
const MAX_PIPES: usize = 1024;

/// What lies behind the port.
#[derive(Clone)]
pub struct Doors {
    /// Sessions of clients, nodes and servers. Without it they are piped to a server.
    pub clients: Option<Arc<dyn Door>>,
    /// Streams that servers open with this node.
    pub node: Option<Arc<dyn Door>>,
    /// Sessions of members.
    pub cluster: Option<Arc<dyn Door>>,
    /// Raft's messages from other servers.
    pub raft: Option<Arc<dyn Door>>,
    /// Snapshots on their way to this server.
    pub snapshot: Option<Arc<dyn Door>>,
    /// Machines that want to join. Without it they are piped to a server.
    pub join: Option<Arc<dyn Door>>,
    /// The HTTP API. Without it its clients are piped to a server.
    pub http: Option<Arc<dyn Door>>,
    /// Who is a member, and where the servers are.
    pub directory: Arc<dyn Directory>,
}

impl Doors {
    /// No door yet.
    pub fn new(directory: Arc<dyn Directory>) -> Self {
        Self {
            clients: None,
            node: None,
            cluster: None,
            raft: None,
            snapshot: None,
            join: None,
            http: None,
            directory,
        }
    }
}

/// Why the port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The socket could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] PkiError),
}

/// The bound port. Cheap to clone.
#[derive(Clone)]
pub struct Port {
    slot: Slot<ListenerMessage>,
    inner: Arc<Inner>,
}

struct Inner {
    socket: TcpListener,
    name: String,
    credentials: Credentials,
    protocols: Protocols,
    directory: Arc<dyn Directory>,
    pipes: Arc<Semaphore>,
    refusals: enter::Refusals,
}

impl Port {
    /// Binds the port. Nothing is accepted before the child runs.
    pub async fn bind(
        address: SocketAddr,
        credentials: Credentials,
        doors: Doors,
    ) -> Result<Self, ListenError> {
        let directory = doors.directory.clone();
        let protocols = Protocols::new(&credentials, doors)?;
        let socket = TcpListener::bind(address)
            .await
            .map_err(|source| ListenError::Bind { address, source })?;
        Ok(Self {
            slot: Slot::new("port"),
            inner: Arc::new(Inner {
                socket,
                name: credentials.name().to_string(),
                credentials,
                protocols,
                directory,
                pipes: Arc::new(Semaphore::new(MAX_PIPES)),
                refusals: enter::Refusals::default(),
            }),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.inner.socket.local_addr()
    }

    /// What a supervisor starts.
    pub fn child(&self) -> ChildSpec {
        let inner = self.inner.clone();
        ChildSpec::worker("port", &self.slot, move |_place| (Listener, inner.clone()))
    }
}
