//! The watch of the nodes, and the changes of the machine's own network.

use super::PeersMessage;
use crate::services::Services;
use crate::watching::{self, Messages};
use kabuki_model::Resource;
use kabuki_model::request::ListRequest;
use ractor::ActorRef;
use std::sync::Arc;
use std::time::Duration;

/// What changes together is looked at together: a device that comes up makes several messages.
const SETTLE: Duration = Duration::from_millis(100);

/// Watches until the actor is gone.
pub(super) async fn run(services: Arc<Services>, peers: ActorRef<PeersMessage>) {
    let selection = ListRequest::all(Resource::NODES, None);
    let messages = Messages {
        listing: || PeersMessage::Listing,
        events: |events, handled| PeersMessage::Events { events, handled },
    };
    watching::run(services.api.clone(), selection, peers, messages).await;
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
    let mut restored = services.network.restored();
    loop {
        // A packet filter that was made anew knows no members.
        let more = tokio::select! {
            more = disturbances.next() => more,
            anew = restored.changed() => anew.is_ok(),
        };
        if !more {
            return;
        }
        tokio::time::sleep(SETTLE).await;
        if peers.cast(PeersMessage::Disturbed).is_err() {
            return;
        }
    }
}
