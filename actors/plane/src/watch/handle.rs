//! What everyone else holds of the `Watch` actor.

use super::actor::WatchMessage;
use super::hub::{SharedHistory, Subscriber};
use super::resuming::ResumingWatch;
use super::subscription::WatchSubscription;
use crate::raft::RaftHandle;
use kabuki_kit::{Slot, outbox};
use kabuki_model::StatusError;
use kabuki_model::request::ListRequest;
use kabuki_model::selector::Selection;
use kabuki_model::status::Reason;
use kabuki_model::view::View as _;
use kabuki_model::watch::{WatchRequest, WatchStart};
use kabuki_store::HistoryLimits;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a subscriber waits for a restart of the group.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(5);

/// The bounds of watching.
#[derive(Debug, Clone, Copy)]
pub struct WatchConfig {
    /// How much of each resource's past is held for subscribers that resume or lag.
    pub history: HistoryLimits,
    /// How many events wait for one subscriber.
    pub outbox_events: usize,
    /// How often it is asked which idle subscribers are to get the bookmarks that they want: those
    /// that are far behind at once, all others each few times.
    pub bookmark_interval: Duration,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            history: HistoryLimits::default(),
            outbox_events: 256,
            bookmark_interval: Duration::from_secs(10),
        }
    }
}

/// Subscribes to changes. Cheap to clone; outlives restarts of the actor.
#[derive(Clone)]
pub struct WatchHandle {
    slot: Slot<WatchMessage>,
    raft: RaftHandle,
    config: WatchConfig,
    history: SharedHistory,
    ids: Arc<AtomicU64>,
}

impl WatchHandle {
    pub(crate) fn new(raft: RaftHandle, config: WatchConfig) -> Self {
        let (slot, history) = (Slot::new("watch"), SharedHistory::new(config.history));
        Self {
            slot,
            raft,
            config,
            history,
            ids: Arc::default(),
        }
    }

    /// Begins a watch.
    ///
    /// # Errors
    /// `BadRequest` for a selection that cannot be; `Expired` for a revision that is too old,
    /// `Timeout` for one that is still to come; `ServiceUnavailable` while the state is not open.
    pub async fn subscribe(&self, request: WatchRequest) -> Result<WatchSubscription, StatusError> {
        let selection = compile(&request.selection)?;
        let snapshot = self.raft.snapshot();
        let (after, initial) = match request.start {
            WatchStart::List => (snapshot.revision(), Some(snapshot)),
            WatchStart::After(revision) if revision <= snapshot.revision() => (revision, None),
            WatchStart::After(revision) => {
                let message = format!(
                    "Too large resource version: {revision}, current: {}",
                    snapshot.revision()
                );
                return Err(StatusError::new(Reason::Timeout, message));
            }
        };
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = outbox(self.config.outbox_events);
        let subscriber = Subscriber {
            id,
            selection: selection.clone(),
            after,
            bookmarks: request.bookmarks,
            outbox: sender,
            lagging: false,
            marked: after,
        };
        // Made first: it unsubscribes when the call is cut off.
        let subscription =
            WatchSubscription::new(id, selection, after, initial, receiver, self.slot.clone());
        let subscriber = Box::new(subscriber);
        let subscribed = self.slot.call(
            |reply| WatchMessage::Subscribe { subscriber, reply },
            SUBSCRIBE_LIMIT,
        );
        subscribed
            .await
            .map_err(|e| StatusError::unavailable(e.to_string()))??;
        Ok(subscription)
    }

    /// Begins a watch that goes on by itself after a restart of the group: the same changes in
    /// the same order, none lost, none twice.
    pub async fn resuming(&self, request: WatchRequest) -> Result<ResumingWatch, StatusError> {
        ResumingWatch::begin(self.clone(), request).await
    }

    pub(crate) fn slot(&self) -> &Slot<WatchMessage> {
        &self.slot
    }

    pub(crate) fn history(&self) -> &SharedHistory {
        &self.history
    }

    pub(crate) fn config(&self) -> &WatchConfig {
        &self.config
    }
}

fn compile(request: &ListRequest) -> Result<Arc<Selection>, StatusError> {
    if request.limit != 0 || !request.continue_token.is_empty() {
        let message = "a watch has neither limit nor continue token";
        return Err(StatusError::bad_request(message));
    }
    Ok(Arc::new(Selection::compile(request)?))
}
