//! What the `Raft` actor understands. Use [`RaftHandle`](super::RaftHandle).

use crate::wal::WalReport;
use ractor_cluster::RactorMessage;
use raft::eraftpb::Message;

#[derive(RactorMessage)]
pub(crate) enum RaftMessage {
    /// Proposals wait in the intake, or raft-rs has something to do.
    Flush,
    /// The Wal did something.
    Wal(WalReport),
    /// Another server says something.
    Step(Box<Message>),
    /// Time passes (only when there are other servers).
    Tick,
    /// The disk was full a moment ago.
    RetryDisk,
    /// Another server could not be reached.
    Unreachable(u64),
}
