//! What is known of each session, shared by all handles: telling a member something must not pass
//! through the mailbox of the actor that keeps the sessions.

use super::gate::{GROUP, GateMessage};
use super::line::Line;
use crate::seal::Sealer;
use kabuki_protocol::cluster::{Body, Heartbeat};
use kabuki_protocol::join::Role;
use ractor::{ActorId, ActorRef};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// There is no session with the member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no session with {member}")]
pub struct Unreachable {
    /// Which member.
    pub member: String,
}

/// How a session fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// Being dialled, or its handshake is under way.
    Connecting,
    /// Ready.
    Connected,
    /// Broken.
    Lost,
}

/// A session as `kabuki members` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionInfo {
    /// The member's name.
    pub member: String,
    /// How it fares.
    pub state: SessionState,
    /// How long ago something was heard of it.
    pub heard: Option<Duration>,
    /// The last round trip of a heartbeat.
    pub round_trip: Option<Duration>,
    /// What it last said of itself.
    pub heartbeat: Option<Heartbeat>,
}

#[derive(Clone)]
pub(super) struct Table {
    inner: Arc<Inner>,
}

struct Inner {
    sealer: Sealer,
    started: Instant,
    members: RwLock<BTreeMap<String, Entry>>,
}

struct Entry {
    state: SessionState,
    role: Role,
    /// ractor's number of the session.
    node_id: u64,
    boot: u64,
    gate: Option<ActorRef<GateMessage>>,
    line: Option<Line>,
    heard: Option<Instant>,
    round_trip: Option<Duration>,
    heartbeat: Option<Heartbeat>,
}

impl Table {
    pub(super) fn new(sealer: Sealer) -> Self {
        Self {
            inner: Arc::new(Inner {
                sealer,
                started: Instant::now(),
                members: RwLock::default(),
            }),
        }
    }

