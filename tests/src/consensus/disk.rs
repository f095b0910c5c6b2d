//! A server's disk: the log with its hard state, and the snapshot files. What was queued is
//! durable only when it was synced; appends become durable in their order and each as a whole.

use super::server::founding;
use kabuki_plane::raft::core::eraftpb::{ConfState, Entry, HardState, Message};
use kabuki_plane::raft::core::{Append, Recovered, SaveSnapshot};
use kabuki_store::{Position, Snapshot};
use std::collections::{BTreeMap, VecDeque};

/// So many snapshot files are kept, so that one can be sent while the next is written.
const FILES: usize = 3;

#[derive(Debug)]
pub(super) struct Disk {
    files: BTreeMap<u64, (Snapshot, ConfState)>,
    /// The entry before the first of `log`.
    base: u64,
    log: Vec<Entry>,
    pub hard_state: HardState,
    /// Not yet durable.
    queue: VecDeque<Append>,
    /// How many of the queue are being synced.
    pub syncing: usize,
    pub saving: Option<SaveSnapshot>,
    /// Whether a sync takes much longer than usual.
    pub slow: bool,
    /// Whether an append left a gap.
    pub has_gap: bool,
}

impl Disk {
    /// What a founding server begins with; without voters, one that is to join.
    pub fn new(voters: &[u64]) -> Self {
        let (snapshot, conf_state) = founding(voters);
        let at = snapshot.position();
        Self {
            files: [(at.index, (snapshot, conf_state))].into(),
            base: at.index,
            log: Vec::new(),
            hard_state: HardState {
                term: at.term,
                commit: at.index,
                ..HardState::default()
            },
            queue: VecDeque::new(),
            syncing: 0,
            saving: None,
            slow: false,
            has_gap: false,
        }
    }

    pub fn queue(&mut self, append: Append) {
        self.queue.push_back(append);
    }

    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The oldest append becomes durable; its number and its messages.
    pub fn sync_one(&mut self) -> Option<(u64, Vec<Message>)> {
        let mut append = self.queue.pop_front()?;
        let (number, messages) = (append.number, std::mem::take(&mut append.messages));
        self.write(append);
        Some((number, messages))
    }

    fn write(&mut self, append: Append) {
        if let Some(restart) = append.restart {
            let at = restart.snapshot.position().index;
            self.add_file(restart.snapshot, restart.conf_state);
            self.base = at;
            self.log.clear();
        }
        if let Some(first) = append.entries.first() {
            self.log.retain(|e| e.index < first.index);
            // Such a log would be of no use: the audit asks for it.
            self.has_gap |= first.index != self.last() + 1;
        }
        self.log.extend(append.entries);
        if let Some(hard_state) = append.hard_state {
            self.hard_state = hard_state;
        }
    }

    /// The last durable entry of the log.
    pub fn last(&self) -> u64 {
        self.log.last().map_or(self.base, |e| e.index)
    }

    /// An entry, and whether it is durable.
    pub fn find(&self, index: u64) -> Option<(&Entry, bool)> {
        let queued = self.queue.iter().rev().flat_map(|a| a.entries.iter().rev());
        let durable = index
            .checked_sub(self.base + 1)
            .and_then(|at| self.log.get(usize::try_from(at).ok()?));
        let durable = durable.map(|e| (e, true));
        durable.or_else(|| {
            let mut queued = queued.filter(|e| e.index == index);
            queued.next().map(|e| (e, false))
        })
    }

    /// Whether exactly this vote is durable.
    pub fn holds_vote(&self, term: u64, vote: u64) -> bool {
        self.hard_state.term > term || (self.hard_state.term, self.hard_state.vote) == (term, vote)
    }

    /// A crash: so many of the waiting appends have reached the disk, the rest are gone. Of one
    /// that brings another server's state the file may be there, though the log is the old one.
    pub fn crash(&mut self, survive: usize, torn: bool) {
        for _ in 0..survive {
            self.sync_one();
        }
        if let Some(restart) = self.queue.front_mut().and_then(|a| a.restart.take())
            && torn
        {
            self.add_file(restart.snapshot, restart.conf_state);
        }
        self.queue.clear();
        self.syncing = 0;
        self.saving = None;
        self.slow = false;
    }

    /// What a disk that forgets has lost: the newest entries that it had promised to hold.
    pub fn forget(&mut self, entries: usize) {
        self.log.truncate(self.log.len().saturating_sub(entries));
        self.hard_state.commit = self.hard_state.commit.min(self.last());
    }

    /// Everything that is there at a start.
    pub fn recovered(&mut self) -> Recovered {
        let (snapshot, conf_state) = self.newest();
        let at = snapshot.position();
        let replaced = self
            .log
            .iter()
            .any(|e| e.index == at.index && e.term != at.term);
        if replaced || self.last() < at.index {
            // The file is another server's, and the crash came before the log was replaced.
            self.log.clear();
            self.base = at.index;
        }
        let after = |e: &&Entry| e.index > at.index;
        let entries: Vec<Entry> = self.log.iter().filter(after).cloned().collect();
        let last_term = entries.last().map_or(at.term, |e| e.term);
        let mut hard_state = self.hard_state.clone();
        hard_state.commit = hard_state.commit.max(at.index);
        hard_state.term = hard_state.term.max(last_term);
        Recovered {
            snapshot,
            conf_state,
            hard_state,
            base: at,
            entries,
        }
    }

    pub fn newest(&self) -> (Snapshot, ConfState) {
        let newest = self.files.last_key_value();
        newest.map(|(_, file)| file.clone()).unwrap_or_default()
    }

    /// The snapshot file that ends at `index`.
    pub fn file(&self, index: u64) -> Option<&(Snapshot, ConfState)> {
        self.files.get(&index)
    }

    fn add_file(&mut self, snapshot: Snapshot, conf_state: ConfState) {
        let Position { index, .. } = snapshot.position();
        self.files.insert(index, (snapshot, conf_state));
        while self.files.len() > FILES {
            self.files.pop_first();
        }
    }

    /// The snapshot that was being written is durable. The entry after which the log is needed:
    /// the file before it is kept as well.
    pub fn save(&mut self) -> Option<u64> {
        let before = self.files.last_key_value().map(|(index, _)| *index);
        let SaveSnapshot {
            snapshot,
            conf_state,
            ..
        } = self.saving.take()?;
        let at = snapshot.position().index;
        self.add_file(snapshot, conf_state);
        Some(before.unwrap_or(at).min(at))
    }

    pub fn compact(&mut self, through: u64) {
        if through > self.base && through <= self.last() {
            self.log.retain(|e| e.index > through);
            self.base = through;
        }
    }

    pub fn entries(&self, low: u64, high: u64) -> Vec<Entry> {
        let wanted = |e: &&Entry| (low..high).contains(&e.index);
        self.log.iter().filter(wanted).cloned().collect()
    }
}
