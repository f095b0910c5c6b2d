//! The hub: the subscribers and the history, and what a change means to each.

use super::placement::Placement;
use kabuki_kit::{OutboxSender, Pushed};
use kabuki_model::command::Change;
use kabuki_model::selector::Selection;
use kabuki_model::watch::WatchEvent;
use kabuki_model::{Resource, StatusError};
use kabuki_store::{Expired, History, HistoryLimits, event_of};
use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The history outlives the actor. That is sound: it holds what was committed, and nothing that
/// was committed is ever taken back.
#[derive(Debug, Clone)]
pub(crate) struct SharedHistory {
    limits: HistoryLimits,
    inner: Arc<Mutex<Option<History>>>,
    /// Told when it has grown.
    grown: Arc<Notify>,
}

impl SharedHistory {
    pub(crate) fn new(limits: HistoryLimits) -> Self {
        Self {
            limits,
            inner: Arc::default(),
            grown: Arc::default(),
        }
    }

    /// The changes of a resource after a revision, as soon as everything up to `until` is known:
    /// the history follows the state within a message.
    pub(crate) async fn since(
        &self,
        resource: &Resource,
        after: u64,
        until: u64,
    ) -> Result<Vec<Change>, Expired> {
        loop {
            let mut grown = pin!(self.grown.notified());
            grown.as_mut().enable();
            if let Some(changes) = self.known(resource, after, until) {
                return changes;
            }
            grown.await;
        }
    }

