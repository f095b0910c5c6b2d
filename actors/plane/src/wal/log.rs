//! The log: raft-engine behind checks of its own. Lives on one thread: the engine's fetch and
//! purge must never run at the same time.

use super::Recovered;
use super::directory::{Directory, WalError, sync_parent};
use super::files::LogFiles;
use super::snapshots;
use super::watermark::Watermark;
use crate::raft::Start;
use crate::raft::core::{Append, Restart};
use kabuki_store::{Position, Snapshot, Store};
use raft::eraftpb::{ConfState, Entry, HardState};
use raft_engine::internals::FilePipeLog;
use raft_engine::{Command, Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

mod reading;

use reading::{Reading, check_watermark, explain};

/// raft-engine keeps many groups; this one is ours.
const GROUP: u64 = 1;
const HARD_STATE: &[u8] = b"hard-state";

/// Small files, so that what was compacted is soon removed: a node's log fits in a few of them.
pub(super) const FILE_MIB: u64 = 8;
/// From here on compacted files are removed.
const PURGE_MIB: u64 = 24;

/// The buffer of a larger batch is not kept for the next.
const KEPT_BATCH_BYTES: usize = 1 << 20;

struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

type LogEngine = Engine<LogFiles, FilePipeLog<LogFiles>>;

pub(crate) struct Log {
    engine: LogEngine,
    path: PathBuf,
    watermark: Watermark,
    /// Empty between two writes; kept for its memory.
    batch: LogBatch,
    /// The last entry of the log, or of the snapshot that it begins after.
    last: Position,
    directory: Directory,
}

impl Log {
    /// Opens the directory of server `id`. What an empty one becomes, `start` says.
    pub(crate) fn open(root: &Path, id: u64, start: Start) -> Result<(Self, Recovered), WalError> {
        let (directory, fresh) = Directory::open(root)?;
        match start {
            Start::Found if fresh => first_state(&directory, id, FOUNDING, &[id])?,
            Start::Join if fresh => first_state(&directory, id, Position::default(), &[])?,
            Start::Reopen if fresh => return Err(WalError::Empty { path: root.into() }),
            Start::Found | Start::Join | Start::Reopen => {}
        }
        snapshots::sweep(root)?;
        let watermark = Watermark::open(&directory.synced())?;
        let (snapshot, conf_state) = snapshots::load_newest(root)?;
        check_server(&directory, id, &conf_state)?;
        let path = directory.log();
        let files = LogFiles::default();
        let engine = open_engine(&path, &files)?;
        let read = Reading {
            engine: &engine,
            path: &path,
            snapshot: &snapshot,
        };
        let accepted = read.all().and_then(|read| {
            // Entries that a snapshot was to replace are not missed.
            if !read.replaced {
                check_watermark(&watermark, &snapshot, &read.entries, &path)?;
            }
            Ok(read)
        });
        let read = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                drop(engine);
                return Err(explain(error, &files, &path));
            }
        };
        files.accept(&path);
        // The names of new files are durable before anything in them is reported to be.
        sync_parent(&path)?;
        sync_parent(&path.join("files"))?;
        let mut log = Self {
            engine,
            path,
            watermark,
            batch: LogBatch::default(),
            last: read.entries.last().map_or(snapshot.position(), position),
            directory,
        };
        log.finish_restart(read.replaced, &read.hard_state)?;
        let recovered = Recovered {
            snapshot,
            conf_state,
            hard_state: read.hard_state,
            base: read.base,
            entries: read.entries,
        };
        Ok((log, recovered))
    }

    /// A crash may have come between another server's snapshot and the restart of the log.
    fn finish_restart(&mut self, replaced: bool, hard_state: &HardState) -> Result<(), WalError> {
        let held = self.engine.last_index(GROUP);
        if replaced || held.is_some_and(|held| held < self.last.index) {
            self.watermark.set(self.last)?;
            self.watermark.sync()?;
            self.clean(hard_state)?;
        }
        Ok(())
    }

    /// Writes everything, with one sync between two restarts. When it fails nothing counts as
    /// written, and the same appends can be tried again. To be followed by [`Log::mark`].
    pub(crate) fn append(&mut self, appends: &[Append]) -> Result<(), WalError> {
        let mut rest = appends;
        while !rest.is_empty() {
            if let Some(restart) = rest[0].restart.as_deref() {
                self.restart_after(restart)?;
            }
            let next = rest.iter().skip(1).position(|a| a.restart.is_some());
            let (now, later) = rest.split_at(next.map_or(rest.len(), |at| at + 1));
            self.write(now)?;
            rest = later;
        }
        Ok(())
    }

    fn write(&mut self, appends: &[Append]) -> Result<(), WalError> {
        // Taken out: after a failure a new one takes its place.
        let mut batch = std::mem::take(&mut self.batch);
        let mut last = self.last;
        let mut lowest = u64::MAX;
        for append in appends {
            if let Some(first) = append.entries.first() {
                // A gap would make the log unreadable for good.
                if first.index > last.index + 1 {
                    return Err(WalError::Gap {
                        index: first.index,
                        last: last.index,
                    });
                }
                lowest = lowest.min(first.index);
                let added = batch.add_entries::<Entries>(GROUP, &append.entries);
                added.map_err(|e| self.failed("append to", e))?;
                last = append.entries.last().map_or(last, position);
            }
            if let Some(hard_state) = &append.hard_state {
                let put = batch.put_message(GROUP, HARD_STATE.to_vec(), hard_state);
                put.map_err(|e| self.failed("append to", e))?;
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        if lowest <= self.watermark.at().index {
            // A new leader replaces entries that never were committed. The watermark must not
            // claim them when a crash comes between the two writes.
            self.watermark.set(Position {
                index: lowest - 1,
                term: 0,
            })?;
            self.watermark.sync()?;
        }
        let written = self.engine.write(&mut batch, true);
        let written = written.map_err(|e| self.failed("write to", e))?;
        self.last = last;
        if written <= KEPT_BATCH_BYTES {
            self.batch = batch;
        }
        Ok(())
    }

    /// Notes what was written, for the next start to know. Nobody has to wait for that.
    pub(crate) fn mark(&mut self) -> Result<(), WalError> {
        match self.watermark.at() == self.last {
            true => Ok(()),
            false => self.watermark.set(self.last),
        }
    }

    /// Entries from `low` to before `high`, at most about `max_bytes`.
    pub(crate) fn fetch(
        &self,
        low: u64,
        high: u64,
        max_bytes: u64,
    ) -> Result<Vec<Entry>, WalError> {
        let mut entries = Vec::new();
        let max = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        let fetched =
            self.engine
                .fetch_entries_to::<Entries>(GROUP, low, high, Some(max), &mut entries);
        fetched.map_err(|e| self.failed("read", e))?;
        Ok(entries)
    }

    /// Forgets the entries up to `index`.
    pub(crate) fn compact(&mut self, index: u64) -> Result<(), WalError> {
        self.engine.compact_to(GROUP, index + 1);
        self.engine
            .purge_expired_files()
            .map_err(|e| self.failed("purge", e))?;
        self.watermark.sync()
    }

    /// Begins anew after a snapshot of another server. Repeating it does no harm.
    fn restart_after(&mut self, restart: &Restart) -> Result<(), WalError> {
        let Restart {
            snapshot,
            conf_state,
            file,
        } = restart;
        let root = self.directory.root();
        match file {
            Some(file) => snapshots::adopt(root, file, snapshot, conf_state)?,
            None => drop(snapshots::save(root, snapshot, conf_state)?),
        }
        let at = snapshot.position();
        self.watermark.set(at)?;
        self.watermark.sync()?;
        let mut hard_state = match self.engine.get_message::<HardState>(GROUP, HARD_STATE) {
            Ok(found) => found.unwrap_or_default(),
            Err(e) => return Err(self.failed("read", e)),
        };
        hard_state.term = hard_state.term.max(at.term);
        hard_state.commit = at.index;
        self.clean(&hard_state)?;
        self.last = at;
        Ok(())
    }

    /// Forgets all entries.
    fn clean(&self, hard_state: &HardState) -> Result<(), WalError> {
        let mut batch = LogBatch::default();
        batch.add_command(GROUP, Command::Clean);
        let put = batch.put_message(GROUP, HARD_STATE.to_vec(), hard_state);
        put.map_err(|e| self.failed("reset", e))?;
        self.engine
            .write(&mut batch, true)
            .map_err(|e| self.failed("reset", e))?;
        Ok(())
    }

    fn failed(&self, what: &'static str, error: raft_engine::Error) -> WalError {
        log_error(what, &self.path, error)
    }
}

/// Where the state of a new cluster begins: as if entry 1 had been compacted, so that every other
/// server is given a snapshot, and the configuration with it, before anything else.
const FOUNDING: Position = Position { index: 1, term: 1 };

/// Makes the first files. FORMAT is the last: without it the directory counts as empty.
fn first_state(
    directory: &Directory,
    id: u64,
    at: Position,
    voters: &[u64],
) -> Result<(), WalError> {
    let mut store = Store::new();
    store.advance(at);
    write_first(directory, id, &store.snapshot(), voters)
}

/// Makes the first files of a directory that begins with a state.
pub(super) fn write_first(
    directory: &Directory,
    id: u64,
    snapshot: &Snapshot,
    voters: &[u64],
) -> Result<(), WalError> {
    let mut conf_state = ConfState::default();
    conf_state.set_voters(voters.to_vec());
    snapshots::save(directory.root(), snapshot, &conf_state)?;
    Watermark::create(&directory.synced(), snapshot.position())?;
    directory.set_server(id)?;
    directory.finish()
}

/// Two servers must never share a vote, so a directory is only for the one that it was made for.
fn check_server(directory: &Directory, id: u64, conf_state: &ConfState) -> Result<(), WalError> {
    let path = directory.root().to_owned();
    match directory.server()? {
        Some(found) if found == id => Ok(()),
        Some(found) => Err(WalError::OtherServer { path, found, id }),
        // Made by a program that knew no other servers.
        None => match conf_state.voters.first() {
            Some(found) if *found != id => Err(WalError::OtherServer {
                path,
                found: *found,
                id,
            }),
            _ => directory.set_server(id),
        },
    }
}

fn open_engine(path: &Path, files: &LogFiles) -> Result<LogEngine, WalError> {
    let config = Config {
        dir: path.display().to_string(),
        recovery_mode: RecoveryMode::TolerateTailCorruption,
        // In order, so that the place of a failure is known.
        recovery_threads: 1,
        // Costs more time than it saves on small objects, and this is the way of every write.
        batch_compression_threshold: ReadableSize(0),
        target_file_size: ReadableSize::mb(FILE_MIB),
        purge_threshold: ReadableSize::mb(PURGE_MIB),
        purge_rewrite_threshold: Some(ReadableSize::mb(FILE_MIB)),
        enable_log_recycle: false,
        ..Config::default()
    };
    // The engine panics on some kinds of damage.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        Engine::open_with_file_system(config, files.clone().into())
    }));
    let message = match opened {
        Ok(Ok(engine)) => return Ok(engine),
        Ok(Err(raft_engine::Error::Io(e))) if e.kind() != std::io::ErrorKind::UnexpectedEof => {
            return Err(WalError::io("open", path, e));
        }
        Ok(Err(e)) => e.to_string(),
        Err(panic) => panic_text(panic.as_ref()),
    };
    let (file, what) = match files.last_read() {
        Some((file, offset)) => (
            file,
            format!("damaged at or after byte {offset}: {message}"),
        ),
        None => (path.to_owned(), format!("damaged: {message}")),
    };
    Err(explain(WalError::damaged(&file, what), files, path))
}

fn log_error(what: &'static str, path: &Path, error: raft_engine::Error) -> WalError {
    match error {
        raft_engine::Error::Io(e) => WalError::io("write to the log in", path, e),
        other => WalError::Log {
            what,
            path: path.to_owned(),
            message: other.to_string(),
        },
    }
}

fn position(entry: &Entry) -> Position {
    Position {
        index: entry.index,
        term: entry.term,
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it is inconsistent").to_owned()
}
