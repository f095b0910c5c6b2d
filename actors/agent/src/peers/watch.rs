//! Reads the watch of the nodes, over its ends and refusals, and waits for changes of the
//! machine's own network.

use super::PeersMessage;
use crate::services::Services;
use kabuki_model::Resource;
use kabuki_model::request::ListRequest;
use kabuki_model::status::Reason;
use kabuki_model::watch::{WatchEvent, WatchRequest, WatchStart};
use kabuki_protocol::Watch;
use ractor::ActorRef;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Events that are handed over at once.
const BATCH: usize = 64;
/// A refused watch is tried again after this time, later ones after longer.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// What changes together is looked at together: a device that comes up makes several messages.
const SETTLE: Duration = Duration::from_millis(100);

/// Watches until the actor is gone.
pub(super) async fn run(services: Arc<Services>, peers: ActorRef<PeersMessage>) {
    let mut start = WatchStart::List;
    let mut wait = RETRY_FIRST;
    loop {
        let request = WatchRequest {
            selection: ListRequest::all(Resource::NODES, None),
            start,
            bookmarks: true,
        };
        match services.api.watch(request).await {
            Ok(watch) => {
                wait = RETRY_FIRST;
                if start == WatchStart::List && peers.cast(PeersMessage::Listing).is_err() {
                    return;
                }
                match follow(watch, &peers, start).await {
                    Some(next) => start = next,
                    None => return,
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the nodes cannot be watched yet");
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
async fn follow(
    mut watch: Watch,
    peers: &ActorRef<PeersMessage>,
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
        peers.cast(PeersMessage::Events { events, handled }).ok()?;
        wait.await.ok()?;
        if let Some(error) = refused {
            tracing::debug!(%error, "the watch of the nodes ended");
            return Some(match error.reason {
                Reason::Expired => WatchStart::List,
                _ => next,
            });
        }
    }
}

fn ends_list(event: &WatchEvent) -> bool {
    matches!(
        event,
        WatchEvent::Bookmark {
            initial_end: true,
            ..
        }
    )
}

/// Tells of every change of the machine's network that may concern peers.
pub(super) async fn disturbances(services: Arc<Services>, peers: ActorRef<PeersMessage>) {
    let mut disturbances = match services.network.disturbances() {
        Ok(disturbances) => disturbances,
        Err(error) => {
            tracing::warn!(%error, "changes of the machine's network will go unnoticed");
            return;
        }
    };
    while disturbances.next().await {
        tokio::time::sleep(SETTLE).await;
        if peers.cast(PeersMessage::Disturbed).is_err() {
            return;
        }
    }
}
