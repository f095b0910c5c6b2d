//! What goes in and out of a [`Replica`](super::Replica).

use super::election::Leadership;
use crate::raft::RaftError;
use kabuki_model::command::{Applied, Change, Command};
use kabuki_store::{Position, Snapshot};
use raft::eraftpb::{ConfState, Entry, HardState, Message};
use std::path::PathBuf;
use std::time::Duration;

/// A command that waits to be proposed.
#[derive(Debug)]
pub struct Proposed {
    /// The shell's name for it.
    pub token: u64,
    /// The command.
    pub command: Command,
    /// The command, encoded by `kabuki_model::codec`.
    pub encoded: Vec<u8>,
}

/// What a disk holds when a replica starts.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The newest snapshot.
    pub snapshot: Snapshot,
    /// The servers as of the snapshot. Empty for a server that is yet to join.
    pub conf_state: ConfState,
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// The entry before the first of `entries`: the snapshot's position.
    pub base: Position,
    /// The entries after the snapshot, without gaps.
    pub entries: Vec<Entry>,
}

/// What is to be made durable, as a whole, after all appends before it.
#[derive(Debug, Default)]
pub struct Append {
    /// For [`Replica::persisted`](super::Replica::persisted).
    pub number: u64,
    /// Follow what is there, or replace it from the first one's index on.
    pub entries: Vec<Entry>,
    /// Replaces the one that is there.
    pub hard_state: Option<HardState>,
    /// Another server's state takes the place of everything; before the entries.
    pub restart: Option<Box<Restart>>,
    /// What others may hear as soon as this is durable, and no sooner. Whoever makes it durable sends
    /// them, to spare them the way through the replica.
    pub messages: Vec<Message>,
}

/// The state that another server sent.
#[derive(Debug)]
pub struct Restart {
    /// The state.
    pub snapshot: Snapshot,
    /// The servers as of it.
    pub conf_state: ConfState,
    /// The file that it was read from, in the format of the snapshot files.
    pub file: Option<PathBuf>,
}

/// Something that the replica wants done.
#[derive(Debug)]
pub enum Effect {
    /// Make this durable, then send its messages, then call `persisted`; at once where
    /// [`Replica::waits_for_disk`](super::Replica::waits_for_disk) says so.
    Append(Append),
    /// Send each message to the server that its `to` names.
    Send(Vec<Message>),
    /// Send this message together with the snapshot file that ends at its snapshot's index, then
    /// call `snapshot_sent`.
    SendSnapshot(Message),
    /// Entries were applied: publish the state, pass the changes on, then give the answers.
    Applied(ApplyEffect),
    /// Another server's state was put in the place of this one: watches begin anew after it.
    Installed(Snapshot),
    /// These proposals end with an error.
    Refused {
        /// Which.
        tokens: Vec<u64>,
        /// Why.
        error: RaftError,
    },
    /// These reads end: what is published includes all that was acknowledged before they began.
    Read {
        /// Which.
        tokens: Vec<u64>,
        /// Whether they may be served.
        outcome: Result<(), RaftError>,
    },
    /// This change of the servers ends.
    Reconfigured {
        /// Which.
        token: u64,
        /// Whether it took effect.
        outcome: Result<(), RaftError>,
    },
    /// The servers of the cluster, from now on.
    Configuration(ConfState),
    /// Who leads, from now on.
    Leadership(Leadership),
    /// Write a snapshot file, then call `snapshot_saved` or `snapshot_failed`.
    SaveSnapshot(SaveSnapshot),
    /// The log is no longer needed up to this index.
    Compact(u64),
    /// Read entries back, then call `fetched`.
    Fetch(Fetch),
    /// Call `wake` with the ticket when the time is over.
    Wake {
        /// How long.
        after: Duration,
        /// For `wake`.
        ticket: u64,
    },
    /// Call `remind` when the time is over, or up to as much later. Asked for again before, it
    /// counts from then.
    Remind {
        /// How long.
        after: Duration,
    },
    /// Entries follow each other closely from now on: keep the processors from halting between them;
    /// or no longer.
    KeepAwake(bool),
}

/// What a batch of entries came to.
#[derive(Debug)]
pub struct ApplyEffect {
    /// The state that includes them.
    pub snapshot: Snapshot,
    /// What they changed, in order.
    pub changes: Vec<Change>,
    /// The answers to those that were proposed here, by their tokens.
    pub answers: Vec<(u64, Applied)>,
}

/// A snapshot to be written.
#[derive(Debug)]
pub struct SaveSnapshot {
    /// The state.
    pub snapshot: Snapshot,
    /// The servers as of it.
    pub conf_state: ConfState,
    /// About how large the file may become, as far as that can be told.
    pub about_bytes: u64,
}

/// Entries to be read from the log: from `low` to before `high`, at least one, and no more after
/// `max_bytes` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// For `fetched`.
    pub ticket: u64,
    /// The first.
    pub low: u64,
    /// The end, not included.
    pub high: u64,
    /// About how many bytes.
    pub max_bytes: u64,
}

/// Performs effects, or keeps them for somebody who does.
pub trait Effects {
    /// Takes the next effect.
    fn perform(&mut self, effect: Effect);
}

impl Effects for Vec<Effect> {
    fn perform(&mut self, effect: Effect) {
        self.push(effect);
    }
}
