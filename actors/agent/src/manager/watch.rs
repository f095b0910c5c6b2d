//! The watch of the node's pods.

use super::actor::ManagerMessage;
use crate::services::Services;
use crate::watching::{self, Messages};
use kabuki_model::Resource;
use kabuki_model::request::ListRequest;
use ractor::ActorRef;
use std::sync::Arc;

/// Watches until the manager is gone.
pub(super) async fn run(services: Arc<Services>, manager: ActorRef<ManagerMessage>) {
    let mut selection = ListRequest::all(Resource::PODS, None);
    selection.fields = format!("spec.nodeName={}", services.config.node_name);
    let messages = Messages {
        listing: || ManagerMessage::Listing,
        events: |events, handled| ManagerMessage::Events { events, handled },
    };
    watching::run(services.api.clone(), selection, manager, messages).await;
}
