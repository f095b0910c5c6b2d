//! What the `Raft` actor understands. Use [`RaftHandle`](super::RaftHandle).

use super::core::Members;
use super::waiting::{Reconfiguration, Reply};
use ractor_cluster::RactorMessage;
use raft::eraftpb::Message;
use std::path::PathBuf;

#[derive(RactorMessage)]
pub(crate) enum RaftMessage {
    /// Proposals wait in the intake, or raft-rs has something to do.
    Flush,
    /// Reads wait in the queue.
    Read,
    /// The Wal did something: its reports wait at the bell.
    Wal,
    /// Another server says something.
    Step(Box<Message>),
    /// Another server's state has arrived in a file.
    Received(Box<Message>, PathBuf),
    /// A snapshot was sent to a server, or was lost.
    SnapshotSent(u64, bool),
    /// Time passes (only when there are other servers).
    Tick,
    /// What the core asked to be woken for.
    Wake(u64),
    /// The time is over after which the core asked to be reminded.
    Remind,
    /// Callers who were answered should have told the watches.
    Tell,
    /// The disk was full a moment ago.
    RetryDisk,
    /// Another server could not be reached.
    Unreachable(u64),
    /// The connection to another server has broken.
    PeerLost(u64),
    /// Change the servers.
    Reconfigure(Box<Reconfiguration>),
    /// How the servers fare.
    Members(Reply<Members>),
    /// Hand leadership over; answered with the successor when that has begun.
    Transfer(Option<u64>, Reply<Option<u64>>),
}
