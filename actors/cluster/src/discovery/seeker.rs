//! Seeks members of a cluster.

use super::packet::{Here, MAX_BYTES, NONCE_BYTES, Seek, prefix};
use super::{GROUP, interfaces};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

/// The first wait between two questions; it doubles, because the first may come before a member
/// that has just started listens.
const ASK_FIRST: Duration = Duration::from_millis(100);
/// How often the question is asked for the rest of the time.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Answers that wait to be read; further ones are dropped, and come again.
const DEPTH: usize = 32;

/// The addresses of members that answer. Dropping it ends the search.
pub struct Seeker {
    found: mpsc::Receiver<String>,
    asking: JoinHandle<()>,
}

impl Seeker {
    /// The next address (`HOST:PORT`) that a member told. The same one comes again while it
    /// answers. Never ends.
    pub async fn next(&mut self) -> String {
        match self.found.recv().await {
            Some(address) => address,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Seeker {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

/// Seeks members of the cluster whose CA certificate has this hash, on every interface of the
/// machine.
pub fn seek(ca_sha256: [u8; 32]) -> Seeker {
    let (sender, found) = mpsc::channel(DEPTH);
    Seeker {
        found,
        asking: tokio::spawn(ask(ca_sha256, sender)),
    }
}

/// The socket of one interface, and the task that hears the answers.
struct Mouth {
    socket: Arc<UdpSocket>,
    _ear: JoinSet<()>,
}

async fn ask(ca_sha256: [u8; 32], found: mpsc::Sender<String>) {
    let seek = Seek {
        prefix: prefix(ca_sha256),
        nonce: rand::random(),
    };
    let question = seek.encode();
    let mut mouths: BTreeMap<Ipv4Addr, Mouth> = BTreeMap::new();
    let mut silent = Silent::default();
    let mut wait = ASK_FIRST;
    loop {
        let present = match interfaces::addresses() {
            Ok(present) => present,
            Err(error) => {
                silent.say(&format!("the interfaces cannot be listed: {error}"));
                BTreeSet::new()
            }
        };
        mouths.retain(|address, _| present.contains(address));
        for address in present {
            if mouths.contains_key(&address) {
                continue;
            }
            match interfaces::speaking(address).await {
                Ok(socket) => {
                    let mouth = Mouth::new(socket, seek.nonce, found.clone());
                    mouths.insert(address, mouth);
                }
                Err(error) => tracing::debug!(%address, %error, "no question can be asked"),
            }
        }
        let mut sent = 0;
        for (address, mouth) in &mouths {
            match mouth.socket.send_to(&question, GROUP).await {
                Ok(_) => sent += 1,
                Err(error) => tracing::debug!(%address, %error, "no question can be asked"),
            }
        }
        match sent {
            0 => silent.say("no interface of this machine can multicast"),
            _ => silent.over(),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(ASK_EVERY);
    }
}

impl Mouth {
    fn new(socket: UdpSocket, nonce: [u8; NONCE_BYTES], found: mpsc::Sender<String>) -> Self {
        let socket = Arc::new(socket);
        let mut ear = JoinSet::new();
        let hearing = socket.clone();
        ear.spawn(async move { hear(&hearing, nonce, &found).await });
        Self { socket, _ear: ear }
    }
}

async fn hear(socket: &UdpSocket, nonce: [u8; NONCE_BYTES], found: &mpsc::Sender<String>) {
    let mut buffer = [0u8; MAX_BYTES];
    loop {
        let (length, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // A question that nobody took: it is asked again.
                tracing::debug!(%error, "no answer could be read");
                tokio::time::sleep(ASK_EVERY).await;
                continue;
            }
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        let Some(here) = Here::decode(bytes).filter(|here| here.nonce == nonce) else {
            continue;
        };
        tracing::debug!(peer.address = %peer, address = here.address, "a member answered");
        let port = here.address.rsplit_once(':').map(|(_, port)| port);
        // A machine with several addresses may tell one that is not reached from here.
        let seen = port.map(|port| format!("{}:{port}", peer.ip()));
        let seen = seen.filter(|seen| *seen != here.address);
        for address in std::iter::once(here.address).chain(seen) {
            // Where nobody reads, the answer comes again.
            let _ = found.try_send(address);
        }
    }
}

/// Whether it was said that nothing can be sent.
#[derive(Default)]
struct Silent(bool);

impl Silent {
    fn say(&mut self, why: &str) {
        if !std::mem::replace(&mut self.0, true) {
            tracing::warn!(
                why,
                "the cluster cannot be sought on the network; give --join with an address"
            );
        }
    }

    fn over(&mut self) {
        self.0 = false;
    }
}
