//! A server and its modelled disk.

use crate::raft::core::eraftpb::{ConfState, HardState, Message};
use crate::raft::core::{Append, Fetch, Recovered, Replica, SaveSnapshot};
use kabuki_store::{Position, Snapshot, Store};
use std::collections::{BTreeMap, VecDeque};

/// One server: its disk, and the replica while it runs.
pub(super) struct Server {
    pub(super) replica: Option<Replica>,
    pub(super) disk: Recovered,
    /// Not yet durable.
    pub(super) appends: VecDeque<Append>,
    pub(super) saving: Option<SaveSnapshot>,
    /// The snapshot files by their index.
    pub(super) files: BTreeMap<u64, (Snapshot, ConfState)>,
    pub(super) fetches: VecDeque<Fetch>,
    pub(super) wakes: Vec<u64>,
    pub(super) to_be_reminded: bool,
    /// Its processors are kept from halting.
    pub(super) awake: bool,
    /// Appends up to this number are durable, and the replica has yet to hear it; else zero.
    pub(super) reported: u64,
    pub(super) starts: u64,
}

impl Server {
    pub(super) fn founded(id: u64, voters: Vec<u64>) -> Self {
        let at = match voters.is_empty() {
            true => Position::default(),
            false => Position { index: 1, term: 1 },
        };
        let mut store = Store::new();
        store.advance(at);
        let mut conf_state = ConfState::default();
        conf_state.set_voters(voters);
        let snapshot = store.snapshot();
        assert_ne!(id, 0);
        Self {
            replica: None,
            files: [(at.index, (snapshot.clone(), conf_state.clone()))].into(),
            disk: Recovered {
                snapshot,
                conf_state,
                hard_state: HardState {
                    term: at.term,
                    commit: at.index,
                    ..HardState::default()
                },
                base: at,
                entries: Vec::new(),
            },
            appends: VecDeque::new(),
            saving: None,
            fetches: VecDeque::new(),
            wakes: Vec::new(),
            to_be_reminded: false,
            awake: false,
            reported: 0,
            starts: 0,
        }
    }

    /// The oldest append becomes durable; its number and its messages.
    pub(super) fn sync(&mut self) -> Option<(u64, Vec<Message>)> {
        let append = self.appends.pop_front()?;
        let disk = &mut self.disk;
        if let Some(restart) = append.restart {
            let at = restart.snapshot.position();
            let file = (restart.snapshot.clone(), restart.conf_state.clone());
            self.files.insert(at.index, file);
            disk.snapshot = restart.snapshot;
            disk.conf_state = restart.conf_state;
            disk.base = at;
            disk.entries.clear();
        }
        if let Some(first) = append.entries.first() {
            disk.entries.retain(|e| e.index < first.index);
            let last = disk.entries.last().map_or(disk.base.index, |e| e.index);
            assert_eq!(first.index, last + 1, "a gap");
        }
        disk.entries.extend(append.entries);
        if let Some(hard_state) = append.hard_state {
            disk.hard_state = hard_state;
        }
        Some((append.number, append.messages))
    }

    /// The snapshot file becomes durable.
    pub(super) fn save(&mut self) -> bool {
        let Some(save) = self.saving.take() else {
            return false;
        };
        let at = save.snapshot.position();
        let file = (save.snapshot.clone(), save.conf_state.clone());
        self.files.insert(at.index, file);
        if at > self.disk.base {
            self.disk.entries.retain(|e| e.index > at.index);
            self.disk.snapshot = save.snapshot;
            self.disk.conf_state = save.conf_state;
            self.disk.base = at;
            let commit = self.disk.hard_state.commit.max(at.index);
            self.disk.hard_state.commit = commit;
        }
        true
    }
}
