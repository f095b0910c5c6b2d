//! Keeps the way to other nodes' pods in step with the Node objects: it watches them and hands
//! the peers to the node's network, which changes what differs.
//!
//! ```text
//!   API ── watch of all Nodes ──> peers ── set_peers ──> the pod network
//!                                   └── what cannot be connected ──> events
//! ```
//!
//! A peer is another node that has a block of pod addresses and an address, and is not being
//! deleted. Nothing is changed before a whole list of the nodes has been seen, so a restart
//! leaves all connections as they are. What failed is tried again, later and later; what is
//! wrong with the objects themselves waits until they change.

mod table;
mod watch;

use crate::event::Note;
use crate::pod::chain;
use crate::services::Services;
use k8s_openapi::api::core::v1::ObjectReference;
use kabuki_kit::{ChildSpec, Slot};
use kabuki_model::watch::WatchEvent;
use kabuki_net::PeerFailure;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use table::PeerTable;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use table::MODE_ANNOTATION;

/// A failed peer is tried again after this time, later ones after longer.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What an event about a failure is called.
const NOT_CONNECTED: &str = "PeerNotConnected";
const CONNECTED: &str = "PeerConnected";

#[derive(RactorMessage)]
pub(crate) enum PeersMessage {
    /// A watch begins with every node that there is.
    Listing,
    Events {
        events: Vec<WatchEvent>,
        handled: oneshot::Sender<()>,
    },
    /// Something of the machine's network changed.
    Disturbed,
    /// Try again, unless something was done since.
    Retry { attempt: u64 },
}

/// The child that keeps the peers.
pub(crate) fn child(services: &Arc<Services>) -> ChildSpec {
    let services = services.clone();
    // Nobody but its own tasks sends it anything.
    ChildSpec::worker("peers", &Slot::new("peers"), move |_| {
        (
            Peers {
                services: services.clone(),
            },
            (),
        )
    })
}

struct Peers {
    services: Arc<Services>,
}

pub(crate) struct PeersState {
    table: PeerTable,
    /// Peers that are not connected, and why; under an empty name what concerns all.
    failed: BTreeMap<String, String>,
    attempt: u64,
    wait: Duration,
    watcher: JoinHandle<()>,
    /// Once there is a peer.
    listener: Option<JoinHandle<()>>,
}

impl Drop for PeersState {
    fn drop(&mut self) {
        self.watcher.abort();
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

impl Peers {
    /// Connects the peers that are known, and sees to it that it is tried again if need be.
    async fn connect(&self, myself: &ActorRef<PeersMessage>, state: &mut PeersState) {
        state.attempt += 1;
        let peers = state.table.peers();
        if !peers.is_empty() && state.listener.is_none() {
            let listen = watch::disturbances(self.services.clone(), myself.clone());
            state.listener = Some(tokio::spawn(listen));
        }
        let (failed, again) = match self.services.network.set_peers(&peers).await {
            Ok(failures) => {
                let again = failures.iter().any(|failure| !failure.is_lasting());
                (failures.into_iter().map(in_words).collect(), again)
            }
            Err(error) => (BTreeMap::from([(String::new(), chain(&error))]), true),
        };
        self.report(&state.failed, &failed, state.table.own());
        state.failed = failed;
        if !again {
            state.wait = RETRY_FIRST;
            return;
        }
        let attempt = state.attempt;
        myself.send_after(state.wait, move || PeersMessage::Retry { attempt });
        state.wait = (state.wait * 2).min(RETRY_MAX);
    }

    /// Tells what is new about failures.
    fn report(
        &self,
        before: &BTreeMap<String, String>,
        now: &BTreeMap<String, String>,
        own: ObjectReference,
    ) {
        let note = |warning, reason: &str, message| Note {
            about: own.clone(),
            warning,
            reason: reason.to_string(),
            message,
        };
        for (peer, why) in now
            .iter()
            .filter(|(peer, why)| before.get(*peer) != Some(*why))
        {
            tracing::warn!(net.peer = %peer, error = %why, "a peer is not connected");
            let message = match peer.as_str() {
                "" => format!("cannot connect the pods of other nodes: {why}"),
                peer => format!("cannot connect the pods of node {peer}: {why}"),
            };
            self.services
                .events
                .record(note(true, NOT_CONNECTED, message));
        }
        for peer in before.keys().filter(|peer| !now.contains_key(*peer)) {
            let message = match peer.as_str() {
                "" => "the pods of other nodes can be connected again".to_string(),
                peer => format!("the pods of node {peer} are no longer in trouble"),
            };
            self.services.events.record(note(false, CONNECTED, message));
        }
    }
}

fn in_words(failure: PeerFailure) -> (String, String) {
    let why = chain(&failure.reason);
    (failure.peer, why)
}

impl Actor for Peers {
    type Msg = PeersMessage;
    type State = PeersState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<PeersMessage>,
        (): (),
    ) -> Result<PeersState, ActorProcessingErr> {
        // A predecessor may have been cut short in the middle of a change.
        self.services.network.forget_peers().await;
        let watcher = tokio::spawn(watch::run(self.services.clone(), myself));
        Ok(PeersState {
            table: PeerTable::new(&self.services.config.node_name),
            failed: BTreeMap::new(),
            attempt: 0,
            wait: RETRY_FIRST,
            watcher,
            listener: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<PeersMessage>,
        message: PeersMessage,
        state: &mut PeersState,
    ) -> Result<(), ActorProcessingErr> {
        let connect = match message {
            PeersMessage::Listing => {
                state.table.begin_list();
                false
            }
            PeersMessage::Events { events, handled } => {
                let mut changed = false;
                for event in &events {
                    changed |= state.table.see(event);
                }
                // The sender may be gone, which is its right.
                let _ = handled.send(());
                changed
            }
            PeersMessage::Disturbed => {
                self.services.network.forget_peers().await;
                state.table.is_complete()
            }
            PeersMessage::Retry { attempt } => attempt == state.attempt,
        };
        if connect {
            self.connect(&myself, state).await;
        }
        Ok(())
    }
}
