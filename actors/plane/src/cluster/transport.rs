//! Raft's messages over the member sessions.

use super::StateDirectory;
use crate::raft::{RaftHandle, SnapshotSource, Transport};
use kabuki_cluster::members::MembersHandle;
use kabuki_protocol::cluster::{Body, MAX_BODY_BYTES, Piece};
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Message};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// What is put into one body: with its frame it stays well below the largest.
const BATCH_BYTES: usize = MAX_BODY_BYTES / 2;

/// Carries Raft messages to other servers.
#[derive(Clone, Default)]
pub struct MemberTransport {
    parts: Arc<OnceLock<Parts>>,
}

struct Parts {
    own_id: u64,
    raft: RaftHandle,
    directory: StateDirectory,
    members: MembersHandle,
    snapshots: Arc<dyn SendSnapshot>,
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
        own_id: u64,
        raft: RaftHandle,
        directory: StateDirectory,
        members: MembersHandle,
        snapshots: Arc<dyn SendSnapshot>,
    ) {
        let parts = Parts {
            own_id,
            raft,
            directory,
            members,
            snapshots,
        };
        // Made once, at the start of the process.
        let _ = self.parts.set(parts);
    }
}

impl Parts {
    fn send_to(&self, to: u64, messages: &[Vec<u8>]) {
        let body = Body::Raft {
            from: self.own_id,
            messages: messages.iter().map(|m| Piece(m)).collect(),
        };
        let told = self
            .directory
            .name_of(to)
            .is_some_and(|name| self.members.tell(&name, &body).is_ok());
        if !told {
            // It may have ended meanwhile, with everything else.
            let _ = self.raft.unreachable(to);
        }
    }
}

impl Transport for MemberTransport {
    fn send(&self, messages: Vec<Message>) {
        let Some(parts) = self.parts.get() else {
            return;
        };
        let mut by_server: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
        let mut sizes: BTreeMap<u64, usize> = BTreeMap::new();
        for message in messages {
            let Ok(encoded) = message.write_to_bytes() else {
                continue;
            };
            let size = sizes.entry(message.to).or_default();
            let batch = by_server.entry(message.to).or_default();
            if *size > 0 && *size + encoded.len() > BATCH_BYTES {
                parts.send_to(message.to, &std::mem::take(batch));
                *size = 0;
            }
            *size += encoded.len();
            batch.push(encoded);
        }
        for (to, batch) in by_server {
            parts.send_to(to, &batch);
        }
    }

    fn send_snapshot(&self, message: Message, source: SnapshotSource) {
        let Some(parts) = self.parts.get() else {
            return;
        };
        match parts.directory.name_of(message.to) {
            Some(name) => parts.snapshots.send_snapshot(name, message, source),
            None => drop(parts.raft.snapshot_sent(message.to, false)),
        }
    }

    fn reconfigured(&self, _conf_state: &ConfState) {
        if let Some(parts) = self.parts.get() {
            parts.members.refresh();
        }
    }
}
