//! The way to other servers.

use raft::eraftpb::{ConfState, Message};

/// Carries Raft messages. Messages may be lost, repeated and reordered; sending never waits.
/// Messages that arrive go to [`RaftHandle::step`](super::RaftHandle::step); a peer that cannot
/// be reached is reported with [`RaftHandle::unreachable`](super::RaftHandle::unreachable).
pub trait Transport: Send + Sync + 'static {
    /// Sends each message to the server that its `to` names.
    fn send(&self, messages: Vec<Message>);

    /// The servers of the cluster have changed.
    fn reconfigured(&self, conf_state: &ConfState);
}

/// For a cluster of one: there is nobody to send to.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoTransport;

impl Transport for NoTransport {
    fn send(&self, messages: Vec<Message>) {
        // A lost message is part of the contract; here all are.
        drop(messages);
    }

    fn reconfigured(&self, conf_state: &ConfState) {
        if conf_state.get_voters().len() > 1 {
            tracing::warn!("a cluster of several servers has no transport");
        }
    }
}
