//! The watermark: the last entry that was reported as being on disk.
//!
//! The log's own recovery ends at the first record that it cannot read, and cannot tell a write
//! that a crash cut off (harmless, it was never acknowledged) from damage to what was
//! acknowledged. The watermark can. It is written after every sync of the log, when that was
//! reported, and without a sync of its own: a crash of the process keeps it, but for one that comes
//! just then, a power failure may leave an older one, which is true as well. Two slots take turns, so a torn write leaves the other.

use super::directory::{WalError, sync_parent};
use kabuki_store::Position;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// turn, index, term, checksum.
const SLOT_BYTES: usize = 28;
/// The slots are in different sectors.
const SLOT_OFFSETS: [u64; 2] = [0, 512];

#[derive(Debug)]
pub(crate) struct Watermark {
    path: PathBuf,
    file: File,
    turn: u64,
    at: Position,
}

impl Watermark {
    /// Makes the file of a new directory.
    pub(crate) fn create(path: &Path, at: Position) -> Result<Self, WalError> {
        let opened = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(path);
        let file = opened.map_err(|e| WalError::io("create", path, e))?;
        let mut watermark = Self {
            path: path.to_owned(),
            file,
            turn: 0,
            at,
        };
        // Both slots, so that every reader finds the file at its full size.
        watermark.set(at)?;
        watermark.set(at)?;
        watermark.sync()?;
        sync_parent(path)?;
        Ok(watermark)
    }

    /// Opens the file; a directory that has state always has one.
    pub(crate) fn open(path: &Path) -> Result<Self, WalError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => WalError::damaged(path, "missing"),
            _ => WalError::io("open", path, e),
        })?;
        let newest = SLOT_OFFSETS
            .iter()
            .filter_map(|at| read(&file, *at))
            .max_by_key(|s| s.0);
        let Some((turn, at)) = newest else {
            return Err(WalError::damaged(path, "damaged: no checksum holds"));
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            turn,
            at,
        })
    }

    pub(crate) fn at(&self) -> Position {
        self.at
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn set(&mut self, at: Position) -> Result<(), WalError> {
        self.turn += 1;
        let slot = encode(self.turn, at);
        let offset = SLOT_OFFSETS[(self.turn % 2) as usize];
        let written = self.file.write_all_at(&slot, offset);
        written.map_err(|e| WalError::io("write", &self.path, e))?;
        self.at = at;
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), WalError> {
        self.file
            .sync_data()
            .map_err(|e| WalError::io("sync", &self.path, e))
    }
}

fn encode(turn: u64, at: Position) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(&turn.to_le_bytes());
    slot[8..16].copy_from_slice(&at.index.to_le_bytes());
    slot[16..24].copy_from_slice(&at.term.to_le_bytes());
    let checksum = crc32fast::hash(&slot[..24]);
    slot[24..].copy_from_slice(&checksum.to_le_bytes());
    slot
}

fn read(file: &File, offset: u64) -> Option<(u64, Position)> {
    let mut slot = [0; SLOT_BYTES];
    file.read_exact_at(&mut slot, offset).ok()?;
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&slot[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let (turn, at) = (
        number(0),
        Position {
            index: number(8),
            term: number(16),
        },
    );
    // A turn of 0 is an empty slot, whose checksum would not hold either.
    (turn > 0 && encode(turn, at) == slot).then_some((turn, at))
}
