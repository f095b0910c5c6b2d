//! The way to other servers.

use raft::eraftpb::{ConfState, Message};
use std::fs::File;

/// Carries Raft messages. Messages may be lost, repeated and reordered; sending never waits.
/// Messages that arrive go to [`RaftHandle::step`](super::RaftHandle::step).
///
/// A server that cannot be reached is reported with
/// [`RaftHandle::unreachable`](super::RaftHandle::unreachable), a connection that breaks with
/// [`RaftHandle::peer_lost`](super::RaftHandle::peer_lost): the first costs a little, the second
/// begins an election when it was the leader's. Neither does harm when it is wrong.
pub trait Transport: Send + Sync + 'static {
    /// Sends each message to the server that its `to` names. Called by the actor and by the log's
    /// thread, in a runtime or not.
    fn send(&self, messages: Vec<Message>);

    /// Sends a snapshot to the server that the message's `to` names: the message and all of the
    /// file's bytes, by a way that does not hold up other messages. Does not wait; when it is
    /// over, [`RaftHandle::snapshot_sent`](super::RaftHandle::snapshot_sent) must be told, once,
    /// however it ended. On the other side the bytes go to a file of their own
    /// ([`RaftHandle::incoming_snapshot`](super::RaftHandle::incoming_snapshot) names one), and
    /// it and the message to
    /// [`RaftHandle::receive_snapshot`](super::RaftHandle::receive_snapshot).
    fn send_snapshot(&self, message: Message, source: SnapshotSource);

    /// The servers of the cluster have changed, or are known again after a restart.
    fn reconfigured(&self, conf_state: &ConfState);
}

/// A snapshot file to be sent. It stays readable, also when newer ones have taken its place. The
/// receiver checks its checksums.
#[derive(Debug)]
pub struct SnapshotSource {
    /// Open for reading, at its beginning.
    pub file: File,
    /// How many bytes it has.
    pub bytes: u64,
}

/// For a cluster of one: there is nobody to send to.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoTransport;

impl Transport for NoTransport {
    fn send(&self, messages: Vec<Message>) {
        // A lost message is part of the contract; here all are.
        drop(messages);
    }

    fn send_snapshot(&self, _message: Message, source: SnapshotSource) {
        // The transfer counts as lost after a while, which changes nothing for anybody.
        drop(source);
    }

    fn reconfigured(&self, conf_state: &ConfState) {
        if conf_state.get_voters().len() > 1 {
            tracing::warn!("a cluster of several servers has no transport");
        }
    }
}
