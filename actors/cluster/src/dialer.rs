//! The way to another node's port: TCP, TLS, and the proof that the other is who was dialled.

use crate::authority::PkiError;
use crate::certificate::identity_of;
use crate::credentials::Credentials;
use crate::socket;
use futures::FutureExt;
use futures::future::BoxFuture;
use kabuki_protocol::join::ServerAddress;
use rustls_pki_types::{DnsName, ServerName};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;

/// A node that does not take a connection by then is passed over.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// The handshake waits for the other's processor, too.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// What the other must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Any node of the name.
    Node,
    /// A node of the name that holds the cluster's state.
    Server,
}

/// Why another node could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No TCP connection.
    #[error("node {node:?} cannot be reached at {address}: {source}")]
    Connect {
        /// Which node.
        node: String,
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No TLS.
    #[error("node {node:?} at {address} is not trusted: {source}")]
    Handshake {
        /// Which node.
        node: String,
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Someone else answered.
    #[error("{address} answers as {found:?}, not as {expected} {node:?}")]
    Stranger {
        /// Which node was meant.
        node: String,
        /// Where.
        address: String,
        /// Whom its certificate names.
        found: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] PkiError),
}

/// Dials other nodes with this node's credentials. Clones share everything.
#[derive(Clone)]
pub struct Dialer {
    credentials: Credentials,
    configs: Arc<Mutex<HashMap<Vec<u8>, Arc<ClientConfig>>>>,
}

impl Dialer {
    /// The way out of this node.
    pub fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            configs: Arc::default(),
        }
    }

    /// Connects to the port of `node` for the protocol `alpn`.
    pub async fn dial(
        &self,
        node: &str,
        address: &str,
        alpn: &[u8],
        expected: Expected,
    ) -> Result<TlsStream<TcpStream>, DialError> {
        let config = self.config(alpn)?;
        let dns = DnsName::try_from(node.to_string())
            .map_err(|_| PkiError::Tls(format!("{node:?} is no name of a node")))?;
        let connecting = TcpStream::connect(address);
        let stream =
            limited(CONNECT_LIMIT, connecting)
                .await
                .map_err(|source| DialError::Connect {
                    node: node.to_string(),
                    address: address.to_string(),
                    source,
                })?;
        socket::tune(&stream);
        let handshake = TlsConnector::from(config).connect(ServerName::DnsName(dns), stream);
        let stream = limited(HANDSHAKE_LIMIT, handshake)
            .await
            .map_err(|source| DialError::Handshake {
                node: node.to_string(),
                address: address.to_string(),
                source,
            })?;
        let chain = stream.get_ref().1.peer_certificates();
        let who = chain.and_then(|chain| chain.first()).and_then(identity_of);
        // The name alone is not enough: every server's certificate is also good for `localhost`.
        let right = who.as_ref().is_some_and(|who| {
            who.node_name() == Some(node) && (expected == Expected::Node || who.is_server())
        });
        match right {
            true => Ok(stream),
            false => Err(DialError::Stranger {
                node: node.to_string(),
                address: address.to_string(),
                found: who.map(|who| who.user).unwrap_or_default(),
                expected: match expected {
                    Expected::Node => "node",
                    Expected::Server => "server",
                },
            }),
        }
    }

    fn config(&self, alpn: &[u8]) -> Result<Arc<ClientConfig>, PkiError> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(alpn) {
            return Ok(config.clone());
        }
        let config = self.credentials.client_config(alpn)?;
        configs.insert(alpn.to_vec(), config.clone());
        Ok(config)
    }
}

impl crate::members::Dial for Dialer {
    fn dial(
        &self,
        server: &ServerAddress,
        alpn: &'static [u8],
    ) -> BoxFuture<'static, io::Result<TlsStream<TcpStream>>> {
        let (dialer, server) = (self.clone(), server.clone());
        async move {
            let (name, address) = (&server.name, &server.address);
            let dialled = dialer.dial(name, address, alpn, Expected::Server);
            dialled.await.map_err(io::Error::other)
        }
        .boxed()
    }
}

async fn limited<T>(limit: Duration, action: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let ended = tokio::time::timeout(limit, action).await;
    ended.unwrap_or_else(|_| {
        let why = format!("it did not answer within {} s", limit.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    })
}
