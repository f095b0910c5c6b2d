//! One connection, from its first byte to its door. Whatever is wrong ends this connection alone.

use super::Inner;
use super::hello::{self, Hello};
use super::pipe;
use super::protocols::{Behind, Guests, Protocol};
use crate::certificate::{identity_of, key_sha256};
use crate::seams::{Directory, Visitor};
use crate::socket;
use kabuki_model::identity::Identity;
use kabuki_protocol::frame;
use kabuki_protocol::session::ServerFrame;
use rustls_pki_types::CertificateDer;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

/// Who has not finished the handshake by then is a flood or a mistake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// How long the last word to someone who is turned away may take.
const LAST_WORD_LIMIT: Duration = Duration::from_secs(1);
/// Each node that is turned away is logged this often; it tries again and again.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Nodes of which the last log line is remembered.
const MAX_REMEMBERED: usize = 256;

/// When nodes that were turned away were last logged.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<String, Instant>>);

impl Refusals {
    fn log(&self, node: &str, peer: SocketAddr) {
        let now = Instant::now();
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|_, at| now.duration_since(*at) < LOG_EVERY);
        if logged.len() < MAX_REMEMBERED && !logged.contains_key(node) {
            logged.insert(node.to_string(), now);
            tracing::warn!(
                node,
                peer.address = %peer,
                "a node that is not a member, or was removed, is turned away"
            );
        }
    }
}

pub(super) async fn enter(port: Arc<Inner>, mut stream: TcpStream, peer: SocketAddr) {
    socket::tune(&stream);
    let entering = async {
        let hello = match hello::read(&mut stream).await {
            Ok(hello) => hello,
            Err(error) => {
                tracing::debug!(peer.address = %peer, %error, "no TLS was spoken");
                return;
            }
        };
        let offered = hello.accepted.client_hello();
        let offered = offered.alpn();
        let Some(protocol) = port.protocols.choose(offered) else {
            tracing::debug!(peer.address = %peer, "no protocol was offered that is served");
            return;
        };
        match &protocol.behind {
            Behind::Door(door, config) => {
                let Hello { accepted, .. } = hello;
                let start = StartHandshake::from_parts(accepted, stream);
                match start.into_stream(config.clone()).await {
                    Ok(stream) => {
                        if let Some(visitor) = admit(&port, protocol, stream, peer).await {
                            door.enter(visitor);
                        }
                    }
                    Err(error) => {
                        tracing::debug!(peer.address = %peer, %error, "a handshake failed");
                    }
                }
            }
            Behind::Elsewhere => {
                let Ok(permit) = port.pipes.clone().try_acquire_owned() else {
                    tracing::warn!(peer.address = %peer, "too many connections are handed on: one is turned away");
                    return;
                };
                // A task of its own: a flood of handshakes must not end it.
                let (directory, name) = (port.directory.clone(), port.name.clone());
                tokio::spawn(async move {
                    pipe::to_a_server(stream, hello.bytes, peer, &*directory, &name).await;
                    drop(permit);
                });
            }
            Behind::Wall => {
                let alpn = String::from_utf8_lossy(protocol.alpn);
                tracing::debug!(peer.address = %peer, %alpn, "a protocol is not served by this node");
            }
        }
    };
    if tokio::time::timeout(HANDSHAKE_LIMIT, entering)
        .await
        .is_err()
    {
        tracing::debug!(peer.address = %peer, "a handshake took too long");
    }
}

/// Judges who came; `None` when it may not come in.
async fn admit(
    port: &Inner,
    protocol: &Protocol,
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
) -> Option<Visitor> {
    let certificate = stream.get_ref().1.peer_certificates();
    let certificate = certificate.and_then(|chain| chain.first()).cloned();
    let certificate = certificate.map(CertificateDer::into_owned);
    let who = certificate.as_ref().and_then(identity_of);
    if protocol.guests == Guests::Asked {
        return Some(asked(port, stream, peer, who, certificate));
    }
    let verdict = judge(
        protocol.guests,
        who.as_ref(),
        certificate.as_ref(),
        &*port.directory,
    );
    let refusal = match verdict {
        Ok(()) => {
            return Some(Visitor {
                stream,
                peer,
                who,
                certificate,
                bad_certificate: false,
            });
        }
        Err(refusal) => refusal,
    };
    match &refusal {
        Refusal::NotAMember(node) => port.refusals.log(node, peer),
        other => tracing::debug!(peer.address = %peer, why = %other, "a visitor is turned away"),
    }
    if protocol.native {
        turn_away(stream, &refusal).await;
    }
    None
}

/// Lets someone in who speaks HTTP: with a good certificate as who it names, with a bad one as
/// somebody to be refused, without one as nobody yet.
fn asked(
    port: &Inner,
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    who: Option<Identity>,
    certificate: Option<CertificateDer<'static>>,
) -> Visitor {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let good = !chain.is_empty()
        && port.credentials.accepts_client(chain)
        && judge(
            Guests::Certified,
            who.as_ref(),
            certificate.as_ref(),
            &*port.directory,
        )
        .is_ok();
    Visitor {
        stream,
        peer,
        who: who.filter(|_| good),
        bad_certificate: certificate.is_some() && !good,
        certificate: certificate.filter(|_| good),
    }
}

/// Why someone with a good certificate may not come in.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the certificate names nobody")]
    Nobody,
    #[error("node {0:?} is not a member of the cluster, or was removed from it")]
    NotAMember(String),
    #[error("only members may use this protocol")]
    NotANode,
    #[error("only servers of the cluster may use this protocol")]
    NotAServer,
}

fn judge(
    guests: Guests,
    who: Option<&Identity>,
    certificate: Option<&CertificateDer<'_>>,
    directory: &dyn Directory,
) -> Result<(), Refusal> {
    if matches!(guests, Guests::Anyone | Guests::Asked) {
        return Ok(());
    }
    let (Some(who), Some(certificate)) = (who, certificate) else {
        return Err(Refusal::Nobody);
    };
    if let Some(node) = who.node_name() {
        let key = key_sha256(certificate).map_err(|_| Refusal::Nobody)?;
        if !directory.is_member(node, &key) {
            return Err(Refusal::NotAMember(node.to_string()));
        }
    }
    match guests {
        Guests::Members if who.node_name().is_none() => Err(Refusal::NotANode),
        Guests::Servers if !who.is_server() => Err(Refusal::NotAServer),
        Guests::Anyone | Guests::Asked | Guests::Certified | Guests::Members | Guests::Servers => {
            Ok(())
        }
    }
}

/// Says why, in a frame of the native session.
async fn turn_away(mut stream: TlsStream<TcpStream>, refusal: &Refusal) {
    let goodbye = ServerFrame::Goodbye {
        reason: refusal.to_string(),
    };
    let saying = async {
        let _ = frame::write(&mut stream, &goodbye).await;
        let _ = stream.shutdown().await;
        // The client's first frame is read: bytes that nobody took would tear the connection
        // down before it has read ours.
        let mut rest = [0u8; 1024];
        while matches!(tokio::io::AsyncReadExt::read(&mut stream, &mut rest).await, Ok(n) if n > 0)
        {
        }
    };
    let _ = tokio::time::timeout(LAST_WORD_LIMIT, saying).await;
}
