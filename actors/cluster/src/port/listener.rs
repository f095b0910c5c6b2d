//! Accepts connections.

use super::{Inner, enter};
use crate::recent::Recent;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How many handshakes may be under way; they end with the accept loop.
const MAX_HANDSHAKES: usize = 1024;
/// How long to wait when the system has no descriptor or memory left.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);

/// Messages of the listener.
#[derive(RactorMessage)]
pub enum ListenerMessage {
    /// The accept loop has ended; it never should.
    Ended(String),
}

pub(super) struct Listener;

/// Ends the accept loop with the actor.
pub(super) struct Accepting(JoinHandle<()>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Actor for Listener {
    type Msg = ListenerMessage;
    type State = Accepting;
    type Arguments = Arc<Inner>;

    async fn pre_start(
        &self,
        myself: ActorRef<ListenerMessage>,
        port: Arc<Inner>,
    ) -> Result<Accepting, ActorProcessingErr> {
        let accepting = tokio::spawn(async move {
            let why = accept(port).await;
            let _ = myself.cast(ListenerMessage::Ended(why));
        });
        Ok(Accepting(accepting))
    }

    async fn handle(
        &self,
        _myself: ActorRef<ListenerMessage>,
        message: ListenerMessage,
        _state: &mut Accepting,
    ) -> Result<(), ActorProcessingErr> {
        let ListenerMessage::Ended(why) = message;
        Err(why.into())
    }
}

/// Accepts until the socket fails in a way that does not pass.
async fn accept(port: Arc<Inner>) -> String {
    let mut handshakes = Recent::new(MAX_HANDSHAKES);
    loop {
        match port.socket.accept().await {
            Ok((stream, peer)) => {
                let entering = tokio::spawn(enter::enter(port.clone(), stream, peer));
                handshakes.add(entering.abort_handle());
            }
            // The socket does not listen any more.
            Err(error) if error.kind() == ErrorKind::InvalidInput => return error.to_string(),
            // Out of descriptors or memory: others may end and give some back.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(EXHAUSTED_WAIT).await;
            }
        }
    }
}
