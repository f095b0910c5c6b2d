//! What raft-rs reads: the recent entries from memory, positions of all of them, and the hard
//! state. Older entries are fetched by the Wal's thread when a follower needs them.
//!
//! Invariants: entries are without gaps; every entry that is not yet applied is in memory.

use kabuki_store::Position;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};
use std::cell::RefCell;
use std::collections::VecDeque;

/// Entries in memory that are applied: for followers that are nearly up to date.
const CACHED_BYTES: usize = 8 << 20;

/// raft-rs wants entries that are no longer in memory.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) max_bytes: u64,
    pub(crate) context: GetEntriesContext,
}

pub(crate) struct LogStorage {
    hard_state: HardState,
    conf_state: ConfState,
    /// The entry before the first that the log holds.
    base: Position,
    /// Where each term begins, after `base`.
    terms: VecDeque<Position>,
    cached: VecDeque<Entry>,
    cached_bytes: usize,
    last: Position,
    wanted: RefCell<Vec<Wanted>>,
    fetched: Vec<Entry>,
    /// A follower needs a snapshot.
    wants_snapshot: RefCell<bool>,
    outgoing: Option<Snapshot>,
}

impl LogStorage {
    pub(crate) fn new(base: Position, hard_state: HardState, conf_state: ConfState) -> Self {
        Self {
            hard_state,
            conf_state,
            base,
            terms: VecDeque::new(),
            cached: VecDeque::new(),
            cached_bytes: 0,
            last: base,
            wanted: RefCell::default(),
            fetched: Vec::new(),
            wants_snapshot: RefCell::new(false),
            outgoing: None,
        }
    }

    /// Adds entries; those that they overlap are replaced.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        while let Some(last) = self.cached.back().filter(|e| e.index >= first.index) {
            self.cached_bytes -= last.data.len();
            self.cached.pop_back();
        }
        while self
            .terms
            .back()
            .is_some_and(|run| run.index >= first.index)
        {
            self.terms.pop_back();
        }
        for entry in entries {
            let term = self.terms.back().map_or(self.base.term, |run| run.term);
            self.last = Position {
                index: entry.index,
                term: entry.term,
            };
            if entry.term != term {
                self.terms.push_back(self.last);
            }
            self.cached_bytes += entry.data.len();
            self.cached.push_back(entry.clone());
        }
    }

    /// Lets go of applied entries that memory has no room for.
    pub(crate) fn evict(&mut self, applied: u64) {
        while self.cached_bytes > CACHED_BYTES {
            let Some(first) = self.cached.front().filter(|e| e.index <= applied) else {
                return;
            };
            self.cached_bytes -= first.data.len();
            self.cached.pop_front();
        }
    }

    /// The log no longer holds the entries up to `index`.
    pub(crate) fn compact(&mut self, index: u64) {
        let Ok(term) = self.term(index) else { return };
        self.base = Position { index, term };
        while self.terms.front().is_some_and(|run| run.index <= index) {
            self.terms.pop_front();
        }
        while let Some(first) = self.cached.front().filter(|e| e.index <= index) {
            self.cached_bytes -= first.data.len();
            self.cached.pop_front();
        }
    }

    /// Begins anew after another server's snapshot.
    pub(crate) fn restart_after(&mut self, at: Position, conf_state: ConfState) {
        let mut hard_state = self.hard_state.clone();
        hard_state.commit = hard_state.commit.max(at.index);
        hard_state.term = hard_state.term.max(at.term);
        *self = Self::new(at, hard_state, conf_state);
    }

    pub(crate) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    pub(crate) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub(crate) fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state;
    }

    pub(crate) fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    pub(crate) fn take_wanted(&self) -> Vec<Wanted> {
        self.wanted.take()
    }

    pub(crate) fn take_wants_snapshot(&self) -> bool {
        self.wants_snapshot.take()
    }

    /// Entries for the next call that asks for them.
    pub(crate) fn set_fetched(&mut self, entries: Vec<Entry>) {
        self.fetched = entries;
    }

    /// The snapshot for a follower that needs one; taken by raft-rs when it asks again.
    pub(crate) fn set_outgoing(&mut self, snapshot: Snapshot) {
        self.outgoing = Some(snapshot);
    }

    fn first_cached(&self) -> u64 {
        self.cached.front().map_or(self.last.index + 1, |e| e.index)
    }

    /// What was fetched, when it begins at `low`.
    fn fetched_from(&self, low: u64, high: u64) -> Option<Vec<Entry>> {
        let first = self.fetched.first()?;
        (first.index == low).then(|| {
            self.fetched
                .iter()
                .take_while(|e| e.index < high)
                .cloned()
                .collect()
        })
    }
}

impl Storage for LogStorage {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(
            self.hard_state.clone(),
            self.conf_state.clone(),
        ))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.base.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last.index + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let max_size = max_size.into();
        let first = self.first_cached();
        let mut entries = if low >= first {
            let range = (low - first) as usize..(high - first) as usize;
            self.cached.range(range).cloned().collect()
        } else if let Some(fetched) = self.fetched_from(low, high) {
            fetched
        } else if context.can_async() {
            let max_bytes = max_size.unwrap_or(u64::MAX);
            // Only up to what memory has: the rest is asked for later.
            let high = high.min(first);
            self.wanted.borrow_mut().push(Wanted {
                low,
                high,
                max_bytes,
                context,
            });
            return Err(Error::Store(StorageError::LogTemporarilyUnavailable));
        } else {
            return Err(Error::Store(StorageError::Unavailable));
        };
        raft::util::limit_size(&mut entries, max_size);
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index < self.base.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        if index > self.last.index {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let run = self.terms.partition_point(|run| run.index <= index);
        Ok(match run {
            0 => self.base.term,
            run => self.terms[run - 1].term,
        })
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.base.index + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last.index)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> Result<Snapshot> {
        match &self.outgoing {
            Some(snapshot)
                if snapshot.get_metadata().index >= request_index.max(self.base.index) =>
            {
                Ok(snapshot.clone())
            }
            _ => {
                self.wants_snapshot.replace(true);
                Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}
