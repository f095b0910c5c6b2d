//! Members among each other, over their ractor_cluster sessions: what the remotable gate of each
//! node is told. Everything is sealed under the sender's key, because a session does not tell who
//! in the other process speaks, and any member could call any gate.

use crate::join::VersionRange;
use serde::{Deserialize, Serialize};

/// Which versions of the conversations between members and of the log this program speaks. Two
/// neighbouring versions of the program share one.
pub const VERSIONS: VersionRange = VersionRange {
    oldest: 3,
    newest: 3,
};
/// The protocol name of member sessions in the TLS handshake.
pub const ALPN: &[u8] = b"kabuki-cluster/3";
/// The protocol name of Raft's messages between two servers.
pub const RAFT_ALPN: &[u8] = b"kabuki-raft/1";
/// The protocol name of streams from a server to a node.
pub const NODE_ALPN: &[u8] = b"kabuki-node/1";
/// The protocol name of a snapshot on its way to another server.
pub const SNAPSHOT_ALPN: &[u8] = b"kabuki-snapshot/1";

/// What members tell each other. What is large goes over connections of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// A sign of life, each second, from every node to every server that it has a session with.
    Heartbeat(Heartbeat),
    /// The answer to a sign of life.
    Heard {
        /// The heartbeat's `sent_us`, as it came.
        sent_us: u64,
        /// The node that leads, as far as the answering server knows.
        leader: Option<String>,
        /// The newest revision that the answering server has.
        revision: u64,
    },
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The sender's monotonic clock, for the round trip.
    pub sent_us: u64,
    /// The newest revision that the sender has seen.
    pub revision: u64,
    /// The program's version, for people.
    pub program: String,
    /// When the sender's certificate ends: seconds since the epoch.
    pub certificate_ends_s: i64,
}
