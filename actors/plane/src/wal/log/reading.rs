//! Reading the log when it is opened, and saying what is wrong with it.

use super::super::directory::WalError;
use super::super::files::LogFiles;
use super::super::watermark::Watermark;
use super::{Entries, GROUP, HARD_STATE, LogEngine, position};
use kabuki_store::{Position, Snapshot};
use protobuf::Message as _;
use raft::eraftpb::{Entry, HardState};
use std::path::{Path, PathBuf};

pub(super) struct Reading<'a> {
    pub(super) engine: &'a LogEngine,
    pub(super) path: &'a Path,
    pub(super) snapshot: &'a Snapshot,
}

/// What was read.
pub(super) struct ReadLog {
    pub(super) entries: Vec<Entry>,
    pub(super) hard_state: HardState,
    /// The entry before the first of the log.
    pub(super) base: Position,
    /// The log is another one than the snapshot's, which was to take its place.
    pub(super) replaced: bool,
}

impl Reading<'_> {
    /// The entries after the snapshot, the hard state, and the entry before the first of the log.
    pub(super) fn all(&self) -> Result<ReadLog, WalError> {
        let at = self.snapshot.position();
        let first = self.engine.first_index(GROUP).unwrap_or(at.index + 1);
        let last = self.engine.last_index(GROUP).unwrap_or(at.index);
        if first > at.index + 1 {
            let what = format!(
                "it begins at entry {first}, but the newest snapshot ends at {}: a snapshot file is missing",
                at.index
            );
            return Err(WalError::damaged(self.path, what));
        }
        let replaced = self.replaced(at)?;
        let mut entries = Vec::new();
        if last > at.index && !replaced {
            let fetched = self.engine.fetch_entries_to::<Entries>(
                GROUP,
                at.index + 1,
                last + 1,
                None,
                &mut entries,
            );
            fetched.map_err(|e| self.unreadable(e))?;
        }
        self.check_order(&entries, at)?;
        let hard_state = self.hard_state(entries.last().map_or(at, position))?;
        // Entries before the snapshot are only for servers that are behind; the snapshot's own
        // position serves where they would need a term that is not at hand.
        Ok(ReadLog {
            entries,
            hard_state,
            base: at,
            replaced,
        })
    }

    /// Whether the log has another entry where the snapshot ends. Then the snapshot is another
    /// server's, and whatever the log has from there on was never committed.
    fn replaced(&self, at: Position) -> Result<bool, WalError> {
        let entry = self.engine.get_entry::<Entries>(GROUP, at.index);
        let entry = entry.map_err(|e| self.unreadable(e))?;
        Ok(entry.is_some_and(|e| e.term != at.term))
    }

    fn check_order(&self, entries: &[Entry], at: Position) -> Result<(), WalError> {
        let mut before = at;
        for entry in entries {
            if entry.index != before.index + 1 || entry.term < before.term {
                let what = format!(
                    "entry {} of term {} follows entry {} of term {}",
                    entry.index, entry.term, before.index, before.term
                );
                return Err(WalError::damaged(self.path, what));
            }
            before = position(entry);
        }
        Ok(())
    }

    fn hard_state(&self, last: Position) -> Result<HardState, WalError> {
        let found = self.engine.get(GROUP, HARD_STATE);
        let mut hard_state = match found {
            Some(bytes) => HardState::parse_from_bytes(&bytes)
                .map_err(|e| WalError::damaged(self.path, format!("hard state: {e}")))?,
            None => HardState::default(),
        };
        let at = self.snapshot.position();
        // The state may be ahead of what the log says, because the log's commit index is only
        // written along with other things.
        hard_state.commit = hard_state.commit.max(at.index);
        hard_state.term = hard_state.term.max(last.term);
        if hard_state.commit > last.index {
            let what = format!(
                "it ends at entry {}, but {} was committed",
                last.index, hard_state.commit
            );
            return Err(WalError::damaged(self.path, what));
        }
        Ok(hard_state)
    }

    fn unreadable(&self, error: raft_engine::Error) -> WalError {
        match error {
            raft_engine::Error::Io(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => {
                WalError::io("read", self.path, e)
            }
            other => WalError::damaged(self.path, format!("damaged: {other}")),
        }
    }
}

/// Nothing that was reported as being on disk may be missing.
pub(super) fn check_watermark(
    watermark: &Watermark,
    snapshot: &Snapshot,
    entries: &[Entry],
    path: &Path,
) -> Result<(), WalError> {
    let Position { index, term } = watermark.at();
    let at = snapshot.position();
    let last = entries.last().map_or(at, position);
    if last.index < index {
        let what = format!(
            "the log ends at entry {}, but entry {index} was on disk (says {})",
            last.index,
            watermark.path().display()
        );
        return Err(WalError::damaged(path, what));
    }
    if index <= at.index {
        return Ok(());
    }
    let found = entries[(index - at.index - 1) as usize].term;
    // Term 0: the entry was about to be replaced.
    if term != 0 && found != term {
        let what = format!(
            "entry {index} is of term {found}, but one of term {term} was on disk (says {})",
            watermark.path().display()
        );
        return Err(WalError::damaged(path, what));
    }
    Ok(())
}

/// Puts back what recovery cut off, and makes the error name the file and the place.
pub(super) fn explain(error: WalError, files: &LogFiles, path: &Path) -> WalError {
    let cuts = match files.undo() {
        Ok(cuts) => cuts,
        Err(e) => return WalError::io("put back the end of the newest file in", path, e),
    };
    let WalError::Damaged {
        path: said,
        what,
        remedy,
    } = error
    else {
        return error;
    };
    if let Some(cut) = cuts.into_iter().next() {
        let what = format!("damaged at byte {}: {what}", cut.offset);
        return WalError::Damaged {
            path: cut.path,
            what,
            remedy,
        };
    }
    // Cut off at the boundary of two records: the newest file is where the rest should be.
    let newest = (said == path).then(|| newest_file(path)).flatten();
    match newest {
        Some((file, size)) => {
            let what = format!("truncated at or before byte {size}: {what}");
            WalError::Damaged {
                path: file,
                what,
                remedy,
            }
        }
        None => WalError::Damaged {
            path: said,
            what,
            remedy,
        },
    }
}

fn newest_file(path: &Path) -> Option<(PathBuf, u64)> {
    let files = std::fs::read_dir(path)
        .ok()?
        .filter_map(Result::ok)
        .map(|e| e.path());
    let newest = files
        .filter(|p| p.extension().is_some_and(|e| e == "raftlog"))
        .max()?;
    let size = std::fs::metadata(&newest).ok()?.len();
    Some((newest, size))
}
