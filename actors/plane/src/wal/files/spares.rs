//! Files that are ready to be written over by the next ones of the log: those that it has done
//! with, and, where there is none, a new one full of zeros, made by a thread beside it. Making room
//! while somebody waits for a write would hold up that write.
//!
//! What they still hold is no danger: each record is signed with the number of the file that it was
//! written to, so that an older one ends the reading of a file just as zeros do. A file is only
//! written over as one with a higher number than any that it had.
//!
//! ```text
//!   log file ── done with ──> short ──┐
//!                                     ├─ thread: as long as the log needs them ──> ready ──> log file
//!                  nothing is ready ──┘
//! ```

use super::super::directory::room;
use super::write_zeros;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Of which files: those that entries are appended to.
const OF: &str = "raftlog";
/// What they are called meanwhile; raft-engine passes over such files.
const SPARE: &str = "spare";
/// What one is called that is not long enough yet.
const UNFINISHED: &str = "unfinished";
/// The number of a file that has none: lower than all.
const NUMBERLESS: &str = "0000000000000000";
/// More than the log has done with at once, after a snapshot of a busy server.
const KEPT: usize = 16;
/// With less room than this on the disk it gets the files back.
const ROOM_BYTES: u64 = 1 << 30;
/// How long they are: the last write to a file of the log goes beyond its size.
const BYTES: u64 = (super::super::log::FILE_MIB << 20) + (512 << 10);
/// So much is written, then synced, before the disk is left to others for a moment.
const PART_BYTES: u64 = 512 << 10;
const PAUSE: Duration = Duration::from_millis(5);
/// How far the thread stands back; on Linux this is of the calling thread alone.
const NICE: i32 = 10;

/// The spare files of one log.
#[derive(Debug, Default)]
pub(super) struct Spares {
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    ready: Vec<PathBuf>,
    short: Vec<PathBuf>,
    /// The thread runs.
    working: bool,
}

impl Spares {
    /// Takes in what a former process left.
    pub(super) fn find(&self, directory: &Path) {
        let Ok(found) = std::fs::read_dir(directory) else {
            return;
        };
        let is = |path: &Path, what| path.extension().is_some_and(|e| e == what);
        let mut files = self.lock();
        for path in found.filter_map(Result::ok).map(|entry| entry.path()) {
            if is(&path, SPARE) && files.count() < KEPT {
                files.short.push(path);
            } else if is(&path, SPARE) || is(&path, UNFINISHED) {
                // One too many is only a waste of room.
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    /// Keeps a file that the log has done with; `false` when it may as well be removed.
    pub(super) fn keep(self: &Arc<Self>, path: &Path) -> bool {
        let mut files = self.lock();
        if path.extension().is_none_or(|e| e != OF) || files.count() >= KEPT || !roomy(path) {
            return false;
        }
        let spare = path.with_extension(SPARE);
        let renamed = std::fs::rename(path, &spare).is_ok();
        if renamed {
            files.short.push(spare);
            self.work(path, &mut files);
        }
        renamed
    }

    /// Makes a spare file the one at `path`, which is yet to be; `None` when there is none.
    pub(super) fn take(self: &Arc<Self>, path: &Path) -> Option<File> {
        if path.extension().is_none_or(|e| e != OF) {
            return None;
        }
        let mut files = self.lock();
        let mut taken = None;
        while taken.is_none()
            && let Some(spare) = files.pop(path)
        {
            let opened = OpenOptions::new().read(true).write(true).open(&spare);
            taken = opened
                .ok()
                .filter(|_| std::fs::rename(&spare, path).is_ok());
            if taken.is_none() {
                // Whatever is wrong with it, a new file will do.
                let _ = std::fs::remove_file(&spare);
            }
        }
        self.work(path, &mut files);
        taken
    }

    /// Has the thread do what there is to do, for the log of which `path` is a file.
    fn work(self: &Arc<Self>, path: &Path, files: &mut Files) {
        let Some(directory) = path.parent().filter(|_| files.wanting() && !files.working) else {
            return;
        };
        let (spares, directory) = (self.clone(), directory.to_owned());
        let thread = std::thread::Builder::new().name("log-room".to_string());
        // Without it room is made by those who write.
        files.working = thread.spawn(move || spares.make(&directory)).is_ok();
    }

    /// Lengthens what is too short, and makes a new one when none is ready.
    fn make(&self, directory: &Path) {
        let _ = rustix::process::setpriority_process(None, NICE);
        loop {
            let mut files = self.lock();
            let short = files.short.pop();
            if short.is_none() && (!files.ready.is_empty() || !roomy(directory)) {
                files.working = false;
                return;
            }
            drop(files);
            let spare = short.unwrap_or_else(|| directory.join(NUMBERLESS).with_extension(SPARE));
            match lengthened(&spare) {
                Ok(()) => self.lock().ready.push(spare),
                Err(error) => {
                    tracing::debug!(error = %error, "room for the log cannot be made ahead");
                    let _ = std::fs::remove_file(&spare);
                    self.lock().working = false;
                    return;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn count(&self) -> usize {
        self.ready.len() + self.short.len()
    }

    fn wanting(&self) -> bool {
        self.ready.is_empty() || !self.short.is_empty()
    }

    /// One that may become the file at `path`.
    fn pop(&mut self, path: &Path) -> Option<PathBuf> {
        // Numbers have as many digits, so that they are in the order of their texts.
        let older = |spare: &mut PathBuf| spare.file_stem() < path.file_stem();
        self.ready
            .pop_if(older)
            .or_else(|| self.short.pop_if(older))
    }
}

fn roomy(path: &Path) -> bool {
    let directory = match path.is_dir() {
        true => path,
        false => path.parent().unwrap_or(path),
    };
    room(directory).is_ok_and(|free| free > ROOM_BYTES)
}

/// Makes the file, if it is not there, as long as the log needs it, with blocks of its own on the
/// disk. It has another name meanwhile: a log that is opened before this is over must not take it.
fn lengthened(spare: &Path) -> std::io::Result<()> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{number}", std::process::id());
    let unfinished = spare.with_file_name(name).with_extension(UNFINISHED);
    let mut options = OpenOptions::new();
    match std::fs::rename(spare, &unfinished) {
        Ok(()) => options.write(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => options.write(true).create_new(true),
        Err(e) => return Err(e),
    };
    let file = options.open(&unfinished)?;
    let mut length = file.metadata()?.len();
    let made = loop {
        if length >= BYTES {
            break Ok(());
        }
        let part = PART_BYTES.min(BYTES - length);
        if let Err(e) = write_zeros(&file, length, part).and_then(|()| file.sync_data()) {
            break Err(e);
        }
        length += part;
        std::thread::sleep(PAUSE);
    };
    let made = made.and_then(|()| std::fs::rename(&unfinished, spare));
    if made.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    made
}
