//! Raft: the one place where the state changes.
//!
//! ```text
//!   propose ──> intake ──(one entry for all that wait)──> raft-rs ──> Wal (one sync)
//!                                                            │           │
//!   caller <── reply <── Watch <── snapshot <── Store <── committed <── persisted
//! ```
//!
//! Callers hold a [`RaftHandle`]. The actor talks down to the `Wal`, feeds the `Watch` actor, and
//! sends to other servers through a [`Transport`]. Everything that decides is in [`core`], which
//! knows neither threads nor clocks; the actor, its driver and its hands are the shell around it.
//!
//! Invariants:
//! - a reply means that the change is on disk here (and on a majority), is in the published
//!   [`Snapshot`](kabuki_store::Snapshot), and is on its way to the watches, in this order;
//! - the published snapshot never goes back, over restarts of the actor too;
//! - a read barrier ends when the published snapshot includes all that any server acknowledged
//!   before the barrier began;
//! - commands are applied in the order of the log, and a command that was taken from the intake
//!   is proposed once: when its fate is unknown the caller is told so ([`RaftError::Interrupted`]);
//! - what waits is bounded in number and bytes, and a full disk refuses before it breaks anything.
//!
//! Not known here: what is in an object.

mod actor;
mod awake;
mod bell;
pub mod core;
mod driver;
#[cfg(test)]
mod ears;
mod error;
mod handle;
mod hands;
mod herald;
mod intake;
mod message;
mod reminder;
mod transport;
mod waiting;

pub use self::core::{Leadership, MemberProgress, Members, Reconfigure, Replication};
pub use error::RaftError;
pub use handle::{RaftHandle, RaftStatus};
pub use transport::{NoTransport, SnapshotSource, Transport};

pub(crate) use actor::{Raft, RaftArgs};

use std::time::Duration;

/// How a server takes part.
#[derive(Debug, Clone)]
pub struct RaftConfig {
    /// This server; not zero, drawn at random when its directory is made, and never used again
    /// when that is lost. A directory that was made for another id is refused.
    pub id: u64,
    /// What an empty directory becomes. One that has a state goes on where it was.
    pub start: Start,
    /// The version of the log entries that this server writes. The newest,
    /// [`core::ENTRY_VERSION`], unless a server that reads only the one before takes part.
    pub entry_version: u8,
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
    /// How long a read barrier may take, elections included.
    pub read_limit: Duration,
    /// Whether the machine's processors are kept from halting while entries follow each other
    /// closely and other servers take part.
    pub keep_awake: bool,
}

/// What an empty directory becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The first state of a new cluster, with this server as the only voter.
    Found,
    /// One more server of a cluster that is there: it waits for a leader that knows it.
    Join,
    /// Nothing: it is refused.
    Reopen,
}

impl RaftConfig {
    /// A server of a cluster that may grow.
    pub fn server(id: u64, start: Start) -> Self {
        Self {
            id,
            start,
            ..Self::single()
        }
    }

    /// A cluster of one.
    pub fn single() -> Self {
        Self {
            id: 1,
            start: Start::Found,
            entry_version: core::ENTRY_VERSION,
            // A few times what one node can sync per second, so that only floods are refused.
            commands_in_flight: 65_536,
            bytes_in_flight: 64 << 20,
            disk_reserve_bytes: 16 << 20,
            // Replaying this much takes less than half a second.
            snapshot_bytes: 32 << 20,
            snapshot_commands: 50_000,
            propose_limit: Duration::from_secs(10),
            read_limit: Duration::from_secs(5),
            keep_awake: true,
        }
    }
}
