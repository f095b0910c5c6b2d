//! The traits through which the control plane, the node agent and what lies between nodes find
//! each other.

use futures::future::BoxFuture;
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Request};
use kabuki_protocol::NodeHandle;
use kabuki_protocol::cluster::Heartbeat;
use kabuki_protocol::join::{JoinHello, JoinRefusal, JoinRequest, Joined, ServerAddress};
use rustls_pki_types::CertificateDer;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// One who came through the port, past the handshake.
pub struct Visitor {
    /// The connection.
    pub stream: TlsStream<TcpStream>,
    /// Where from.
    pub peer: SocketAddr,
    /// Who, by a verified certificate; `None` only for those who join, and over HTTP.
    pub who: Option<Identity>,
    /// The verified certificate.
    pub certificate: Option<CertificateDer<'static>>,
    /// Over HTTP: a certificate was shown that is not good.
    pub bad_certificate: bool,
}

/// What lies behind one of the port's protocols. Must not wait: long work goes into an actor.
pub trait Door: Send + Sync + 'static {
    /// Takes the visitor in, or drops it.
    fn enter(&self, visitor: Visitor);
}

/// Where the others are. Implemented over the newest state by servers, over what servers last
/// told by workers.
pub trait Directory: Send + Sync + 'static {
    /// The servers of the cluster, this node included when it is one.
    fn servers(&self) -> Vec<ServerAddress>;
    /// The port of a node.
    fn address(&self, node: &str) -> Option<String>;
    /// Whether the key with this hash (hex SHA-256 of the SPKI) is the one that `node` joined
    /// with; a node that was removed has none.
    fn is_member(&self, node: &str, key_sha256: &str) -> bool;
    /// The server that leads, if known: its node's name.
    fn leader(&self) -> Option<String>;
}

/// Who hears what other members say. None of these waits.
pub trait Listener: Send + Sync + 'static {
    /// What this node says of itself.
    fn sign_of_life(&self, sent_us: u64) -> Heartbeat;
    /// A Raft message (protobuf) of another server.
    fn raft(&self, message: &[u8]);
    /// A node gave a sign of life; gives what to answer: the leader and the newest revision.
    fn heard(&self, node: &str, heartbeat: &Heartbeat) -> (Option<String>, u64);
    /// A server answered a sign of life.
    fn answered(&self, server: &str, leader: Option<String>, revision: u64);
    /// A session with a member is ready.
    fn connected(&self, node: &str);
    /// The session with a member broke, or fell silent.
    fn lost(&self, node: &str);
}

/// The way to another server for requests that only the leader performs.
pub trait Forward: Send + Sync + 'static {
    /// Has `server` perform a request in the name of `who`. An error with reason
    /// `ServiceUnavailable` means that nothing is known of the outcome unless its message says so.
    fn forward<'a>(
        &'a self,
        server: &'a str,
        who: Identity,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, StatusError>>;
    /// Streams with another node; `None` when its address is not known.
    fn node(&self, name: &str) -> Option<NodeHandle>;
}

/// Who admits machines that want to join: the control plane of a server.
pub trait Admit: Send + Sync + 'static {
    /// The first word to a joiner.
    fn hello(&self) -> JoinHello;
    /// Admits a node or says why not; a follower has the leader do it.
    fn admit(&self, request: JoinRequest) -> BoxFuture<'_, Result<Joined, JoinRefusal>>;
}
