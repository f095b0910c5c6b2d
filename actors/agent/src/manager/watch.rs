//! Reads the watch of the node's pods, over its ends and refusals.

use super::actor::ManagerMessage;
use crate::services::Services;
use kabuki_model::Resource;
use kabuki_model::request::ListRequest;
use kabuki_model::status::Reason;
use kabuki_model::watch::{WatchRequest, WatchStart};
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

/// Watches until the manager is gone.
pub(super) async fn run(services: Arc<Services>, manager: ActorRef<ManagerMessage>) {
    let mut start = WatchStart::List;
    let mut wait = RETRY_FIRST;
    loop {
        let mut selection = ListRequest::all(Resource::PODS, None);
        selection.fields = format!("spec.nodeName={}", services.config.node_name);
        let request = WatchRequest {
            selection,
            start,
            bookmarks: true,
        };
        match services.api.watch(request).await {
            Ok(watch) => {
                wait = RETRY_FIRST;
                if start == WatchStart::List && manager.cast(ManagerMessage::Listing).is_err() {
                    return;
                }
                match follow(watch, &manager, start).await {
                    Some(next) => start = next,
                    None => return,
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the pods cannot be watched yet");
                if error.reason == Reason::Expired {
                    start = WatchStart::List;
                }
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// Hands events over until the watch ends; then where to go on, or `None` without a manager.
async fn follow(
    mut watch: Watch,
    manager: &ActorRef<ManagerMessage>,
    start: WatchStart,
) -> Option<WatchStart> {
    let mut next = start;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        batch.clear();
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
        let complete = next != WatchStart::List
            || events.iter().any(|e| {
                matches!(
                    e,
                    kabuki_model::watch::WatchEvent::Bookmark {
                        initial_end: true,
                        ..
                    }
                )
            });
        if complete && let Some(last) = events.last() {
            next = WatchStart::After(last.revision());
        }
        let (handled, wait) = oneshot::channel();
        if manager
            .cast(ManagerMessage::Events { events, handled })
            .is_err()
        {
            return None;
        }
        wait.await.ok()?;
        if let Some(error) = refused {
            tracing::debug!(%error, "the watch of the pods ended");
            return Some(if error.reason == Reason::Expired {
                WatchStart::List
            } else {
                next
            });
        }
    }
}
