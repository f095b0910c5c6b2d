//! Answers those who seek this node's cluster.

use super::packet::{Here, MAX_BYTES, Seek, prefix};
use super::{GROUP, interfaces};
use crate::credentials::Credentials;
use kabuki_kit::{ChildSpec, Slot};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Interfaces come and go: the list is read this often. Nothing is sent for it.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// No more answers are sent in a second: a flood of questions stays cheap.
const MAX_ANSWERS_PER_S: u32 = 100;

/// What answers seekers, as a child of a supervisor.
#[derive(Clone)]
pub struct Responder {
    slot: Slot<ResponderMessage>,
    credentials: Credentials,
    address: String,
}

/// Messages of the responder.
#[derive(RactorMessage)]
pub enum ResponderMessage {
    /// The loop has ended; it never should.
    Ended(String),
}

impl Responder {
    /// Answers seekers of the cluster of `credentials` with `address`: `HOST:PORT` of this node's
    /// port.
    pub fn new(credentials: Credentials, address: &str) -> Self {
        Self {
            slot: Slot::new("discovery"),
            credentials,
            address: address.to_string(),
        }
    }

    /// What a supervisor starts.
    pub fn child(&self) -> ChildSpec {
        let responder = self.clone();
        ChildSpec::worker("discovery", &self.slot, move |_place| {
            (ResponderActor, responder.clone())
        })
    }
}

struct ResponderActor;

/// Ends the loop with the actor.
struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Actor for ResponderActor {
    type Msg = ResponderMessage;
    type State = Listening;
    type Arguments = Responder;

    async fn pre_start(
        &self,
        myself: ActorRef<ResponderMessage>,
        responder: Responder,
    ) -> Result<Listening, ActorProcessingErr> {
        Ok(Listening(tokio::spawn(async move {
            let why = respond(&responder).await;
            let _ = myself.cast(ResponderMessage::Ended(why));
        })))
    }

    async fn handle(
        &self,
        _myself: ActorRef<ResponderMessage>,
        message: ResponderMessage,
        _state: &mut Listening,
    ) -> Result<(), ActorProcessingErr> {
        let ResponderMessage::Ended(why) = message;
        Err(why.into())
    }
}

/// Answers until something breaks that should not.
async fn respond(responder: &Responder) -> String {
    let mut said = false;
    loop {
        let socket = match interfaces::listening() {
            Ok(socket) => socket,
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(%error, group = %GROUP, "this node cannot be discovered on the network: joiners must give an address");
                }
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
        };
        if let Err(error) = listen(responder, &socket).await {
            tracing::debug!(%error, "the socket of discovery failed");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

async fn listen(responder: &Responder, socket: &UdpSocket) -> io::Result<()> {
    let mut groups = Groups::default();
    let mut budget = Budget::new();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut buffer = [0u8; MAX_BYTES];
    loop {
        tokio::select! {
            _ = look.tick() => groups.look(socket),
            received = socket.recv_from(&mut buffer) => {
                let (length, peer) = received?;
                let bytes = buffer.get(..length).unwrap_or_default();
                if let Some(answer) = answer(responder, bytes)
                    && budget.spend()
                {
                    send(socket, &answer, peer).await;
                }
            }
        }
    }
}

fn answer(responder: &Responder, question: &[u8]) -> Option<Vec<u8>> {
    let seek = Seek::decode(question)?;
    let ours = responder.credentials.bundle_sha256();
    if !ours.into_iter().any(|hash| prefix(hash) == seek.prefix) {
        return None;
    }
    let here = Here {
        nonce: seek.nonce,
        address: responder.address.clone(),
    };
    here.encode()
}

async fn send(socket: &UdpSocket, answer: &[u8], peer: SocketAddr) {
    if let Err(error) = socket.send_to(answer, peer).await {
        tracing::debug!(peer.address = %peer, %error, "a seeker cannot be answered");
    }
}

/// The interfaces on which the group is heard.
#[derive(Default)]
struct Groups {
    joined: BTreeSet<Ipv4Addr>,
    refused: BTreeSet<Ipv4Addr>,
}

impl Groups {
    fn look(&mut self, socket: &UdpSocket) {
        let present = match interfaces::addresses() {
            Ok(present) => present,
            Err(error) => {
                tracing::debug!(%error, "the interfaces cannot be listed");
                return;
            }
        };
        for gone in self.joined.difference(&present) {
            let _ = socket.leave_multicast_v4(*GROUP.ip(), *gone);
        }
        self.joined.retain(|address| present.contains(address));
        self.refused.retain(|address| present.contains(address));
        for address in present {
            if self.joined.contains(&address) {
                continue;
            }
            match socket.join_multicast_v4(*GROUP.ip(), address) {
                Ok(()) => {
                    self.joined.insert(address);
                    self.refused.remove(&address);
                }
                // Two addresses of one interface: it is joined already.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    self.joined.insert(address);
                }
                Err(error) => {
                    if self.refused.insert(address) {
                        tracing::debug!(%address, %error, "discovery is not possible on an interface");
                    }
                }
            }
        }
    }
}

/// How many answers may still be sent in this second.
struct Budget {
    since: Instant,
    left: u32,
}

impl Budget {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            left: MAX_ANSWERS_PER_S,
        }
    }

    fn spend(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Self::new();
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}
