//! What raft-rs wants done, one Ready after the other.
//!
//! Persisting overlaps with everything else (raft-rs' asynchronous Readys): while the log syncs,
//! the next entries are proposed and wait for the next sync together.

use super::applier::{ChangeOfServers, Reconfiguration};
use super::effect::{Effect, Effects, Restart};
use super::replica::{CoreError, Replica, Unpersisted, append};
use raft::Ready;
use raft::eraftpb::{Entry, Message, MessageType};

impl Replica {
    /// Does all that raft-rs has to do, then what follows from it.
    pub(super) fn drive(&mut self, out: &mut dyn Effects) -> Result<(), CoreError> {
        loop {
            self.ask_for_reads();
            if !self.node.has_ready() {
                break;
            }
            let ready = self.node.ready();
            self.handle_ready(ready, out)?;
        }
        self.settle_timeout();
        self.remember_notices(out);
        self.save_snapshot_if_wanted(out);
        for fetch in self.node.mut_store().take_wanted() {
            out.perform(Effect::Fetch(fetch));
        }
        if self.stranded() || self.removed {
            self.give_up(out);
        }
        self.publish_leadership(out);
        Ok(())
    }

    fn handle_ready(&mut self, mut ready: Ready, out: &mut dyn Effects) -> Result<(), CoreError> {
        let mut append = append(ready.number());
        let before = self.node.store().hard_state();
        let new_term = ready
            .hs()
            .is_some_and(|hs| (hs.term, hs.vote) != (before.term, before.vote));
        if !ready.snapshot().is_empty() {
            append.restart = Some(self.install(out)?);
        }
        append.entries = ready.take_entries();
        let storage = self.node.mut_store();
        if let Some(hard_state) = ready.hs() {
            storage.set_hard_state(hard_state.clone());
        }
        storage.append(&append.entries);
        let appended = new_term || append.restart.is_some() || !append.entries.is_empty();
        let at_once = ready.take_messages();
        let unpersisted = Unpersisted {
            number: append.number,
            appended,
            new_term,
            messages: ready.take_persisted_messages(),
        };
        self.promised.note(&unpersisted.messages);
        self.unpersisted.push_back(unpersisted);
        self.send_as_leader(at_once, out);
        if appended {
            if !append.entries.is_empty() {
                self.pace.wrote();
            }
            // The commit index alone need not be durable: it goes along with the next entries.
            append.hard_state = Some(self.node.store().hard_state().clone());
            append.messages = self.take_promises();
            out.perform(Effect::Append(append));
        }
        let committed = ready.take_committed_entries();
        let read_states = ready.take_read_states();
        // Before anything is applied: applying may append, which must not meet this Ready.
        self.node.advance_append_async(ready);
        self.apply(committed, out)?;
        self.reads_may_go(read_states, out);
        if !appended {
            self.on_persisted(0, out);
        }
        Ok(())
    }

    /// What the last Ready has to say once it is durable, without what needs a way of its own; and
    /// before it what is still unsaid, so that nothing is said in a former term later.
    fn take_promises(&mut self) -> Vec<Message> {
        let unsaid = self.unpersisted.iter_mut();
        unsaid
            .flat_map(|u| u.messages.extract_if(.., |m| !is_snapshot(m)))
            .collect()
    }

    /// A leader speaks while its entries are still being written, but not in a term that it
    /// might forget: alone it begins one without anybody's vote.
    fn send_as_leader(&mut self, messages: Vec<Message>, out: &mut dyn Effects) {
        let waits = self.unpersisted.iter().any(|u| u.new_term);
        match self.unpersisted.back_mut().filter(|_| waits) {
            Some(last) => last.messages.extend(messages),
            None => self.send(messages, out),
        }
    }

    fn apply(&mut self, committed: Vec<Entry>, out: &mut dyn Effects) -> Result<(), CoreError> {
        let Some(last) = committed.last().map(|e| e.index) else {
            return Ok(());
        };
        let leader = self.leader();
        for Reconfiguration { at, change } in self.applier.apply(committed, leader, out)? {
            let applied = match change {
                ChangeOfServers::Single(change) => self.node.apply_conf_change(&change),
                ChangeOfServers::Joint(change) => self.node.apply_conf_change(&change),
            };
            match applied {
                Ok(conf_state) => self.reconfigured(at, conf_state, out),
                // The same on every server; stopping all of them would not help.
                Err(e) => tracing::error!(error = %e, at.index, "a change of the servers is void"),
            }
        }
        self.reconfiguration_superseded(out);
        self.node.advance_apply_to(last);
        self.node.mut_store().evict(last);
        Ok(())
    }

    /// Puts a leader's snapshot in the place of the state.
    fn install(&mut self, out: &mut dyn Effects) -> Result<Box<Restart>, CoreError> {
        let incoming = self.incoming.take().ok_or(CoreError::NoState)?;
        let (at, conf_state) = (incoming.snapshot.position(), incoming.conf_state);
        self.applier.install(incoming.snapshot.clone(), out);
        let storage = self.node.mut_store();
        storage.restart_after(at, conf_state.clone());
        // Otherwise raft-rs would look for unapplied entries before it campaigns.
        self.node.raft.raft_log.applied = at.index;
        out.perform(Effect::Configuration(conf_state.clone()));
        Ok(Box::new(Restart {
            snapshot: incoming.snapshot,
            conf_state,
            file: incoming.file,
        }))
    }

    /// Everything up to `number` is durable, and whatever follows and needs no disk.
    pub(super) fn on_persisted(&mut self, number: u64, out: &mut dyn Effects) {
        let done = |u: &mut Unpersisted| u.number <= number || !u.appended;
        while let Some(unpersisted) = self.unpersisted.pop_front_if(done) {
            // Followers hear what is committed with what is yet to be.
            let more = self.unpersisted.iter().any(|u| u.appended);
            self.hold_notices(more);
            self.node.on_persist_ready(unpersisted.number);
            self.send(unpersisted.messages, out);
        }
    }

    fn send(&mut self, mut messages: Vec<Message>, out: &mut dyn Effects) {
        // Rare: most batches have none.
        for message in messages.extract_if(.., |m| is_snapshot(m)) {
            let index = message.get_snapshot().get_metadata().index;
            let clock = self.clock;
            self.node.mut_store().sending(message.to, index, clock);
            out.perform(Effect::SendSnapshot(message));
        }
        if !messages.is_empty() {
            out.perform(Effect::Send(messages));
        }
    }

    /// Nobody can tell what becomes of what waits.
    fn give_up(&mut self, out: &mut dyn Effects) {
        self.applier.abandon(out);
        self.abandon_reads(out);
        self.abandon_reconfiguration(out);
    }
}

fn is_snapshot(message: &Message) -> bool {
    message.get_msg_type() == MessageType::MsgSnapshot
}
