//! For tests: an actor that shows what it is told.

use super::message::RaftMessage;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc;

struct Ears;

impl Actor for Ears {
    type Msg = RaftMessage;
    type State = mpsc::UnboundedSender<RaftMessage>;
    type Arguments = mpsc::UnboundedSender<RaftMessage>;

    async fn pre_start(
        &self,
        _myself: ActorRef<RaftMessage>,
        told: mpsc::UnboundedSender<RaftMessage>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(told)
    }

    async fn handle(
        &self,
        _myself: ActorRef<RaftMessage>,
        message: RaftMessage,
        told: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        Ok(told.send(message)?)
    }
}

/// The actor, and what it is told.
pub(super) async fn ears() -> (ActorRef<RaftMessage>, mpsc::UnboundedReceiver<RaftMessage>) {
    let (told, heard) = mpsc::unbounded_channel();
    let (actor, _) = Actor::spawn(None, Ears, told).await.expect("starts");
    (actor, heard)
}
