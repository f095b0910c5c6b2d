//! Applies committed entries to the store, and finds the callers of those proposed here.

use super::effect::{ApplyEffect, Effect, Effects, SaveSnapshot};
use super::entry::{self, EntryError};
use super::replica::CoreError;
use crate::raft::RaftError;
use kabuki_model::command::{Applied, Change, Command};
use kabuki_store::{Position, Snapshot, Store};
use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeV2, ConfState, Entry, EntryType};
use std::collections::VecDeque;

pub(super) struct Applier {
    store: Store,
    /// Entries that this server proposed: their commands need not be decoded, and have callers.
    expected: VecDeque<Expected>,
    since_snapshot: Work,
    /// The size of the last snapshot file.
    snapshot_bytes: u64,
    /// Work after which a snapshot is due.
    due: Work,
}

/// A change of the servers, in either of raft-rs' forms.
pub(super) struct Reconfiguration {
    pub(super) at: Position,
    pub(super) change: ChangeOfServers,
}

pub(super) enum ChangeOfServers {
    Single(ConfChange),
    Joint(ConfChangeV2),
}

struct Expected {
    at: Position,
    proposals: Vec<(u64, Command)>,
}

#[derive(Default)]
pub(super) struct Work {
    pub(super) bytes: u64,
    pub(super) commands: u64,
}

/// What a batch of entries came to.
#[derive(Default)]
struct Outcome {
    changes: Vec<Change>,
    answers: Vec<(u64, Applied)>,
    /// Proposals whose place another entry has taken.
    superseded: Vec<u64>,
}

/// The state after `entries`, all of which are taken for committed.
pub(crate) fn replay(snapshot: Snapshot, entries: &[Entry]) -> Result<Snapshot, EntryError> {
    let mut store = Store::from_snapshot(snapshot);
    for entry in entries {
        let at = Position {
            index: entry.index,
            term: entry.term,
        };
        store.advance(at);
        if entry.get_entry_type() == EntryType::EntryNormal {
            for command in entry::split(entry.index, &entry.data)? {
                store.apply(at, &command);
            }
        }
    }
    Ok(store.snapshot())
}

impl Applier {
    pub(super) fn new(store: Store, due: Work) -> Self {
        Self {
            store,
            expected: VecDeque::new(),
            since_snapshot: Work::default(),
            snapshot_bytes: 0,
            due,
        }
    }

    /// An entry that was proposed here, at the place that it will have if it is committed.
    pub(super) fn expect(&mut self, at: Position, proposals: Vec<(u64, Command)>) {
        self.expected.push_back(Expected { at, proposals });
    }

    pub(super) fn applied(&self) -> Position {
        self.store.view().position()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.store.snapshot()
    }

    /// Applies entries. Returns the configuration changes among them, for raft-rs.
    pub(super) fn apply(
        &mut self,
        entries: Vec<Entry>,
        leader: Option<u64>,
        out: &mut dyn Effects,
    ) -> Result<Vec<Reconfiguration>, CoreError> {
        let mut outcome = Outcome::default();
        let mut configuration = Vec::new();
        for entry in entries {
            let at = Position {
                index: entry.index,
                term: entry.term,
            };
            self.since_snapshot.bytes += entry.data.len() as u64;
            let local = self.local(at, &mut outcome);
            self.store.advance(at);
            let change = match entry.get_entry_type() {
                EntryType::EntryNormal => {
                    self.apply_commands(at, &entry, local, &mut outcome)?;
                    continue;
                }
                EntryType::EntryConfChange => {
                    ChangeOfServers::Single(ConfChange::parse_from_bytes(&entry.data)?)
                }
                EntryType::EntryConfChangeV2 => {
                    ChangeOfServers::Joint(ConfChangeV2::parse_from_bytes(&entry.data)?)
                }
            };
            configuration.push(Reconfiguration { at, change });
        }
        let Outcome {
            changes,
            answers,
            superseded,
        } = outcome;
        out.perform(Effect::Applied(ApplyEffect {
            snapshot: self.store.snapshot(),
            changes,
            answers,
        }));
        if !superseded.is_empty() {
            out.perform(Effect::Refused {
                tokens: superseded,
                error: RaftError::NotLeader { leader },
            });
        }
        Ok(configuration)
    }

    fn apply_commands(
        &mut self,
        at: Position,
        entry: &Entry,
        local: Option<Vec<(u64, Command)>>,
        outcome: &mut Outcome,
    ) -> Result<(), EntryError> {
        let Some(proposals) = local else {
            for command in entry::split(entry.index, &entry.data)? {
                self.apply_command(at, &command, outcome);
            }
            return Ok(());
        };
        for (token, command) in proposals {
            let applied = self.apply_command(at, &command, outcome);
            outcome.answers.push((token, applied));
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

    /// The proposals of the entry at `at`, if it is one that was proposed here.
    fn local(&mut self, at: Position, outcome: &mut Outcome) -> Option<Vec<(u64, Command)>> {
        // Terms only rise along the log: nothing of an older one comes after this entry.
        let over = |e: &mut Expected| e.at.index <= at.index || e.at.term < at.term;
        while let Some(expected) = self.expected.pop_front_if(over) {
            if expected.at == at {
                return Some(expected.proposals);
            }
            let tokens = expected.proposals.iter().map(|(token, _)| *token);
            outcome.superseded.extend(tokens);
        }
        None
    }

    /// Gives up on everything that was proposed here and not yet applied: its fate is unknown.
    pub(super) fn abandon(&mut self, out: &mut dyn Effects) {
        let proposals = self.expected.drain(..).flat_map(|e| e.proposals);
        let tokens: Vec<u64> = proposals.map(|(token, _)| token).collect();
        if !tokens.is_empty() {
            out.perform(Effect::Refused {
                tokens,
                error: RaftError::Interrupted,
            });
        }
    }

    /// Puts another server's state in the place of this one.
    pub(super) fn install(&mut self, snapshot: Snapshot, out: &mut dyn Effects) {
        self.abandon(out);
        self.store = Store::from_snapshot(snapshot.clone());
        out.perform(Effect::Installed(snapshot));
    }

    /// Whether it is time to write the state to disk.
    pub(super) fn snapshot_is_due(&self) -> bool {
        // A large state is written less often: snapshots write no more than the log itself, and
        // a restart replays no more than it reads.
        let objects = self.store.view().len() as u64;
        self.since_snapshot.bytes > self.due.bytes.max(self.snapshot_bytes)
            || self.since_snapshot.commands > self.due.commands.max(objects)
    }

    /// The state, to be written to disk.
    pub(super) fn begin_save(&mut self, conf_state: ConfState) -> SaveSnapshot {
        let since = std::mem::take(&mut self.since_snapshot);
        SaveSnapshot {
            snapshot: self.store.snapshot(),
            conf_state,
            about_bytes: self.snapshot_bytes + since.bytes,
        }
    }

    pub(super) fn snapshot_saved(&mut self, bytes: u64) {
        self.snapshot_bytes = bytes;
    }
}
