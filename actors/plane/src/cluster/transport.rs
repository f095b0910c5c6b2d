//! Raft's messages over the lines between servers.

use super::StateDirectory;
use crate::raft::{RaftHandle, SnapshotSource, Transport};
use kabuki_cluster::members::MembersHandle;
use kabuki_protocol::frame;
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Message};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Carries Raft messages to other servers.
#[derive(Clone, Default)]
pub struct MemberTransport {
    parts: Arc<OnceLock<Parts>>,
}

struct Parts {
    raft: RaftHandle,
    directory: StateDirectory,
    members: MembersHandle,
    snapshots: Arc<dyn SendSnapshot>,
    /// The nodes of the servers by their numbers, which are never used again.
    names: Mutex<BTreeMap<u64, Arc<str>>>,
}

/// The way of snapshots, which are too large for a session of messages.
pub trait SendSnapshot: Send + Sync + 'static {
    /// Streams the snapshot file that belongs to `message` to a server, and tells Raft how it
    /// went.
    fn send_snapshot(&self, to: String, message: Message, source: SnapshotSource);
}

impl MemberTransport {
    /// Ties it to the sessions, which are made after the Raft group that they serve.
    pub fn connect(
        &self,
        raft: RaftHandle,
        directory: StateDirectory,
        members: MembersHandle,
        snapshots: Arc<dyn SendSnapshot>,
    ) {
        let parts = Parts {
            raft,
            directory,
            members,
            snapshots,
            names: Mutex::default(),
        };
        // Made once, at the start of the process.
        let _ = self.parts.set(parts);
    }
}

impl Parts {
    fn send_to(&self, to: u64, frames: &[u8]) {
        let told = self
            .name_of(to)
            .is_some_and(|name| self.members.tell_raft(&name, frames).is_ok());
        if !told {
            // It may have ended meanwhile, with everything else.
            let _ = self.raft.unreachable(to);
        }
    }

    fn name_of(&self, server: u64) -> Option<Arc<str>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(&server) {
            return Some(name.clone());
        }
        let name: Arc<str> = self.directory.name_of(server)?.into();
        names.insert(server, name.clone());
        Some(name)
    }
}

impl Transport for MemberTransport {
    fn send(&self, messages: Vec<Message>) {
        let Some(parts) = self.parts.get() else {
            return;
        };
        let mut by_server: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for message in messages {
            let frames = by_server.entry(message.to).or_default();
            let encode = |body: &mut _| message.write_to_vec(body).map_err(io::Error::from);
            if let Err(error) = frame::append_with(frames, encode) {
                tracing::error!(%error, "a raft message cannot be sent");
            }
        }
        for (to, frames) in by_server {
            parts.send_to(to, &frames);
        }
    }

    fn send_snapshot(&self, message: Message, source: SnapshotSource) {
        let Some(parts) = self.parts.get() else {
            return;
        };
        match parts.name_of(message.to) {
            Some(name) => parts
                .snapshots
                .send_snapshot(name.to_string(), message, source),
            None => drop(parts.raft.snapshot_sent(message.to, false)),
        }
    }

    fn reconfigured(&self, _conf_state: &ConfState) {
        if let Some(parts) = self.parts.get() {
            parts.members.refresh();
        }
    }
}
