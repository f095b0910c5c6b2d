//! What the `Raft` actor holds of the Wal: a queue that the log's thread empties with one sync,
//! and jobs for the two threads. Outcomes come back as [`WalReport`]s.

use super::directory::{WalError, room};
use super::log::Log;
use super::snapshots::{self, Saved};
use crate::raft::core::{Append, Fetch};
use kabuki_kit::{Worker, WorkerError};
use kabuki_store::Snapshot;
use raft::eraftpb::{ConfState, Entry, Message};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What became of something that the writer was asked to do.
#[derive(Debug)]
pub(crate) enum WalReport {
    /// Every append up to this number is on disk: these messages may go.
    Persisted(u64, Vec<Message>),
    /// The appends wait, because the disk is full: [`WalWriter::retry`] later.
    NoSpace,
    /// A snapshot is on disk. The log is needed back to (not including) `keep_after`.
    SnapshotSaved { saved: Saved, keep_after: u64 },
    /// A snapshot could not be written; the log just grows longer.
    SnapshotFailed(String),
    /// Entries that were asked for, with the ticket of the question.
    Fetched(u64, Vec<Entry>),
    /// The log is compacted.
    Compacted,
    /// Another server's state was read from the file that it arrived in, or cannot be.
    SnapshotRead(Box<Message>, PathBuf, Result<Snapshot, String>),
    /// The log can no longer be trusted to hold what it is given.
    Failed(String),
}

pub(crate) type Report = Arc<dyn Fn(WalReport) + Send + Sync>;

/// Cheap to clone; the threads end when all clones are gone.
#[derive(Clone)]
pub(crate) struct WalWriter {
    pub(super) root: PathBuf,
    pub(super) log: Arc<Worker<Log>>,
    pub(super) snapshots: Arc<Worker<()>>,
    pub(super) waiting: Arc<Waiting>,
}

/// The appends that no sync has begun for.
#[derive(Default)]
pub(super) struct Waiting {
    appends: Mutex<Vec<Append>>,
    /// A job that will take them is queued.
    scheduled: AtomicBool,
}

impl WalWriter {
    /// Hands over an append. It is persisted together with all others that wait by then.
    pub(crate) fn append(&self, append: Append, report: &Report) {
        self.waiting.lock().push(append);
        if self.schedule(report) {
            // Should there be no other processor for the log's thread, it goes first: what this one
            // still has to do can be done while the disk writes.
            std::thread::yield_now();
        }
    }

    /// Tries again what waits.
    pub(crate) fn retry(&self, report: &Report) {
        self.schedule(report);
    }

    /// Has the log's thread take what waits; `false` when it is going to anyway.
    fn schedule(&self, report: &Report) -> bool {
        if self.waiting.scheduled.swap(true, Ordering::AcqRel) {
            return false;
        }
        let (waiting, persisted) = (self.waiting.clone(), report.clone());
        let job = move |log: &mut Log| {
            if let Some((number, messages)) = flush(&waiting, log)? {
                persisted(WalReport::Persisted(number, messages));
                log.mark()?;
            }
            Ok(())
        };
        self.start_log(job, report.clone(), |()| None);
        true
    }

    /// Writes a snapshot in the background, from the persistent map: writes go on meanwhile.
    pub(crate) fn save_snapshot(&self, snapshot: Snapshot, conf: ConfState, report: &Report) {
        let (root, report) = (self.root.clone(), report.clone());
        let failed = report.clone();
        let job = move |_: &mut ()| {
            let saved = snapshots::save(&root, &snapshot, &conf)?;
            let keep_after = snapshots::prune(&root)?;
            Ok::<_, WalError>(WalReport::SnapshotSaved { saved, keep_after })
        };
        let started = self.snapshots.start(job, move |outcome| {
            report(match outcome {
                Ok(Ok(saved)) => saved,
                Ok(Err(e)) => WalReport::SnapshotFailed(describe(&e)),
                Err(e) => WalReport::SnapshotFailed(e.to_string()),
            });
        });
        if let Err(e) = started {
            failed(WalReport::SnapshotFailed(e.to_string()));
        }
    }