    fn known(
        &self,
        resource: &Resource,
        after: u64,
        until: u64,
    ) -> Option<Result<Vec<Change>, Expired>> {
        let history = self.lock();
        let history = history.as_ref().filter(|h| h.revision() >= until)?;
        let changes = history.since(resource, after);
        Some(changes.map(|changes| changes.cloned().collect()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<History>> {
        self.inner
            .lock()
            .unwrap_or_else(|poisoned: PoisonError<_>| {
                // Whoever panicked may have left it half changed: begin a new one.
                let mut history = poisoned.into_inner();
                *history = None;
                self.inner.clear_poison();
                history
            })
    }
}

/// What a subscriber is sent: events, or the reason why there will be no more.
pub(crate) type Sent = Result<WatchEvent, StatusError>;

/// One subscription, as the hub knows it.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) id: u64,
    pub(crate) selection: Arc<Selection>,
    /// What the subscriber knows already: nothing up to this revision is sent.
    pub(crate) after: u64,
    pub(crate) bookmarks: bool,
    pub(crate) outbox: OutboxSender<Sent>,
    /// Its outbox was full: it gets nothing until it asks.
    pub(crate) lagging: bool,
    /// The revision of the last bookmark.
    pub(crate) marked: u64,
}

/// A bookmark is due at once for who knows less than this many revisions ago: what it could go on
/// from may soon be forgotten.
const FAR: u64 = 1024;
/// For all others it is due each so many times, about every minute: a cluster in which nothing
/// happens but nodes that renew their leases must not wake every watcher each time.
const RARELY: u32 = 6;

#[derive(Debug)]
pub(crate) struct Hub {
    history: SharedHistory,
    subscribers: HashMap<u64, Subscriber>,
    placement: Placement,
    candidates: Vec<u64>,
    /// How often it was time for bookmarks.
    rounds: u32,
}

/// What became of a subscriber.
#[derive(PartialEq, Eq)]
enum Fate {
    Stays,
    Left,
}

impl Hub {
    pub(crate) fn new(history: SharedHistory) -> Self {
        let (subscribers, placement, candidates, rounds) = Default::default();
        Self {
            history,
            subscribers,
            placement,
            candidates,
            rounds,
        }
    }

    /// The changes after `revision` follow. What the history holds beyond it stays true.
    pub(crate) fn begin(&mut self, revision: u64) {
        let limits = self.history.limits;
        let mut history = self.history.lock();
        if history.as_ref().is_none_or(|h| h.revision() < revision) {
            *history = Some(History::new(limits, revision));
        }
        self.history.grown.notify_waiters();
    }

    pub(crate) fn committed(&mut self, changes: &[Change]) {
        let Some(first) = changes.first() else { return };
        let shared = self.history.clone();
        let mut history = shared.lock();
        let limits = self.history.limits;
        let history = history.get_or_insert_with(|| History::new(limits, first.revision() - 1));
        let mut left = Vec::new();
        for change in changes {
            // After a restart the log is replayed: what is known was sent.
            if !history.push(change) {
                continue;
            }
            self.placement.candidates(change, &mut self.candidates);
            for id in &self.candidates {
                let Some(subscriber) = self.subscribers.get_mut(id) else {
                    continue;
                };
                if !subscriber.lagging && subscriber.offer(change) == Fate::Left {
                    left.push(*id);
                }
            }
        }
        left.into_iter().for_each(|id| self.unsubscribe(id));
        shared.grown.notify_waiters();
    }

    /// Adds a subscriber, with the changes since the revision that it knows.
    pub(crate) fn subscribe(&mut self, mut subscriber: Subscriber) -> Result<(), StatusError> {
        let shared = self.history.clone();
        let history = shared.lock();
        let Some(history) = history.as_ref() else {
            return Err(StatusError::unavailable("the state is not open yet"));
        };
        subscriber.catch_up(history)?;
        self.placement.add(subscriber.id, &subscriber.selection);
        self.subscribers.insert(subscriber.id, subscriber);
        Ok(())
    }

    pub(crate) fn resynchronise(&mut self, id: u64) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else {
            return;
        };
        let shared = self.history.clone();
        let history = shared.lock();
        let Some(history) = history.as_ref() else {
            return;
        };
        if let Err(expired) = subscriber.catch_up(history) {
            let _ = subscriber.outbox.push(Err(expired));
            self.unsubscribe(id);
        }
    }

    pub(crate) fn unsubscribe(&mut self, id: u64) {
        if let Some(subscriber) = self.subscribers.remove(&id) {
            self.placement.remove(id, &subscriber.selection);
        }
    }

    /// Tells those that asked for it how far they have come.
    pub(crate) fn bookmarks(&mut self) {
        self.rounds = self.rounds.wrapping_add(1);
        let behind = if self.rounds.is_multiple_of(RARELY) {
            1
        } else {
            FAR
        };
        let revision = self.history.lock().as_ref().map_or(0, History::revision);
        let mut left = Vec::new();
        for subscriber in self.subscribers.values_mut() {
            // A waiting event will say more than a bookmark.
            let idle = !subscriber.lagging && subscriber.outbox.is_empty();
            if subscriber.outbox.is_closed() {
                left.push(subscriber.id);
            } else if subscriber.bookmarks
                && idle
                && revision >= subscriber.marked.max(subscriber.after) + behind
            {
                subscriber.marked = revision;
                let bookmark = WatchEvent::Bookmark {
                    revision,
                    initial_end: false,
                };
                subscriber.send(revision, bookmark);
            }
        }
        left.into_iter().for_each(|id| self.unsubscribe(id));
    }

    #[cfg(test)]
    pub(super) fn subscribers(&self) -> usize {
        self.subscribers.len()
    }
}

impl Subscriber {
    /// Sends what it has not seen; goes on lagging when that is more than its outbox holds.
    fn catch_up(&mut self, history: &History) -> Result<(), StatusError> {
        self.lagging = false;
        let missed = history.since(self.selection.resource(), self.after);
        for change in missed.map_err(|e| StatusError::expired(e.to_string()))? {
            if self.offer(change) == Fate::Left || self.lagging {
                break;
            }
        }
        Ok(())
    }

    fn offer(&mut self, change: &Change) -> Fate {
        let revision = change.revision();
        if revision <= self.after {
            return Fate::Stays;
        }
        match event_of(change, &|object| self.selection.matches(object)) {
            Some(event) => self.send(revision, event),
            None => Fate::Stays,
        }
    }

    fn send(&mut self, revision: u64, event: WatchEvent) -> Fate {
        match self.outbox.push(Ok(event)) {
            Pushed::Kept => Fate::Stays,
            Pushed::Lagging => {
                self.lagging = true;
                self.after = self.after.max(revision - 1);
                Fate::Stays
            }
            Pushed::Closed => Fate::Left,
        }
    }
}
