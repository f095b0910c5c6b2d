//! What raft-rs reads: the recent entries from memory, positions of all of them, and the hard
//! state. Older entries are fetched from the disk when a follower needs them.
//!
//! Invariants: entries are without gaps; every entry that is not yet applied is in memory.

use super::effect::Fetch;
use super::membership::ids;
use kabuki_store::Position;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

/// Entries in memory that are applied: for followers that are nearly up to date.
const CACHED_BYTES: usize = 8 << 20;

/// The newest snapshot file.
#[derive(Debug, Clone)]
struct Available {
    at: Position,
    conf_state: ConfState,
}

/// A snapshot on its way to another server.
#[derive(Debug, Clone, Copy)]
struct Sending {
    index: u64,
    /// When it began, in ticks.
    since: u64,
}

/// What raft-rs asked for and could not be given at once.
#[derive(Debug, Default)]
struct Asked {
    entries: Vec<(Fetch, GetEntriesContext)>,
    /// The servers that need a snapshot.
    snapshot: Vec<u64>,
    next_ticket: u64,
}

pub(super) struct LogStorage {
    hard_state: HardState,
    conf_state: ConfState,
    /// The entry before the first that the log holds.
    base: Position,
    /// Where each term begins, after `base`.
    terms: VecDeque<Position>,
    cached: VecDeque<Entry>,
    cached_bytes: usize,
    last: Position,
    /// raft-rs asks through a shared reference.
    asked: RefCell<Asked>,
    /// Fetches that are under way.
    fetching: BTreeMap<u64, GetEntriesContext>,
    fetched: Vec<Entry>,
    available: Option<Available>,
    sending: BTreeMap<u64, Sending>,
}

impl LogStorage {
    pub(super) fn new(base: Position, hard_state: HardState, conf_state: ConfState) -> Self {
        Self {
            hard_state,
            conf_state,
            base,
            terms: VecDeque::new(),
            cached: VecDeque::new(),
            cached_bytes: 0,
            last: base,
            asked: RefCell::default(),
            fetching: BTreeMap::new(),
            fetched: Vec::new(),
            available: None,
            sending: BTreeMap::new(),
        }
    }

    /// Adds entries; those that they overlap are replaced.
    pub(super) fn append(&mut self, entries: &[Entry]) {
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
    pub(super) fn evict(&mut self, applied: u64) {
        while self.cached_bytes > CACHED_BYTES {
            let Some(first) = self.cached.front().filter(|e| e.index <= applied) else {
                return;
            };
            self.cached_bytes -= first.data.len();
            self.cached.pop_front();
        }
    }

    /// The log no longer holds the entries up to `index`.
    pub(super) fn compact(&mut self, index: u64) {
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
    pub(super) fn restart_after(&mut self, at: Position, conf_state: ConfState) {
        let mut hard_state = self.hard_state.clone();
        hard_state.commit = hard_state.commit.max(at.index);
        hard_state.term = hard_state.term.max(at.term);
        // A server that is given a snapshot has nobody to serve: what was asked for is void.
        let next_ticket = self.asked.get_mut().next_ticket;
        *self = Self::new(at, hard_state, conf_state.clone());
        // An answer that still comes must not be taken for another one.
        self.asked.get_mut().next_ticket = next_ticket;
        self.set_available(at, conf_state);
    }

    pub(super) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    pub(super) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub(super) fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state;
    }

    pub(super) fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    /// Entries that are to be fetched.
    pub(super) fn take_wanted(&mut self) -> Vec<Fetch> {
        let wanted = std::mem::take(&mut self.asked.get_mut().entries);
        let take = |(fetch, context): (Fetch, GetEntriesContext)| {
            self.fetching.insert(fetch.ticket, context);
            fetch
        };
        wanted.into_iter().map(take).collect()
    }

    /// What raft-rs wants to be told when the fetch is done.
    pub(super) fn take_fetching(&mut self, ticket: u64) -> Option<GetEntriesContext> {
        self.fetching.remove(&ticket)
    }

    /// Entries for the next call that asks for them.
    pub(super) fn set_fetched(&mut self, entries: Vec<Entry>) {
        self.fetched = entries;
    }

    /// There is a snapshot file that can be sent.
    pub(super) fn set_available(&mut self, at: Position, conf_state: ConfState) {
        self.available = Some(Available { at, conf_state });
    }

    pub(super) fn wants_snapshot(&self) -> bool {
        !self.asked.borrow().snapshot.is_empty()
    }

    /// The servers that waited for a snapshot.
    pub(super) fn take_wanting(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.asked.get_mut().snapshot)
    }

    /// A snapshot is being sent; until that is over the server gets no other.
    pub(super) fn sending(&mut self, to: u64, index: u64, since: u64) {
        self.sending.insert(to, Sending { index, since });
    }

    /// A snapshot is no longer being sent. Returns whether it was.
    pub(super) fn sent(&mut self, to: u64) -> bool {
        self.sending.remove(&to).is_some()
    }

    pub(super) fn oldest_sending(&self) -> Option<u64> {
        self.sending.values().map(|s| s.index).min()
    }

    /// Forgets the transfers that began before `since`.
    pub(super) fn expired(&mut self, since: u64) -> Vec<u64> {
        let old = self.sending.extract_if(.., |_, s| s.since < since);
        old.map(|(to, _)| to).collect()
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
            let mut asked = self.asked.borrow_mut();
            let fetch = Fetch {
                ticket: asked.next_ticket,
                low,
                // Only up to what memory has: the rest is asked for later.
                high: high.min(first),
                max_bytes: max_size.unwrap_or(u64::MAX),
            };
            asked.next_ticket += 1;
            asked.entries.push((fetch, context));
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

    fn snapshot(&self, request_index: u64, to: u64) -> Result<Snapshot> {
        let unavailable = Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        if self.sending.contains_key(&to) {
            return unavailable;
        }
        let least = request_index.max(self.base.index);
        let fits = |a: &&Available| a.at.index >= least && ids(&a.conf_state).any(|id| id == to);
        let Some(Available { at, conf_state }) = self.available.as_ref().filter(fits) else {
            let asking = &mut self.asked.borrow_mut().snapshot;
            if !asking.contains(&to) {
                asking.push(to);
            }
            return unavailable;
        };
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = at.index;
        metadata.term = at.term;
        metadata.set_conf_state(conf_state.clone());
        Ok(snapshot)
    }
}
