//! Files that the log has done with, kept to be written over by the next ones.
//!
//! What they still hold is no danger: each record is signed with the number of the file that it was
//! written to, so that an older one ends the reading of a file just as zeros do. A file is only
//! written over as one with a higher number than any that it had.

use super::super::directory::room;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of which files: those that entries are appended to.
const OF: &str = "raftlog";
/// What they are called meanwhile; raft-engine passes over such files.
const SPARE: &str = "spare";
/// More than the log has done with at once, after a snapshot of a busy server.
const KEPT: usize = 8;
/// With less room than this on the disk it gets the files back.
const ROOM_BYTES: u64 = 1 << 30;

/// The spare files of one log.
#[derive(Debug, Default)]
pub(super) struct Spares {
    kept: Mutex<Vec<PathBuf>>,
}

impl Spares {
    /// Takes in what a former process left.
    pub(super) fn find(&self, directory: &Path) {
        let Ok(found) = std::fs::read_dir(directory) else {
            return;
        };
        let found = found.filter_map(Result::ok).map(|entry| entry.path());
        let spare = |path: &PathBuf| path.extension().is_some_and(|e| e == SPARE);
        let mut kept = self.lock();
        for path in found.filter(spare) {
            match kept.len() < KEPT && !kept.contains(&path) {
                true => kept.push(path),
                // One too many is only a waste of room.
                false => drop(std::fs::remove_file(&path)),
            }
        }
    }

    /// Keeps a file that the log has done with; `false` when it may as well be removed.
    pub(super) fn keep(&self, path: &Path) -> bool {
        let mut kept = self.lock();
        let roomy = || room(path.parent().unwrap_or(path)).is_ok_and(|free| free > ROOM_BYTES);
        if path.extension().is_none_or(|e| e != OF) || kept.len() >= KEPT || !roomy() {
            return false;
        }
        let spare = path.with_extension(SPARE);
        let renamed = std::fs::rename(path, &spare).is_ok();
        if renamed {
            kept.push(spare);
        }
        renamed
    }

    /// Makes a spare file the one at `path`, which is yet to be; `None` when there is none.
    pub(super) fn take(&self, path: &Path) -> Option<File> {
        if path.extension().is_none_or(|e| e != OF) {
            return None;
        }
        let mut kept = self.lock();
        // Numbers have as many digits, so that they are in the order of their texts.
        let older = |spare: &mut PathBuf| spare.file_stem() < path.file_stem();
        while let Some(spare) = kept.pop_if(older) {
            let opened = OpenOptions::new().read(true).write(true).open(&spare);
            if let Ok(file) = opened
                && std::fs::rename(&spare, path).is_ok()
            {
                return Some(file);
            }
            // Whatever is wrong with it, a new file will do.
            let _ = std::fs::remove_file(&spare);
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
