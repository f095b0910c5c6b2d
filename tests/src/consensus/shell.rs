//! Performs what a replica wants done, in order.

use super::Invariant;
use super::bugs::Bug;
use super::server::{Asked, history};
use super::world::{Happening, World};
use kabuki_model::view::View as _;
use kabuki_plane::raft::RaftError;
use kabuki_plane::raft::core::eraftpb::{Message, MessageType};
use kabuki_plane::raft::core::{Append, ApplyEffect, Effect, Fetch};
use kabuki_store::Snapshot;

impl World {
    pub fn perform(&mut self, id: u64, effects: Vec<Effect>) {
        // Only a planted bug knows appends as durable that are not.
        let mut early = None;
        for effect in effects {
            if !self.runs(id) {
                return;
            }
            match effect {
                Effect::Append(mut append) => {
                    if self.is_called_durable_early(id, &append) {
                        early = Some(append.number);
                        self.send(id, std::mem::take(&mut append.messages));
                    }
                    self.append(id, append);
                }
                Effect::Send(messages) => self.send(id, messages),
                Effect::SendSnapshot(message) => self.carry_snapshot(message),
                Effect::Applied(applied) => self.applied(id, applied),
                Effect::Installed(snapshot) => self.installed(id, snapshot),
                Effect::Refused { tokens, error } => {
                    for token in tokens {
                        self.refused(id, token, &error);
                    }
                }
                Effect::Read { tokens, outcome } => {
                    for token in tokens {
                        self.read_ends(id, token, &outcome);
                    }
                }
                Effect::Reconfigured { token, outcome } => {
                    self.say(format_args!(
                        "{id}: a change of the servers ends: {outcome:?}"
                    ));
                    self.stats.changes += u64::from(outcome.is_ok());
                    let _ = self.take_asked(id, token);
                }
                Effect::Configuration(conf) => {
                    if let Some(server) = self.servers.get_mut(&id) {
                        server.changed_at = server.published.position().index;
                    }
                    self.audit_configuration(id, &conf);
                }
                Effect::Leadership(now) => {
                    self.say(format_args!("{id}: {now:?}"));
                    if let Some(server) = self.servers.get_mut(&id) {
                        server.leadership = now;
                    }
                    self.audit_leadership(id, now);
                }
                Effect::SaveSnapshot(save) => {
                    if let Some(server) = self.servers.get_mut(&id) {
                        server.disk.saving = Some(save);
                        let life = server.life;
                        let ok = !(self.faults.active && self.random.chance(100));
                        let delay = self.random.millis(2, 120);
                        self.after(delay, Happening::Saved { id, life, ok });
                    }
                }
                Effect::Compact(through) => {
                    if let Some(server) = self.servers.get_mut(&id) {
                        server.disk.compact(through);
                    }
                }
                Effect::Fetch(fetch) => {
                    let life = self.life(id);
                    let delay = self.random.micros(100, 8000);
                    self.after(delay, Happening::Fetched { id, life, fetch });
                }
                Effect::Wake { after, ticket } => {
                    let life = self.life(id);
                    self.after(after, Happening::Wake { id, life, ticket });
                }
                // Time passes only while something happens.
                Effect::KeepAwake(_) => {}
                Effect::Remind { after } => {
                    let late = self.random.micros(0, after.as_micros() as u64);
                    if let Some(server) = self.servers.get_mut(&id) {
                        server.reminders += 1;
                        let (life, number) = (server.life, server.reminders);
                        self.after(after + late, Happening::Remind { id, life, number });
                    }
                }
            }
        }
        if let Some(number) = early {
            self.call(id, |replica, out| replica.persisted(number, out));
        }
    }

    fn life(&self, id: u64) -> u64 {
        self.servers.get(&id).map_or(0, |s| s.life)
    }

    fn is_called_durable_early(&self, id: u64, append: &Append) -> bool {
        let leads = self.servers.get(&id).is_some_and(|s| s.leadership.leading);
        match self.bug {
            Some(Bug::AcknowledgesBeforeItIsDurable) => true,
            Some(Bug::PromisesBeforeItIsDurable) => !leads && !append.entries.is_empty(),
            Some(Bug::VotesBeforeItIsDurable) => append.entries.is_empty(),
            _ => false,
        }
    }

    fn append(&mut self, id: u64, append: Append) {
        let (first, last) = (append.entries.first(), append.entries.last());
        let (first, last) = (first.map(|e| e.index), last.map(|e| e.index));
        self.say(format_args!(
            "{id}: append {} of {first:?} to {last:?}",
            append.number
        ));
        if let Some(server) = self.servers.get_mut(&id) {
            server.disk.queue(append);
        }
        self.sync_soon(id);
    }

    pub fn send(&mut self, id: u64, messages: Vec<Message>) {
        for mut message in messages {
            self.audit_message(id, &message);
            if self.bug == Some(Bug::CommitsAlone)
                && message.get_msg_type() == MessageType::MsgAppend
            {
                message.commit = message.index + message.entries.len() as u64;
            }
            let votes = matches!(
                message.get_msg_type(),
                MessageType::MsgRequestVote | MessageType::MsgRequestVoteResponse
            );
            if votes && self.faults.active && self.random.chance(self.faults.crash_at_vote) {
                let life = self.life(id);
                let delay = self.random.micros(0, 1000);
                self.after(delay, Happening::Crash { id, life });
            }
            self.carry(message);
        }
    }

    fn applied(&mut self, id: u64, applied: ApplyEffect) {
        self.audit_applied(id, &applied);
        let ApplyEffect {
            snapshot,
            changes,
            answers,
        } = applied;
        if let Some(server) = self.servers.get_mut(&id) {
            server.published = snapshot;
            for change in &changes {
                server.history.push(change);
            }
        }
        for (token, outcome) in answers {
            if let Some(asked) = self.take_asked(id, token) {
                self.write_ends(token, &asked, outcome);
            }
        }
    }

    fn installed(&mut self, id: u64, snapshot: Snapshot) {
        let at = snapshot.position();
        self.say(format_args!(
            "{id}: goes on from a state at {}/{}",
            at.index, at.term
        ));
        self.audit_state(id, &snapshot);
        if let Some(server) = self.servers.get_mut(&id) {
            if server.history.revision() < snapshot.revision() {
                server.history = history(&snapshot);
            }
            server.published = snapshot;
        }
    }

    /// Takes the question that an answer belongs to; there must be one.
    pub fn take_asked(&mut self, id: u64, token: u64) -> Option<Asked> {
        let asked = self.servers.get_mut(&id)?.asked.remove(&token);
        if asked.is_none() {
            let detail = format!("server {id} answers {token}, which nobody asked");
            self.violate(Invariant::EveryQuestionIsAnsweredOnce, detail);
        }
        asked
    }

    fn refused(&mut self, id: u64, token: u64, error: &RaftError) {
        if let Some(asked) = self.take_asked(id, token) {
            self.write_fails(token, &asked, error);
        }
    }

    pub fn fetched(&mut self, id: u64, fetch: Fetch) {
        let Some(server) = self.servers.get(&id) else {
            return;
        };
        let entries = server.disk.entries(fetch.low, fetch.high);
        self.call(id, |replica, out| {
            replica.fetched(fetch.ticket, entries, out)
        });
    }

    pub fn snapshot_sent(&mut self, from: u64, to: u64, ok: bool) {
        if self.bug == Some(Bug::ForgetsWhatBecameOfSnapshots) {
            return;
        }
        self.call(from, |replica, out| replica.snapshot_sent(to, ok, out));
    }
}
