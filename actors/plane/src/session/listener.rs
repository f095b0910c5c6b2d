//! Accepts connections.

use super::actor::session_child;
use super::{MAX_SESSIONS, Services};
use crate::pki::identity_of;
use kabuki_kit::{ChildSpec, Slot, SupervisorHandle};
use kabuki_protocol::session::ALPN;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// A client that has not finished its handshake by then is a flood or a mistake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// How many handshakes may be under way. The oldest makes room for the newest: a flood of silent
/// connections keeps nobody out.
const MAX_HANDSHAKES: usize = 1024;
/// How long starting a session's actor may take.
const START_LIMIT: Duration = Duration::from_secs(5);

/// Why the client port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// The client port. The socket outlives the listener's restarts, so that no connection is refused
/// meanwhile.
#[derive(Clone)]
pub struct ListenerHandle {
    slot: Slot<ListenerMessage>,
    socket: Arc<TcpListener>,
    tls: Arc<ServerConfig>,
    services: Services,
    sessions: SupervisorHandle,
    room: Arc<Semaphore>,
}

/// Messages of the listener.
#[derive(RactorMessage)]
pub enum ListenerMessage {
    /// The accept loop has ended; it never should.
    Ended(String),
}

impl ListenerHandle {
    /// Binds the port.
    pub async fn bind(
        address: SocketAddr,
        tls: Arc<ServerConfig>,
        services: Services,
        sessions: SupervisorHandle,
    ) -> Result<Self, ListenError> {
        let socket = TcpListener::bind(address)
            .await
            .map_err(|source| ListenError { address, source })?;
        Ok(Self {
            slot: Slot::new("listener"),
            socket: Arc::new(socket),
            tls,
            services,
            sessions,
            room: Arc::new(Semaphore::new(MAX_SESSIONS)),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// What a supervisor starts.
    pub fn child(&self) -> ChildSpec {
        let handle = self.clone();
        ChildSpec::worker("listener", &self.slot, move |_place| {
            (Listener, handle.clone())
        })
    }
}

struct Listener;

/// Ends the accept loop with the actor.
struct Accepting(JoinHandle<()>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Actor for Listener {
    type Msg = ListenerMessage;
    type State = Accepting;
    type Arguments = ListenerHandle;

    async fn pre_start(
        &self,
        myself: ActorRef<ListenerMessage>,
        handle: ListenerHandle,
    ) -> Result<Accepting, ActorProcessingErr> {
        let accepting = tokio::spawn(async move {
            let why = accept(handle).await;
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
async fn accept(handle: ListenerHandle) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let mut handshakes: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match handle.socket.accept().await {
            Ok((stream, peer)) => {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                if handshakes.len() >= MAX_HANDSHAKES {
                    handshakes.retain(|h| !h.is_finished());
                }
                if handshakes.len() >= MAX_HANDSHAKES
                    && let Some(oldest) = handshakes.pop_front()
                {
                    oldest.abort();
                }
                let welcome = tokio::spawn(welcome(handle.clone(), stream, peer, number));
                handshakes.push_back(welcome.abort_handle());
            }
            // The socket does not listen any more.
            Err(error) if error.kind() == ErrorKind::InvalidInput => return error.to_string(),
            // Out of descriptors or memory: others may end and give some back.
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a client");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Handshake, identity, session. Whatever is wrong ends this connection alone.
async fn welcome(handle: ListenerHandle, stream: TcpStream, peer: SocketAddr, number: u64) {
    let _ = stream.set_nodelay(true);
    let acceptor = TlsAcceptor::from(handle.tls.clone());
    let stream = match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(client.address = %peer, error = %error, "handshake failed");
            return;
        }
        Err(_) => {
            tracing::debug!(client.address = %peer, "handshake took too long");
            return;
        }
    };
    let (_, connection) = stream.get_ref();
    if connection.alpn_protocol() != Some(ALPN) {
        tracing::debug!(client.address = %peer, "client chose no protocol that is served");
        return;
    }
    let who = connection
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(identity_of);
    let Some(who) = who else {
        tracing::debug!(client.address = %peer, "client certificate names nobody");
        return;
    };
    let room = handle.room.clone().acquire_owned();
    let Ok(Ok(permit)) = tokio::time::timeout(HANDSHAKE_LIMIT, room).await else {
        tracing::warn!(client.address = %peer, "too many sessions: a client is turned away");
        return;
    };
    let child = session_child(number, stream, peer, who, handle.services.clone(), permit);
    if let Err(error) = handle.sessions.start_child(child, START_LIMIT).await {
        tracing::warn!(client.address = %peer, error = %error, "cannot start a session");
    }
}
