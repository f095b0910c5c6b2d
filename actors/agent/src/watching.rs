//! Reads one watch of the API, over its ends and refusals, and hands its events to an actor.
//!
//! Every list begins with a message that says so. Events come in batches; the next batch waits
//! until the actor has dealt with the last, so a slow actor slows the watch and fills no memory.

use kabuki_model::request::ListRequest;
use kabuki_model::status::Reason;
use kabuki_model::watch::{WatchEvent, WatchRequest, WatchStart};
use kabuki_protocol::{ApiHandle, Watch};
use ractor::{ActorRef, Message};
use std::time::Duration;
use tokio::sync::oneshot;

/// Events that are handed over at once.
const BATCH: usize = 64;
/// A refused watch is tried again after this time, later ones after longer.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What the actor is sent.
pub(crate) struct Messages<M> {
    /// A list begins.
    pub listing: fn() -> M,
    /// Events, and where to say that they have been dealt with.
    pub events: fn(Vec<WatchEvent>, oneshot::Sender<()>) -> M,
}

/// Watches `selection` until the actor is gone.
pub(crate) async fn run<M: Message>(
    api: ApiHandle,
    selection: ListRequest,
    actor: ActorRef<M>,
    messages: Messages<M>,
) {
    let mut start = WatchStart::List;
    let mut wait = RETRY_FIRST;
    loop {
        let request = WatchRequest {
            selection: selection.clone(),
            start,
            bookmarks: true,
        };
        match api.watch(request).await {
            Ok(watch) => {
                wait = RETRY_FIRST;
                if start == WatchStart::List && actor.cast((messages.listing)()).is_err() {
                    return;
                }
                match follow(watch, &actor, &messages, start).await {
                    Some(next) => start = next,
                    None => return,
                }
            }
            Err(error) => {
                tracing::debug!(%error, watch.resource = %selection.resource, "cannot watch yet");
                if error.reason == Reason::Expired {
                    start = WatchStart::List;
                }
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// Hands events over until the watch ends; then where to go on, or `None` without the actor.
async fn follow<M: Message>(
    mut watch: Watch,
    actor: &ActorRef<M>,
    messages: &Messages<M>,
    start: WatchStart,
) -> Option<WatchStart> {
    let mut next = start;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if watch.next_many(&mut batch, BATCH).await == 0 {
            return Some(next);
        }
        let mut events = Vec::with_capacity(batch.len());
        let mut refused = None;
        for item in batch.drain(..) {
            match item {
                Ok(event) => events.push(event),
                Err(error) => refused = Some(error),
            }
        }
        // Only a complete list is a place to go on from.
        if next != WatchStart::List || events.iter().any(ends_list) {
            let last = events.last().map(WatchEvent::revision);
            next = last.map_or(next, WatchStart::After);
        }
        let (handled, wait) = oneshot::channel();
        actor.cast((messages.events)(events, handled)).ok()?;
        wait.await.ok()?;
        if let Some(error) = refused {
            tracing::debug!(%error, "a watch ended");
            return Some(match error.reason {
                Reason::Expired => WatchStart::List,
                _ => next,
            });
        }
    }
}

/// Whether the event says that the list is complete.
pub(crate) fn ends_list(event: &WatchEvent) -> bool {
    matches!(
        event,
        WatchEvent::Bookmark {
            initial_end: true,
            ..
        }
    )
}
