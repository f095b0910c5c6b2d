//! A server among the other nodes: where they are, what the leader makes of their silence, who
//! votes, and the way of Raft's messages between them.
//!
//! ```text
//!   others ──> Members (kabuki_cluster) ──> Hearing ──> Raft, Liveness
//!   Raft ──> MemberTransport ──> Members ──> others
//!   Nodes of the state ──> StateDirectory, Membership ──> Raft's voters
//! ```
//!
//! What makes a node a member is its Node object with the annotations of [`kabuki_cluster::facts`].

mod directory;
mod hearing;
mod liveness;
mod members;
mod membership;
mod snapshots;
mod transport;

pub use directory::StateDirectory;
pub use hearing::{Hearing, Signs};
pub use liveness::liveness_child;
pub use members::members;
pub use membership::{membership_child, policy};
pub use snapshots::{SnapshotDoor, SnapshotSender};
pub use transport::MemberTransport;
