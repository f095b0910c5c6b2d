//! The client port as one child of the node's tree.

use super::Services;
use super::listener::{ListenError, ListenerHandle};
use kabuki_kit::{ChildSpec, Strategy, SupervisorHandle, SupervisorSpec};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::ServerConfig;

/// The bound client port.
pub struct ClientPort {
    listener: ListenerHandle,
    sessions: SupervisorHandle,
}

impl ClientPort {
    /// Binds the port. Nothing is accepted before the child runs.
    pub async fn bind(
        address: SocketAddr,
        tls: Arc<ServerConfig>,
        services: Services,
    ) -> Result<Self, ListenError> {
        let sessions = SupervisorHandle::new("sessions");
        let listener = ListenerHandle::bind(address, tls, services, sessions.clone()).await?;
        Ok(Self { listener, sessions })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.address()
    }

    /// What a supervisor starts.
    pub fn child(&self) -> ChildSpec {
        let (listener, sessions) = (self.listener.clone(), self.sessions.clone());
        ChildSpec::supervisor("clients", move |_place| {
            let sessions = sessions.clone();
            SupervisorSpec::new(Strategy::OneForOne)
                .never_give_up()
                .backoff(Duration::from_millis(10), Duration::from_secs(5))
                .child(ChildSpec::supervisor("sessions", move |_place| {
                    SupervisorSpec::new(Strategy::OneForOne)
                        .never_give_up()
                        .handle(&sessions)
                }))
                .child(listener.child())
        })
    }
}
