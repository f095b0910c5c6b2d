//! The server's disk: a log whose last entries may not have reached it, and a snapshot that
//! replaces all entries before it.

use super::random::Random;
use kabuki_model::codec;
use kabuki_model::command::Command;
use kabuki_store::{Position, Snapshot, Store, read_snapshot};

#[derive(Debug, Default)]
pub(super) struct Disk {
    snapshot: Option<Vec<u8>>,
    entries: Vec<Entry>,
    /// How many of `entries` a crash leaves for certain.
    synced: usize,
    last: Position,
}

#[derive(Debug)]
struct Entry {
    at: Position,
    bytes: Vec<u8>,
}

impl Disk {
    /// Appends an entry, which a crash may take away until `sync`.
    pub fn append(&mut self, term: u64, commands: &[Command]) -> Position {
        let at = Position {
            index: self.last.index + 1,
            term,
        };
        let bytes = codec::encode(&commands).expect("commands have a binary form");
        self.entries.push(Entry { at, bytes });
        self.last = at;
        at
    }

    pub fn sync(&mut self) {
        self.synced = self.entries.len();
    }

    /// Writes a snapshot of the state at the end of the log; the entries before it go.
    pub fn compact(&mut self, state: &Snapshot) {
        let mut bytes = Vec::new();
        for piece in state.encode(b"simulation") {
            bytes.extend(piece.expect("a snapshot has a binary form"));
        }
        self.snapshot = Some(bytes);
        let through = state.position().index;
        self.entries.retain(|e| e.at.index > through);
        self.synced = self.entries.len();
    }

    /// What a crash leaves: all that was synced, and of the rest some first part.
    pub fn crash(&mut self, random: &mut Random) {
        let unsynced = self.entries.len() - self.synced;
        let survive = random.below(unsynced + 1);
        self.entries.truncate(self.synced + survive);
        self.synced = self.entries.len();
    }

    /// The state of the snapshot, and the entries after it.
    pub fn recover(&mut self) -> (Store, Vec<(Position, Vec<Command>)>) {
        let state = match &self.snapshot {
            Some(bytes) => {
                read_snapshot(bytes.as_slice())
                    .expect("an undamaged snapshot")
                    .snapshot
            }
            None => Snapshot::empty(),
        };
        self.last = self.entries.last().map_or(state.position(), |e| e.at);
        let decoded = |e: &Entry| (e.at, codec::decode(&e.bytes).expect("an undamaged entry"));
        let entries = self.entries.iter().map(decoded).collect();
        (Store::from_snapshot(state), entries)
    }
}
