//! Applies committed entries: to the store, then to the published snapshot, then to the watches,
//! then to the callers' replies, in this order.

use super::driver::DriveError;
use super::entry::{self, EntryError};
use super::error::RaftError;
use super::handle::Shared;
use super::intake::Proposal;
use crate::watch::WatchMessage;
use kabuki_kit::Slot;
use kabuki_model::command::{Applied, Change, Command};
use kabuki_model::view::View as _;
use kabuki_store::{Position, Snapshot, Store};
use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeV2, Entry, EntryType};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

pub(crate) struct Applier {
    shared: Arc<Shared>,
    watch: Slot<WatchMessage>,
    store: Store,
    /// Entries that this server proposed: their commands need not be decoded, and have callers.
    expected: VecDeque<Expected>,
    since_snapshot: Work,
    snapshot_bytes: u64,
    snapshot_running: bool,
}

/// A change of the servers, in either of raft-rs' forms.
pub(crate) enum Reconfiguration {
    Single(ConfChange),
    Joint(ConfChangeV2),
}

struct Expected {
    index: u64,
    term: u64,
    proposals: Vec<Proposal>,
}

#[derive(Default)]
struct Work {
    bytes: u64,
    commands: u64,
}

type Reply = oneshot::Sender<Result<Applied, RaftError>>;

/// What a batch of entries came to.
#[derive(Default)]
struct Outcome {
    changes: Vec<Change>,
    replies: Vec<(Reply, Applied)>,
}

impl Applier {
    pub(crate) fn new(shared: Arc<Shared>, watch: Slot<WatchMessage>, store: Store) -> Self {
        Self {
            shared,
            watch,
            store,
            expected: VecDeque::new(),
            since_snapshot: Work::default(),
            snapshot_bytes: 0,
            snapshot_running: false,
        }
    }

    /// An entry that was proposed here, at the place that it will have if it is committed.
    pub(crate) fn expect(&mut self, index: u64, term: u64, proposals: Vec<Proposal>) {
        self.expected.push_back(Expected {
            index,
            term,
            proposals,
        });
    }

    pub(crate) fn applied(&self) -> Position {
        self.store.view().position()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.store.snapshot()
    }

    /// Applies entries. Returns the configuration changes among them, for raft-rs.
    pub(crate) fn apply(
        &mut self,
        entries: Vec<Entry>,
    ) -> Result<Vec<Reconfiguration>, DriveError> {
        let mut outcome = Outcome::default();
        let mut configuration = Vec::new();
        for entry in entries {
            let at = Position {
                index: entry.index,
                term: entry.term,
            };
            self.since_snapshot.bytes += entry.data.len() as u64;
            let local = self.local(at);
            match entry.get_entry_type() {
                EntryType::EntryNormal => self.apply_commands(at, &entry, local, &mut outcome)?,
                EntryType::EntryConfChange => {
                    let change = ConfChange::parse_from_bytes(&entry.data)?;
                    configuration.push(Reconfiguration::Single(change));
                    self.store.advance(at);
                }
                EntryType::EntryConfChangeV2 => {
                    let change = ConfChangeV2::parse_from_bytes(&entry.data)?;
                    configuration.push(Reconfiguration::Joint(change));
                    self.store.advance(at);
                }
            }
        }
        self.publish(outcome);
        Ok(configuration)
    }

    fn apply_commands(
        &mut self,
        at: Position,
        entry: &Entry,
        local: Option<Vec<Proposal>>,
        outcome: &mut Outcome,
    ) -> Result<(), EntryError> {
        self.store.advance(at);
        let Some(proposals) = local else {
            for command in entry::split(entry.index, &entry.data)? {
                self.apply_command(at, &command, outcome);
            }
            return Ok(());
        };
        for Proposal { command, reply, .. } in proposals {
            let applied = self.apply_command(at, &command, outcome);
            outcome.replies.push((reply, applied));
        }
        Ok(())
    }

    fn apply_command(&mut self, at: Position, command: &Command, outcome: &mut Outcome) -> Applied {
        self.since_snapshot.commands += 1;
        let applied = self.store.apply(at, command);
        if let Applied::Committed(changes) = &applied {
            outcome.changes.extend(changes.iter().cloned());
        }
        applied
    }

    /// The proposals of the entry at `at`, if it is one that was proposed here. Proposals whose
    /// place another entry has taken are dropped, which tells their callers.
    fn local(&mut self, at: Position) -> Option<Vec<Proposal>> {
        while let Some(expected) = self.expected.pop_front_if(|e| e.index <= at.index) {
            if expected.index == at.index && expected.term == at.term {
                return Some(expected.proposals);
            }
        }
        None
    }

    fn publish(&mut self, outcome: Outcome) {
        let snapshot = self.store.snapshot();
        // After a restart the log is replayed: others have seen this already.
        if snapshot.position() >= self.shared.snapshot.load().position() {
            let revision = snapshot.revision();
            self.shared.snapshot.store(Arc::new(snapshot));
            self.shared.revision.send_if_modified(|present| {
                let changed = *present != revision;
                *present = revision;
                changed
            });
        }
        if !outcome.changes.is_empty() {
            // When it is down the whole group is: it will see the changes when they are replayed.
            let _ = self.watch.cast(WatchMessage::Committed(outcome.changes));
        }
        for (reply, applied) in outcome.replies {
            // A caller that has gone does not need to know.
            let _ = reply.send(Ok(applied));
        }
    }

    /// Puts another server's state in the place of this one.
    pub(crate) fn install(&mut self, snapshot: Snapshot) {
        let _ = self.watch.cast(WatchMessage::Begin {
            revision: snapshot.revision(),
        });
        self.expected.clear();
        self.store = Store::from_snapshot(snapshot);
        self.publish(Outcome::default());
    }

    /// The state, when it is time to write it to disk and there is room for it.
    pub(crate) fn due_snapshot(&mut self, room: impl FnOnce() -> u64) -> Option<Snapshot> {
        let config = &self.shared.config;
        // A large state is written less often: the work stays in proportion to the writes.
        let objects = self.store.view().len() as u64;
        let due = self.since_snapshot.bytes > config.snapshot_bytes.max(self.snapshot_bytes / 2)
            || self.since_snapshot.commands > config.snapshot_commands.max(objects / 2);
        if !due || self.snapshot_running {
            return None;
        }
        let needed = self.snapshot_bytes + self.since_snapshot.bytes + config.disk_reserve_bytes;
        self.since_snapshot = Work::default();
        if room() < needed {
            tracing::warn!(needed, "no room for a snapshot; the log grows meanwhile");
            return None;
        }
        self.snapshot_running = true;
        Some(self.store.snapshot())
    }

    pub(crate) fn snapshot_saved(&mut self, bytes: u64) {
        self.snapshot_running = false;
        self.snapshot_bytes = bytes;
    }

    pub(crate) fn snapshot_failed(&mut self) {
        self.snapshot_running = false;
    }
}