    /// Forgets the log up to `index`.
    pub(crate) fn compact(&self, index: u64, report: &Report) {
        let job = move |log: &mut Log| log.compact(index).map(|()| WalReport::Compacted);
        self.start_log(job, report.clone(), Some);
    }

    /// Reads entries that are no longer in memory.
    pub(crate) fn fetch(&self, fetch: Fetch, report: &Report) {
        let Fetch {
            ticket,
            low,
            high,
            max_bytes,
        } = fetch;
        let job = move |log: &mut Log| log.fetch(low, high, max_bytes);
        self.start_log(job, report.clone(), move |entries| {
            Some(WalReport::Fetched(ticket, entries))
        });
    }

    /// Reads the state that another server sent with `message`, and makes its file durable.
    pub(crate) fn read_snapshot(&self, message: Box<Message>, path: PathBuf, report: &Report) {
        let report = report.clone();
        let (kept, failed) = ((message.clone(), path.clone()), report.clone());
        let job = move |_: &mut ()| {
            let read = snapshots::read_received(&path, &message);
            WalReport::SnapshotRead(message, path, read.map_err(|e| describe(&e)))
        };
        let refused = |(message, path), text| WalReport::SnapshotRead(message, path, Err(text));
        let again = kept.clone();
        let started = self.snapshots.start(job, move |outcome| {
            report(outcome.unwrap_or_else(|e| refused(kept, e.to_string())));
        });
        if let Err(e) = started {
            failed(refused(again, e.to_string()));
        }
    }

    /// The snapshot file of the state up to `index`, and its size.
    pub(crate) fn open_snapshot(&self, index: u64) -> Result<(File, u64), WalError> {
        let path = snapshots::path(&self.root, index);
        open_with_size(&path).map_err(|e| WalError::io("open", &path, e))
    }

    /// Bytes that may still be written.
    pub(crate) fn room(&self) -> Result<u64, WalError> {
        room(&self.root)
    }

    fn start_log<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Log) -> Result<R, WalError> + Send + 'static,
        report: Report,
        done: impl FnOnce(R) -> Option<WalReport> + Send + 'static,
    ) {
        let failed = report.clone();
        let started = self.log.start(job, move |outcome| match outcome {
            Ok(Ok(result)) => {
                if let Some(outcome) = done(result) {
                    report(outcome);
                }
            }
            Ok(Err(WalError::NoSpace { .. })) => report(WalReport::NoSpace),
            Ok(Err(e)) => report(WalReport::Failed(describe(&e))),
            Err(e) => report(WalReport::Failed(e.to_string())),
        });
        if let Err(e @ (WorkerError::Busy(_) | WorkerError::Ended(_))) = started {
            failed(WalReport::Failed(e.to_string()));
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Vec<Append>> {
        self.appends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_with_size(path: &Path) -> std::io::Result<(File, u64)> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// Persists all that waits; the number of the last and the messages of all, or `None` when nothing
/// waited.
fn flush(waiting: &Waiting, log: &mut Log) -> Result<Option<(u64, Vec<Message>)>, WalError> {
    // Cleared first: an append that comes from here on gets a job of its own.
    waiting.scheduled.store(false, Ordering::Release);
    let appends = std::mem::take(&mut *waiting.lock());
    let Some(last) = appends.last().map(|a| a.number) else {
        return Ok(None);
    };
    if let Err(e) = log.append(&appends) {
        let mut present = waiting.lock();
        let later = std::mem::replace(&mut *present, appends);
        present.extend(later);
        return Err(e);
    }
    let messages = appends.into_iter().flat_map(|a| a.messages);
    Ok(Some((last, messages.collect())))
}

/// The error with what caused it.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
