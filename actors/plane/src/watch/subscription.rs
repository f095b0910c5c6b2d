//! The subscriber's end: first the snapshot, piece by piece, then what the hub sends.

use super::actor::WatchMessage;
use super::hub::Sent;
use super::placement::selected_node;
use kabuki_kit::{Delivery, OutboxReceiver, Slot};
use kabuki_model::selector::Selection;
use kabuki_model::view::{Index, View as _};
use kabuki_model::watch::WatchEvent;
use kabuki_model::{ObjectKey, StatusError, Stored};
use kabuki_store::Snapshot;
use std::collections::VecDeque;
use std::sync::Arc;

/// Objects looked at between two chances for other tasks to run: about 100 us of work.
const LOOKED_AT_ONCE: usize = 500;

/// A running watch. Dropping it ends it.
pub struct WatchSubscription {
    id: u64,
    initial: Option<Initial>,
    outbox: OutboxReceiver<Sent>,
    slot: Slot<WatchMessage>,
    /// Everything up to here was delivered.
    revision: u64,
    ended: Option<StatusError>,
}

/// The rest of the initial list.
struct Initial {
    snapshot: Snapshot,
    selection: Arc<Selection>,
    after: Option<ObjectKey>,
    found: VecDeque<Arc<Stored>>,
    /// Everything that is selected is in `found`.
    complete: bool,
}

impl WatchSubscription {
    pub(super) fn new(
        id: u64,
        selection: Arc<Selection>,
        after: u64,
        initial: Option<Snapshot>,
        outbox: OutboxReceiver<Sent>,
        slot: Slot<WatchMessage>,
    ) -> Self {
        let initial = initial.map(|snapshot| Initial {
            snapshot,
            selection,
            after: None,
            found: VecDeque::new(),
            complete: false,
        });
        Self {
            id,
            initial,
            outbox,
            slot,
            revision: after,
            ended: None,
        }
    }

    /// The next event. Cancel-safe. After an error there are no more: the same error again.
    ///
    /// # Errors
    /// `Expired` when the subscriber was slower than the history is long: list again.
    /// `ServiceUnavailable` when the watch was interrupted: subscribe after
    /// [`revision`](Self::revision).
    pub async fn next(&mut self) -> Result<WatchEvent, StatusError> {
        while self.initial.as_ref().is_some_and(Initial::must_look) {
            self.look();
            tokio::task::yield_now().await;
        }
        if let Some(event) = self.initial_event() {
            return Ok(event);
        }
        loop {
            if let Some(error) = &self.ended {
                return Err(error.clone());
            }
            let delivery = self.outbox.recv().await;
            if let Some(outcome) = self.delivered(delivery) {
                return outcome;
            }
        }
    }

    /// The next event, if it is there: for batching.
    pub fn try_next(&mut self) -> Option<Result<WatchEvent, StatusError>> {
        if self.initial.as_ref().is_some_and(Initial::must_look) {
            self.look();
        }
        if self.initial.is_some() {
            return self.initial_event().map(Ok);
        }
        loop {
            if let Some(error) = &self.ended {
                return Some(Err(error.clone()));
            }
            let delivery = self.outbox.try_recv()?;
            if let Some(outcome) = self.delivered(Some(delivery)) {
                return Some(outcome);
            }
        }
    }

    /// Where to go on after an interruption. During the initial list: its revision, of which not
    /// all was delivered.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What is left of the initial list survives the hub, because it needs only the snapshot.
    pub(super) fn take_over_initial(&mut self, from: &mut Self) {
        self.initial = from.initial.take();
    }

    fn look(&mut self) {
        if let Some(initial) = &mut self.initial {
            initial.look();
        }
    }

    /// `None` when the list is over, or has to be looked for.
    fn initial_event(&mut self) -> Option<WatchEvent> {
        let initial = self.initial.as_mut()?;
        if let Some(object) = initial.found.pop_front() {
            return Some(WatchEvent::Added(object));
        }
        if !initial.complete {
            return None;
        }
        self.initial = None;
        Some(WatchEvent::Bookmark {
            revision: self.revision,
            initial_end: true,
        })
    }

    /// `None` when it is nothing for the caller.
    fn delivered(&mut self, delivery: Option<Delivery<Sent>>) -> Option<Sent> {
        match delivery {
            Some(Delivery::Item(Ok(event))) => {
                self.revision = self.revision.max(event.revision());
                return Some(Ok(event));
            }
            Some(Delivery::Item(Err(error))) => self.ended = Some(error),
            Some(Delivery::Lagged) => {
                self.outbox.resume();
                let again = WatchMessage::Resynchronise { id: self.id };
                if self.slot.cast(again).is_err() {
                    self.ended = Some(interrupted());
                }
            }
            None => self.ended = Some(interrupted()),
        }
        None
    }
}

impl Drop for WatchSubscription {
    fn drop(&mut self) {
        // A hub that is down has forgotten it already.
        let _ = self.slot.cast(WatchMessage::Unsubscribe { id: self.id });
    }
}

impl Initial {
    fn must_look(&self) -> bool {
        self.found.is_empty() && !self.complete
    }

    /// Looks at a part of the snapshot.
    fn look(&mut self) {
        let selection = &self.selection;
        if let Some(node) = selected_node(selection) {
            // One node's pods are few.
            let pods = self.snapshot.indexed(Index::Node, node);
            self.found
                .extend(pods.filter(|o| selection.matches(o)).cloned());
            self.complete = true;
            return;
        }
        let (resource, namespace) = (selection.resource(), selection.namespace());
        let mut rest = self.snapshot.scan(resource, namespace, self.after.as_ref());
        let mut last = None;
        for object in rest.by_ref().take(LOOKED_AT_ONCE) {
            last = Some(object);
            if selection.matches(object) {
                self.found.push_back(object.clone());
            }
        }
        self.complete = rest.next().is_none();
        let last = last.map(|o| o.key.clone());
        drop(rest);
        self.after = last;
    }
}

fn interrupted() -> StatusError {
    StatusError::unavailable("the watch was interrupted: resume after the last revision")
}

impl std::fmt::Debug for WatchSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "watch {} at revision {}", self.id, self.revision)
    }
}
