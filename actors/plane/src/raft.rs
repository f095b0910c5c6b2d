//! Raft: the one place where the state changes.
//!
//! ```text
//!   propose ──> intake ──(one entry for all that wait)──> raft-rs ──> Wal (one sync)
//!                                                            │           │
//!   caller <── reply <── Watch <── snapshot <── Store <── committed <── persisted
//! ```
//!
//! Callers hold a [`RaftHandle`]. The actor talks down to the `Wal`, feeds the `Watch` actor, and
//! sends to other servers through a [`Transport`].
//!
//! Invariants:
//! - a reply means that the change is on disk here (and on a majority), is in the published
//!   [`Snapshot`](kabuki_store::Snapshot), and is on its way to the watches, in this order;
//! - the published snapshot never goes back, over restarts of the actor too;
//! - commands are applied in the order of the log, and a command that was taken from the intake
//!   is proposed once: when its fate is unknown the caller is told so ([`RaftError::Interrupted`]);
//! - what waits is bounded in number and bytes, and a full disk refuses before it breaks anything.
//!
//! Not known here: what is in an object.

mod actor;
mod applier;
mod driver;
mod entry;
mod error;
mod handle;
mod intake;
mod message;
mod storage;
mod transport;

pub use error::RaftError;
pub use handle::{Leadership, RaftHandle, RaftStatus};
pub use transport::{NoTransport, Transport};

pub(crate) use actor::{Raft, RaftArgs};

use std::time::Duration;

/// How a server takes part.
#[derive(Debug, Clone)]
pub struct RaftConfig {
    /// This server; not zero.
    pub id: u64,
    /// The voters of a new cluster, this one included. Only read when the directory is empty.
    pub voters: Vec<u64>,
    /// How many commands may wait for their reply.
    pub commands_in_flight: usize,
    /// How many bytes of commands may wait for their reply.
    pub bytes_in_flight: usize,
    /// Bytes that must stay free on the disk; with less, writes are refused.
    pub disk_reserve_bytes: u64,
    /// Bytes of log (at least) between two snapshots.
    pub snapshot_bytes: u64,
    /// Commands (at least) between two snapshots.
    pub snapshot_commands: u64,
    /// How long a proposal may take before its caller is told that it did not finish.
    pub propose_limit: Duration,
}

impl RaftConfig {
    /// A cluster of one.
    pub fn single() -> Self {
        Self {
            id: 1,
            voters: vec![1],
            // A few times what one node can sync per second, so that only floods are refused.
            commands_in_flight: 65_536,
            bytes_in_flight: 64 << 20,
            disk_reserve_bytes: 16 << 20,
            // Replaying this much takes less than half a second.
            snapshot_bytes: 32 << 20,
            snapshot_commands: 50_000,
            propose_limit: Duration::from_secs(10),
        }
    }
}
