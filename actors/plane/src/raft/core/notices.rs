//! Notices: messages of the leader that bring no entries and only say that more is committed.
//!
//! Every message with entries says that, too. While proposals follow each other closely, as when one
//! client writes one object after the other, a notice for each would be half of all messages, and
//! keep the other servers busy when the next entry arrives: notices wait for it, though not longer
//! than a moment. On a quiet cluster they are sent at once.
//!
//! raft-rs answers each like any other append, although the leader has the same answer already. On
//! a quiet cluster every write is followed by a notice to every server, so the answers would be a
//! quarter of all messages. One is left out only when the leader was promised those entries before,
//! and only once for each notice: should that promise have been lost, the leader asks again with
//! the next heartbeat, with nothing new committed, and is answered.

use super::effect::{Effect, Effects};
use super::replica::{CoreError, Replica};
use raft::eraftpb::{Message, MessageType};
use std::time::Duration;

/// How long a notice waits for the next entry.
const WAIT: Duration = Duration::from_millis(1);

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

/// Which notices wait.
#[derive(Debug)]
pub(super) struct Notices {
    /// They wait after a tick with at least so many entries.
    close_entries: u32,
    /// The entries of this tick.
    entries: u32,
    waiting: bool,
    /// The commit index that was told to the others with entries.
    told: u64,
    /// The commit index for which a reminder was asked for last.
    reminded: u64,
}

impl Notices {
    pub(super) fn new(close_entries: u32) -> Self {
        Self {
            close_entries,
            entries: 0,
            waiting: false,
            told: 0,
            reminded: 0,
        }
    }
}

impl Replica {
    /// Decides for the next tick whether notices wait.
    pub(super) fn tick_notices(&mut self) {
        let (leads, notices) = (self.leads(), &mut self.notices);
        let wait = leads && notices.entries >= notices.close_entries;
        if wait && !notices.waiting {
            // Up to here they were told at once.
            notices.told = self.node.raft.raft_log.committed;
        }
        notices.waiting = wait;
        notices.entries = 0;
    }

    /// An entry was proposed: what is committed by now goes along.
    pub(super) fn told_with_entry(&mut self) {
        self.notices.entries += 1;
        self.notices.told = self.node.raft.raft_log.committed;
    }

    /// Before something may be found to be committed; `more` says that further entries are under
    /// way, which will be followed by a notice.
    pub(super) fn hold_notices(&mut self, more: bool) {
        self.node.skip_bcast_commit(more || self.notices.waiting);
    }

    /// Asks to be reminded when the others have yet to be told of something.
    pub(super) fn remember_notices(&mut self, out: &mut dyn Effects) {
        let committed = self.node.raft.raft_log.committed;
        if self.notices.waiting && self.notices.reminded != committed && self.owes_notices() {
            self.notices.reminded = committed;
            out.perform(Effect::Remind { after: WAIT });
        }
    }

    fn owes_notices(&self) -> bool {
        let log = &self.node.raft.raft_log;
        self.leads() && self.notices.told < log.committed && log.committed == log.last_index()
    }

    /// The time of the last [`Effect::Remind`] is over.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn remind(&mut self, out: &mut dyn Effects) -> Result<(), CoreError> {
        if self.owes_notices() {
            self.notices.told = self.node.raft.raft_log.committed;
            self.node.raft.bcast_append();
        }
        self.drive(out)
    }

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
