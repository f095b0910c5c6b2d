//! Tells the watches what is committed, before whoever asked for it hears that it is.
//!
//! A change that is committed concerns two: its caller and the watches. The actor that wakes both at
//! once makes the runtime wake a second thread, which takes one of them, and which on a quiet node is
//! most of what an answer costs. So the actor wakes the caller alone, and that one wakes the watches,
//! first of all, where it has been waiting: see [`Answer`]. What nobody here waits for the actor
//! tells itself.

use super::error::RaftError;
use crate::watch::WatchMessage;
use kabuki_kit::Slot;
use kabuki_model::command::{Applied, Change};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of one incarnation of the actor.
pub(super) struct Herald {
    shared: Arc<Shared>,
}

struct Shared {
    watch: Slot<WatchMessage>,
    untold: Mutex<Untold>,
}

#[derive(Default)]
struct Untold {
    /// In the order of the log.
    changes: Vec<Vec<Change>>,
    /// The actor is gone: what it has not told is told again by the next, from the log.
    closed: bool,
}

/// What a proposal's caller gets. Taking it apart, or dropping it with a caller who no longer waits,
/// tells the watches.
pub(crate) struct Answer {
    outcome: Result<Applied, RaftError>,
    _tell: Option<Tell>,
}

/// Tells what is untold when it is dropped.
struct Tell(Arc<Shared>);

impl Herald {
    pub(super) fn new(watch: Slot<WatchMessage>) -> Self {
        Self {
            shared: Arc::new(Shared {
                watch,
                untold: Mutex::default(),
            }),
        }
    }

    /// The changes after this revision follow.
    pub(super) fn begin(&self, revision: u64) {
        self.shared.tell();
        // When it is down the whole group is: it will see the changes when they are replayed.
        let _ = self.shared.watch.cast(WatchMessage::Begin { revision });
    }

    /// These changes are committed. Somebody has to be given an answer, or to tell.
    pub(super) fn committed(&self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.shared.lock().changes.push(changes);
        }
    }

    /// For the caller of one of these changes.
    pub(super) fn answer(&self, applied: Applied) -> Answer {
        Answer {
            outcome: Ok(applied),
            _tell: Some(Tell(self.shared.clone())),
        }
    }

    /// Tells what no caller has told.
    pub(super) fn tell(&self) {
        self.shared.tell();
    }
}

impl Drop for Herald {
    fn drop(&mut self) {
        let mut untold = self.shared.lock();
        untold.closed = true;
        untold.changes.clear();
    }
}

impl Answer {
    /// Tells the watches; then the outcome.
    pub(super) fn outcome(self) -> Result<Applied, RaftError> {
        self.outcome
    }
}

impl From<RaftError> for Answer {
    fn from(error: RaftError) -> Self {
        Self {
            outcome: Err(error),
            _tell: None,
        }
    }
}

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.tell();
    }
}

impl Shared {
    fn tell(&self) {
        let mut untold = self.lock();
        if untold.closed {
            return;
        }
        // Under the lock, so that nothing that was committed later is told before.
        for changes in untold.changes.drain(..) {
            let _ = self.watch.cast(WatchMessage::Committed(changes));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