    /// Microseconds since this process began to count.
    pub(super) fn clock_us(&self) -> u64 {
        u64::try_from(self.inner.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A session begins.
    pub(super) fn connecting(&self, member: &str, role: Role, node_id: u64) {
        let mut members = self.write();
        let entry = members.entry(member.to_string()).or_insert(Entry {
            state: SessionState::Connecting,
            role,
            node_id,
            boot: 0,
            gate: None,
            line: None,
            heard: None,
            round_trip: None,
            heartbeat: None,
        });
        entry.state = SessionState::Connecting;
        entry.role = role;
        entry.node_id = node_id;
        entry.boot = 0;
        entry.gate = None;
        entry.line = None;
    }

    /// The line that belongs to a session is open, or is no more.
    pub(super) fn line(&self, member: &str, node_id: u64, line: Option<Line>) {
        if let Some(entry) = self.write().get_mut(member)
            && entry.node_id == node_id
        {
            entry.line = line;
        }
    }

    /// A session is ready.
    pub(super) fn connected(&self, member: &str, node_id: u64) {
        if let Some(entry) = self.write().get_mut(member)
            && entry.node_id == node_id
        {
            entry.state = SessionState::Connected;
            entry.heard = Some(Instant::now());
            entry.gate = gate_of(node_id);
        }
    }

    /// A session broke; `true` when it was the one that counts.
    pub(super) fn lost(&self, member: &str, node_id: u64) -> bool {
        let mut members = self.write();
        let Some(entry) = members.get_mut(member) else {
            return false;
        };
        let counts = entry.node_id == node_id && entry.state != SessionState::Lost;
        if counts {
            entry.state = SessionState::Lost;
            entry.gate = None;
            entry.line = None;
        }
        counts
    }

    /// The member was removed.
    pub(super) fn forget(&self, member: &str) {
        self.write().remove(member);
    }

    /// The session with a member that counts: its number and state.
    pub(super) fn current(&self, member: &str) -> Option<(u64, SessionState)> {
        self.read().get(member).map(|e| (e.node_id, e.state))
    }

    /// Members in whose sessions nothing was heard for `limit`.
    pub(super) fn silent(&self, limit: Duration) -> Vec<(String, u64)> {
        let members = self.read();
        let silent = members.iter().filter(|(_, e)| {
            e.state == SessionState::Connected && e.heard.is_some_and(|at| at.elapsed() > limit)
        });
        silent.map(|(n, e)| (n.clone(), e.node_id)).collect()
    }

    /// The members with a ready session.
    pub(super) fn ready(&self) -> Vec<(String, Role)> {
        let members = self.read();
        let ready = members
            .iter()
            .filter(|(_, e)| e.state == SessionState::Connected);
        ready.map(|(name, e)| (name.clone(), e.role)).collect()
    }

    pub(super) fn role_of(&self, member: &str) -> Option<Role> {
        self.read().get(member).map(|e| e.role)
    }

    /// Something was heard; `false` when it is of an earlier boot than the last.
    pub(super) fn heard(&self, member: &str, boot: u64) -> bool {
        let mut members = self.write();
        let Some(entry) = members.get_mut(member) else {
            return false;
        };
        // Messages of an old session may still be on their way when the new one is ready: they
        // come from another process, whose number differs.
        if entry.boot == 0 {
            entry.boot = boot;
        }
        if entry.boot != boot {
            return false;
        }
        entry.heard = Some(Instant::now());
        true
    }

    pub(super) fn note(&self, member: &str, heartbeat: &Heartbeat) {
        if let Some(entry) = self.write().get_mut(member) {
            entry.heartbeat = Some(heartbeat.clone());
        }
    }

    pub(super) fn round_trip(&self, member: &str, sent_us: u64) {
        let taken = Duration::from_micros(self.clock_us().saturating_sub(sent_us));
        if let Some(entry) = self.write().get_mut(member) {
            entry.round_trip = Some(taken);
        }
    }

    pub(super) fn tell(&self, member: &str, body: &Body) -> Result<(), Unreachable> {
        let unreachable = || Unreachable {
            member: member.to_string(),
        };
        let (gate, role, node_id) = {
            let members = self.read();
            let entry = members.get(member).ok_or_else(unreachable)?;
            if entry.state != SessionState::Connected {
                return Err(unreachable());
            }
            (entry.gate.clone(), entry.role, entry.node_id)
        };
        let sealed = self
            .inner
            .sealer
            .seal(member, role, body)
            .map_err(|_| unreachable())?;
        let gate = match gate {
            Some(gate) if gate.get_status() < ractor::ActorStatus::Stopping => gate,
            // The other's gate has restarted, or was announced late.
            _ => {
                let gate = gate_of(node_id).ok_or_else(unreachable)?;
                if let Some(entry) = self.write().get_mut(member)
                    && entry.node_id == node_id
                {
                    entry.gate = Some(gate.clone());
                }
                gate
            }
        };
        gate.cast(GateMessage::Tell(sealed))
            .map_err(|_| unreachable())
    }

    pub(super) fn tell_raft(&self, server: &str, frames: &[u8]) -> Result<(), Unreachable> {
        let members = self.read();
        let line = members.get(server).and_then(|entry| entry.line.as_ref());
        match line.is_some_and(|line| line.send(frames)) {
            true => Ok(()),
            false => Err(Unreachable {
                member: server.to_string(),
            }),
        }
    }

    pub(super) fn sessions(&self) -> Vec<SessionInfo> {
        let members = self.read();
        let infos = members.iter().map(|(member, e)| SessionInfo {
            member: member.clone(),
            state: e.state,
            heard: e.heard.map(|at| at.elapsed()),
            round_trip: e.round_trip,
            heartbeat: e.heartbeat.clone(),
        });
        infos.collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Entry>> {
        self.inner
            .members
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Entry>> {
        self.inner
            .members
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The gate that came through a session. Others may announce what they like: it comes with the
/// number of their own session.
fn gate_of(node_id: u64) -> Option<ActorRef<GateMessage>> {
    ractor::pg::get_members(&GROUP.to_string())
        .into_iter()
        .find(|cell| matches!(cell.get_id(), ActorId::Remote { node_id: of, .. } if of == node_id))
        .map(ActorRef::from)
}
