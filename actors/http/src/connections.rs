//! The connections of HTTP clients, as one actor: they are tasks of it and end with it.
//!
//! Who talks to it: the node's port, through [`Connections::enter`], which never waits.

use crate::server::{Arrived, Server};
use kabuki_kit::{ChildSpec, Slot};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// A byte stream of any kind.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> ByteStream for S {}

/// The actor's handle.
#[derive(Clone)]
pub struct Connections {
    slot: Slot<ConnectionsMessage>,
    server: Server,
}

/// Messages of the actor.
#[derive(RactorMessage)]
enum ConnectionsMessage {
    /// A client came through the port.
    Serve {
        /// What it speaks on.
        stream: Box<dyn ByteStream>,
        /// Who it is.
        arrived: Arrived,
    },
}

impl Connections {
    /// Connections to this server.
    pub fn new(server: Server) -> Self {
        Self {
            slot: Slot::new("http"),
            server,
        }
    }

    /// Takes a client in. Between two incarnations of the actor it is dropped.
    pub fn enter(&self, stream: impl ByteStream, arrived: Arrived) {
        let stream = Box::new(stream);
        if let Err(error) = self
            .slot
            .cast(ConnectionsMessage::Serve { stream, arrived })
        {
            tracing::debug!(%error, "an HTTP client is turned away");
        }
    }

    /// What a supervisor starts.
    pub fn child(&self) -> ChildSpec {
        let server = self.server.clone();
        ChildSpec::worker("http", &self.slot, move |_place| (Http, server.clone()))
    }
}

struct Http;

struct HttpState {
    server: Server,
    open: JoinSet<()>,
}

impl Actor for Http {
    type Msg = ConnectionsMessage;
    type State = HttpState;
    type Arguments = Server;

    async fn pre_start(
        &self,
        _myself: ActorRef<ConnectionsMessage>,
        server: Server,
    ) -> Result<HttpState, ActorProcessingErr> {
        Ok(HttpState {
            server,
            open: JoinSet::new(),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<ConnectionsMessage>,
        message: ConnectionsMessage,
        state: &mut HttpState,
    ) -> Result<(), ActorProcessingErr> {
        // Those that have ended since.
        while state.open.try_join_next().is_some() {}
        let ConnectionsMessage::Serve { stream, arrived } = message;
        let Some(room) = state.server.limits().connection(arrived.peer.ip()) else {
            tracing::debug!(client.address = %arrived.peer, "too many connections: a client is turned away");
            return Ok(());
        };
        let server = state.server.clone();
        state.open.spawn(async move {
            server.serve(stream, arrived).await;
            drop(room);
        });
        Ok(())
    }
}
