//! Commands in, changes out. The Raft actor owns the one [`Store`] of a process and calls it
//! with committed entries, in order.
//!
//! Invariants: a command happens completely or not at all; every `Put` and `Delete` takes one
//! revision of its own; a refused command takes none. A `Put` that changes nothing is a change
//! like any other: whoever builds the command leaves it out.

use crate::snapshot::{Position, Snapshot};
use kabuki_model::command::{Applied, Change, Command, Expect, Op};
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Stored};
use std::sync::Arc;

/// The state machine.
#[derive(Debug, Clone, Default)]
pub struct Store {
    state: Snapshot,
}

impl Store {
    /// An empty store, before the first log entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store that goes on where a snapshot ended.
    pub fn from_snapshot(state: Snapshot) -> Self {
        Self { state }
    }

    /// The state as it is now. Costs a few pointers and stops nobody.
    pub fn snapshot(&self) -> Snapshot {
        self.state.clone()
    }

    /// The state as it is now, to look at without keeping it.
    pub fn view(&self) -> &Snapshot {
        &self.state
    }

    /// Notes that everything up to `at` is applied: for log entries without commands.
    pub fn advance(&mut self, at: Position) {
        self.state.position = at;
    }

    /// Applies one command of the log entry at `at`. One entry may hold many commands: they are
    /// applied one after the other with the same position.
    pub fn apply(&mut self, at: Position, command: &Command) -> Applied {
        self.advance(at);
        if command.term != 0 && command.term < at.term {
            return Applied::StaleTerm { current: at.term };
        }
        // With one operation there is nothing to take back: it fails before it changes anything.
        let before = (command.ops.len() > 1).then(|| self.state.clone());
        let mut changes = Vec::with_capacity(command.ops.len());
        for (number, op) in command.ops.iter().enumerate() {
            match self.perform(op) {
                Ok(change) => changes.extend(change),
                Err(found) => {
                    if let Some(before) = before {
                        self.state = before;
                    }
                    let key = op.key().clone();
                    return Applied::Refused {
                        op: number,
                        key,
                        found,
                    };
                }
            }
        }
        Applied::Committed(changes)
    }

    /// Does one operation; `Err` is the revision that was found instead of what was expected.
    fn perform(&mut self, op: &Op) -> Result<Option<Change>, Option<u64>> {
        match op {
            Op::Put {
                key,
                uid,
                json,
                expect,
            } => {
                self.check(key, expect)?;
                let revision = self.next_revision();
                let object = Stored::new(key.clone(), uid.clone(), revision, json.clone());
                let object = Arc::new(object);
                let previous = self.state.put(object.clone());
                Ok(Some(Change {
                    object,
                    previous,
                    removed: false,
                }))
            }
            Op::Delete { key, expect } => {
                self.check(key, expect)?;
                let previous = self.state.remove(key).ok_or(None)?;
                let object = Arc::new(previous.at_revision(self.next_revision()));
                Ok(Some(Change {
                    object,
                    previous: Some(previous),
                    removed: true,
                }))
            }
            Op::Require { key, expect } => self.check(key, expect).map(|()| None),
            Op::Vacant { key, index, value } => {
                let mut holders = self.state.indexed(*index, value);
                match holders.find(|o| o.key != *key) {
                    Some(other) => Err(Some(other.revision)),
                    None => Ok(None),
                }
            }
        }
    }

    fn check(&self, key: &ObjectKey, expect: &Expect) -> Result<(), Option<u64>> {
        if *expect == Expect::Any {
            return Ok(());
        }
        let found = self.state.get(key);
        let holds = match (expect, found) {
            (Expect::Any, _) | (Expect::Absent, None) | (Expect::Present, Some(_)) => true,
            (Expect::Revision(revision), Some(found)) => found.revision == *revision,
            (Expect::Uid(uid), Some(found)) => found.uid == *uid,
            _ => false,
        };
        if holds {
            Ok(())
        } else {
            Err(found.map(|f| f.revision))
        }
    }

    fn next_revision(&mut self) -> u64 {
        self.state.revision += 1;
        self.state.revision
    }
}

#[cfg(test)]
pub(crate) mod tests;
