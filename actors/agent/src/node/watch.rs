//! Watches the node's own object, over the watch's ends and refusals. What comes first after each
//! beginning is the object as it is, so that nothing is missed that was written meanwhile.

use super::NodeMessage;
use crate::services::Services;
use kabuki_model::Resource;
use kabuki_model::request::ListRequest;
use kabuki_model::watch::{WatchEvent, WatchRequest, WatchStart};
use kabuki_protocol::Watch;
use ractor::ActorRef;
use std::sync::Arc;
use std::time::Duration;

/// A watch that ended or was refused is begun again after this time, later ones after longer.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Watches until the keeper is gone.
pub(super) async fn run(services: Arc<Services>, keeper: ActorRef<NodeMessage>) {
    let mut wait = RETRY_FIRST;
    loop {
        let mut selection = ListRequest::all(Resource::NODES, None);
        selection.fields = format!("metadata.name={}", services.config.node_name);
        let request = WatchRequest {
            selection,
            start: WatchStart::List,
            bookmarks: true,
        };
        match services.api.watch(request).await {
            Ok(watch) => {
                wait = RETRY_FIRST;
                if follow(watch, &keeper).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::debug!(%error, "the own node cannot be watched yet"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// The keeper is gone.
struct Gone;

async fn follow(mut watch: Watch, keeper: &ActorRef<NodeMessage>) -> Result<(), Gone> {
    let mut is_there = false;
    while let Some(event) = watch.next().await {
        let seen = match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                is_there = true;
                Some(object)
            }
            Ok(WatchEvent::Deleted(_)) => None,
            Ok(WatchEvent::Bookmark {
                initial_end: true, ..
            }) if !is_there => None,
            Ok(WatchEvent::Bookmark { .. }) => continue,
            Err(error) => {
                tracing::debug!(%error, "the watch of the own node ended");
                return Ok(());
            }
        };
        keeper.cast(NodeMessage::Seen(seen)).map_err(|_| Gone)?;
    }
    Ok(())
}
