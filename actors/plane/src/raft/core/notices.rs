//! Notices: messages of the leader that bring no entries and only say that more is committed.
//!
//! raft-rs answers each like any other append, although the leader has the same answer already. On
//! a quiet cluster every write is followed by a notice to every server, so the answers would be a
//! quarter of all messages. One is left out only when the leader was promised those entries before,
//! and only once for each notice: should that promise have been lost, the leader asks again with
//! the next heartbeat, with nothing new committed, and is answered.

use super::replica::Replica;
use raft::eraftpb::{Message, MessageType};

/// What the leader of a term was last told that this server has.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Promised {
    leader: u64,
    term: u64,
    index: u64,
}

impl Promised {
    /// Takes note of messages that will be sent, in this order, unless this server fails before.
    pub(super) fn note(&mut self, messages: &[Message]) {
        for message in messages.iter().filter(|m| is_promise(m)) {
            *self = Self {
                leader: message.to,
                term: message.term,
                index: message.index,
            };
        }
    }
}

impl Replica {
    /// Whether the leader learns nothing from an answer to this message.
    pub(super) fn is_notice(&self, message: &Message) -> bool {
        let (raft, promised) = (&self.node.raft, self.promised);
        message.get_msg_type() == MessageType::MsgAppend
            && message.entries.is_empty()
            && message.commit > raft.raft_log.committed
            && (message.from, message.term) == (promised.leader, promised.term)
            && message.term == raft.term
            && message.index <= promised.index
    }

    /// Takes back the answer to the message that was stepped last.
    pub(super) fn leave_unanswered(&mut self) {
        self.node.raft.msgs.pop_if(|m| is_promise(m));
    }
}

fn is_promise(message: &Message) -> bool {
    message.get_msg_type() == MessageType::MsgAppendResponse && !message.reject
}
