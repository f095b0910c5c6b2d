//! The recent changes of each resource, for watches that resume. The watch actor owns one.
//!
//! Invariants: the changes of a resource are in revision order; everything after a resource's
//! `floor` is held, nothing at or before it; both bounds (count and bytes) hold at all times,
//! except that the newest change is always kept.

use kabuki_model::command::Change;
use kabuki_model::watch::WatchEvent;
use kabuki_model::{Resource, Stored};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How much of each resource's past is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimits {
    /// How many changes.
    pub changes: usize,
    /// How many bytes of JSON.
    pub bytes: usize,
}

impl Default for HistoryLimits {
    /// A minute of a very busy cluster, in memory that a small node can spare.
    fn default() -> Self {
        Self {
            changes: 16 << 10,
            bytes: 16 << 20,
        }
    }
}

impl HistoryLimits {
    /// How much of this resource's past is held. Nodes renew their Leases all the time, and hardly
    /// anybody watches them: their past must not fill the memory of a cluster that is idle.
    fn of(self, resource: &Resource) -> Self {
        match *resource == Resource::LEASES {
            true => Self {
                changes: self.changes / 8,
                bytes: self.bytes / 8,
            },
            false => self,
        }
    }
}

/// The changes after the revision that was asked for are no longer held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct Expired {
    /// The revision that was asked for.
    pub asked: u64,
    /// The oldest revision that one can still resume after.
    pub oldest: u64,
}

/// The recent changes per resource.
#[derive(Debug)]
pub struct History {
    limits: HistoryLimits,
    rings: BTreeMap<Resource, Ring>,
    /// Where the history began: changes up to it were never seen.
    start: u64,
    revision: u64,
}

#[derive(Debug)]
struct Ring {
    changes: VecDeque<Change>,
    bytes: usize,
    floor: u64,
}

impl History {
    /// A history that knows nothing of the changes up to `start`.
    pub fn new(limits: HistoryLimits, start: u64) -> Self {
        Self {
            limits,
            rings: BTreeMap::new(),
            start,
            revision: start,
        }
    }

    /// The revision up to which the history is complete.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Adds the next change. Returns `false`, and adds nothing, when it is known already.
    /// A change that is not the next one ends what was known: what lies between is missing.
    pub fn push(&mut self, change: &Change) -> bool {
        let revision = change.revision();
        if revision <= self.revision {
            return false;
        }
        if revision != self.revision + 1 {
            *self = Self::new(self.limits, revision - 1);
        }
        self.revision = revision;
        let floor = self.start;
        let limits = self.limits.of(&change.object.key.resource);
        let ring = self
            .rings
            .entry(change.object.key.resource.clone())
            .or_insert_with(|| Ring {
                changes: VecDeque::new(),
                bytes: 0,
                floor,
            });
        ring.bytes += size(change);
        ring.changes.push_back(change.clone());
        ring.shrink(limits);
        true
    }

    /// The changes of `resource` after `revision`, in order.
    pub fn since(
        &self,
        resource: &Resource,
        revision: u64,
    ) -> Result<impl Iterator<Item = &Change> + use<'_>, Expired> {
        let ring = self.rings.get(resource);
        let oldest = ring.map_or(self.start, |r| r.floor);
        if revision < oldest {
            return Err(Expired {
                asked: revision,
                oldest,
            });
        }
        let held = ring.into_iter().flat_map(move |ring| {
            let from = ring.changes.partition_point(|c| c.revision() <= revision);
            ring.changes.range(from..)
        });
        Ok(held)
    }
}

impl Ring {
    fn shrink(&mut self, limits: HistoryLimits) {
        while self.changes.len() > limits.changes.max(1)
            || (self.bytes > limits.bytes && self.changes.len() > 1)
        {
            let Some(gone) = self.changes.pop_front() else {
                return;
            };
            self.bytes -= size(&gone);
            self.floor = gone.revision();
        }
    }
}

/// The previous object counts too: the change may be all that keeps it.
fn size(change: &Change) -> usize {
    let previous = change.previous.as_ref().map_or(0, |p| p.json.len());
    change.object.json.len() + previous
}

/// What a watch with a selection sees of a change (API concepts, "Efficient detection of
/// changes"): an object that begins to match is `Added`, one that ceases to is `Deleted` (as it
/// was, at the revision of the change), and what never matched is nothing.
pub fn event_of(change: &Change, matches: &dyn Fn(&Stored) -> bool) -> Option<WatchEvent> {
    let before = change.previous.as_ref().filter(|p| matches(p));
    let after = !change.removed && matches(&change.object);
    match (before, after) {
        (None, false) => None,
        (None, true) => Some(WatchEvent::Added(change.object.clone())),
        (Some(_), true) => Some(WatchEvent::Modified(change.object.clone())),
        (Some(_), false) if change.removed => Some(WatchEvent::Deleted(change.object.clone())),
        (Some(before), false) => {
            let left = before.at_revision(change.revision());
            Some(WatchEvent::Deleted(Arc::new(left)))
        }
    }
}

#[cfg(test)]
mod tests;
