//! The actor: turns messages into calls of the hub.

use super::hub::{Hub, SharedHistory, Subscriber};
use kabuki_model::StatusError;
use kabuki_model::command::Change;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::RactorMessage;
use std::time::Duration;

#[derive(RactorMessage)]
pub(crate) enum WatchMessage {
    /// The changes after this revision follow; what is before it may be known already.
    Begin { revision: u64 },
    /// These changes are durable and published.
    Committed(Vec<Change>),
    /// A new subscriber; the reply comes before its first event.
    Subscribe {
        subscriber: Box<Subscriber>,
        reply: RpcReplyPort<Result<(), StatusError>>,
    },
    /// A subscriber that lagged has read all that it had.
    Resynchronise { id: u64 },
    /// A subscriber has left.
    Unsubscribe { id: u64 },
    /// Time for bookmarks.
    Bookmarks,
}

pub(crate) struct Watch;

pub(crate) struct WatchArgs {
    pub(crate) history: SharedHistory,
    /// How often it is time for bookmarks.
    pub(crate) bookmark_interval: Duration,
}

impl Actor for Watch {
    type Msg = WatchMessage;
    type State = Hub;
    type Arguments = WatchArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<WatchMessage>,
        args: WatchArgs,
    ) -> Result<Hub, ActorProcessingErr> {
        myself.send_interval(args.bookmark_interval, || WatchMessage::Bookmarks);
        Ok(Hub::new(args.history))
    }

    async fn handle(
        &self,
        _myself: ActorRef<WatchMessage>,
        message: WatchMessage,
        hub: &mut Hub,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            WatchMessage::Begin { revision } => hub.begin(revision),
            WatchMessage::Committed(changes) => hub.committed(&changes),
            WatchMessage::Subscribe { subscriber, reply } => {
                let _ = reply.send(hub.subscribe(*subscriber));
            }
            WatchMessage::Resynchronise { id } => hub.resynchronise(id),
            WatchMessage::Unsubscribe { id } => hub.unsubscribe(id),
            WatchMessage::Bookmarks => hub.bookmarks(),
        }
        Ok(())
    }
}
