//! What a server hears of other members, handed on: Raft's messages to Raft, signs of life to the
//! leader's table, broken sessions to whoever must not wait for a time-out.

use super::StateDirectory;
use crate::raft::RaftHandle;
use jiff::Timestamp;
use kabuki_cluster::remote::Remote;
use kabuki_cluster::seams::{Directory as _, Listener};
use kabuki_model::view::View as _;
use kabuki_protocol::cluster::Heartbeat;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When each node last gave a sign of life here. Not state: a new leader begins anew.
#[derive(Clone, Default)]
pub struct Signs {
    heard: Arc<Mutex<BTreeMap<String, Timestamp>>>,
    leader_spoke: Arc<Mutex<Option<Instant>>>,
}

impl Signs {
    /// When each node was last heard of.
    pub fn all(&self) -> BTreeMap<String, Timestamp> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.clone()
    }

    /// How long ago the leader last said how far the log is committed; `None` when it never did.
    pub fn staleness(&self) -> Option<Duration> {
        let spoke = self.leader_spoke.lock();
        spoke
            .unwrap_or_else(PoisonError::into_inner)
            .map(|at| at.elapsed())
    }

    fn leader_spoke(&self) {
        let mut spoke = self
            .leader_spoke
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *spoke = Some(Instant::now());
    }

    /// A node gave a sign of life.
    pub fn note(&self, node: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.insert(node.to_string(), Timestamp::now());
    }
}

/// The ears of a server.
pub struct Hearing {
    /// Who takes Raft's messages.
    pub raft: RaftHandle,
    /// Who is who.
    pub directory: StateDirectory,
    /// Where signs of life are noted.
    pub signs: Signs,
    /// Sessions with other nodes, which end with them.
    pub remote: Remote,
    /// When this node's certificate ends: seconds since the epoch.
    pub certificate_ends_s: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl Listener for Hearing {
    fn sign_of_life(&self, sent_us: u64) -> Heartbeat {
        Heartbeat {
            sent_us,
            revision: self.raft.snapshot().revision(),
            program: env!("CARGO_PKG_VERSION").to_string(),
            certificate_ends_s: (self.certificate_ends_s)(),
        }
    }

    fn raft(&self, message: &[u8]) {
        match Message::parse_from_bytes(message) {
            Ok(message) => {
                let kind = message.get_msg_type();
                // While Raft restarts, messages are lost, as they may be.
                let _ = self.raft.step(message);
                if matches!(kind, MessageType::MsgHeartbeat | MessageType::MsgAppend) {
                    self.signs.leader_spoke();
                }
            }
            Err(error) => tracing::warn!(error = %error, "a raft message cannot be read"),
        }
    }

    fn heard(&self, node: &str, _heartbeat: &Heartbeat) -> (Option<String>, u64) {
        self.signs.note(node);
        (self.directory.leader(), self.raft.snapshot().revision())
    }

    fn answered(&self, _server: &str, _leader: Option<String>, _revision: u64) {}

    fn connected(&self, node: &str) {
        self.signs.note(node);
    }

    fn lost(&self, node: &str) {
        self.remote.lost(node);
        if let Some(id) = self.directory.server_id_of(node) {
            // Raft must not wait for its time-out when the leader's process has ended.
            let _ = self.raft.peer_lost(id);
        }
    }
}
