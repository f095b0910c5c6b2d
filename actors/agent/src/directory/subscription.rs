//! Which services changed since a subscriber last asked: each once, so that a slow subscriber
//! costs at most one key for each service.

use kabuki_model::service::{Known, ServiceKey};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What happened since the last batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Look at everything: the first batch. Then `keys` is empty.
    pub all: bool,
    /// What changed, in the order of the first change.
    pub keys: Vec<ServiceKey>,
    /// How much the directory knows.
    pub known: Known,
}

/// A subscriber's end. Dropping it ends the subscription.
pub(crate) struct Subscription {
    queue: Arc<Queue>,
}

/// The directory's end.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    bell: Notify,
}

#[derive(Default)]
struct Waiting {
    changes: Changes,
    listed: HashSet<ServiceKey>,
    any: bool,
}

impl Subscription {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }

    /// Waits for changes. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Changes {
        loop {
            if let Some(changes) = self.queue.take() {
                return changes;
            }
            self.queue.bell.notified().await;
        }
    }
}

impl Queue {
    pub fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            bell: Notify::new(),
        }
    }

    pub fn push_all(&self, known: Known) {
        let mut waiting = self.waiting();
        waiting.any = true;
        waiting.changes.all = true;
        waiting.changes.known = waiting.changes.known.max(known);
        waiting.changes.keys.clear();
        drop(waiting);
        self.bell.notify_one();
    }

    pub fn push(&self, changed: &[ServiceKey], known: Known) {
        let mut waiting = self.waiting();
        waiting.any = true;
        waiting.changes.known = known;
        if !waiting.changes.all {
            for key in changed {
                if waiting.listed.insert(key.clone()) {
                    waiting.changes.keys.push(key.clone());
                }
            }
        }
        drop(waiting);
        self.bell.notify_one();
    }

    fn take(&self) -> Option<Changes> {
        let mut waiting = self.waiting();
        if !waiting.any {
            return None;
        }
        waiting.any = false;
        waiting.listed = HashSet::new();
        let next = Changes {
            known: waiting.changes.known,
            ..Changes::default()
        };
        Some(std::mem::replace(&mut waiting.changes, next))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
