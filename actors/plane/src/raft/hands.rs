//! Performs what the core wants done.

use super::awake::Awake;
use super::core::{ApplyEffect, Effect, Effects, SaveSnapshot};
use super::handle::Shared;
use super::herald::Herald;
use super::message::RaftMessage;
use super::reminder::Reminder;
use super::transport::{SnapshotSource, Transport};
use super::waiting::Waiting;
use crate::wal::{Report, WalReport, WalWriter};
use kabuki_model::view::View as _;
use kabuki_store::Snapshot;
use raft::eraftpb::{ConfState, Message};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A caller tells the watches what is committed as soon as it is woken. One that does not look at
/// its answer must not keep them waiting.
const TELL: Duration = Duration::from_millis(50);

/// Sends the actor a message, after a while.
pub(super) type Later = Box<dyn Fn(Duration, RaftMessage) + Send>;

pub(super) struct Hands {
    pub(super) shared: Arc<Shared>,
    pub(super) herald: Herald,
    /// The actor will tell the watches soon, when nobody else has.
    pub(super) telling: bool,
    pub(super) wal: WalWriter,
    pub(super) report: Report,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) waiting: Waiting,
    pub(super) later: Later,
    pub(super) reminder: Reminder,
    pub(super) awake: Awake,
}

impl Effects for Hands {
    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Append(append) => self.wal.append(append, &self.report),
            Effect::Send(messages) => self.transport.send(messages),
            Effect::SendSnapshot(message) => self.send_snapshot(message),
            Effect::Applied(applied) => self.applied(applied),
            Effect::Installed(snapshot) => {
                let revision = snapshot.revision();
                self.herald.begin(revision);
                let index = snapshot.position().index;
                self.shared.snapshot_index.store(index, Ordering::Relaxed);
                self.publish(snapshot);
            }
            Effect::Refused { tokens, error } => {
                for token in tokens {
                    self.waiting.answer(token, error.clone().into());
                }
            }
            Effect::Read { tokens, outcome } => self.waiting.answer_reads(&tokens, &outcome),
            Effect::Reconfigured { token, outcome } => {
                self.waiting.answer_reconfiguration(token, outcome);
            }
            Effect::Configuration(conf_state) => self.configured(&conf_state),
            Effect::Leadership(now) => {
                self.shared.leadership.send_replace(now);
            }
            Effect::SaveSnapshot(save) => self.save_snapshot(save),
            Effect::Compact(index) => self.wal.compact(index, &self.report),
            Effect::Fetch(fetch) => self.wal.fetch(fetch, &self.report),
            Effect::Remind { after } => self.reminder.set(after),
            Effect::KeepAwake(awake) => self.awake.keep(awake),
            Effect::Wake { after, ticket } => (self.later)(after, RaftMessage::Wake(ticket)),
        }
    }
}

impl Hands {
    fn applied(&mut self, applied: ApplyEffect) {
        let ApplyEffect {
            snapshot,
            changes,
            answers,
        } = applied;
        self.publish(snapshot);
        self.herald.committed(changes);
        if answers.is_empty() {
            return self.herald.tell();
        }
        if !self.telling {
            self.telling = true;
            (self.later)(TELL, RaftMessage::Tell);
        }
        for (token, applied) in answers {
            self.waiting.answer(token, self.herald.answer(applied));
        }
    }

    pub(super) fn tell(&mut self) {
        self.telling = false;
        self.herald.tell();
    }

    pub(super) fn publish(&self, snapshot: Snapshot) {
        // After a restart the log is replayed: others have seen this already.
        if snapshot.position() < self.shared.snapshot.load().position() {
            return;
        }
        let revision = snapshot.revision();
        self.shared.snapshot.store(Arc::new(snapshot));
        self.shared.revision.send_if_modified(|present| {
            let changed = *present != revision;
            *present = revision;
            changed
        });
    }

    fn configured(&self, conf_state: &ConfState) {
        let alone = conf_state.voters == [self.shared.config.id]
            && conf_state.get_voters_outgoing().is_empty();
        self.shared.alone.store(alone, Ordering::Release);
        self.transport.reconfigured(conf_state);
    }

    fn save_snapshot(&self, save: SaveSnapshot) {
        let needed = save.about_bytes + self.shared.config.disk_reserve_bytes;
        if self.wal.room().unwrap_or(u64::MAX) < needed {
            let text = format!("{needed} bytes must be free for it");
            return (self.report)(WalReport::SnapshotFailed(text));
        }
        self.wal
            .save_snapshot(save.snapshot, save.conf_state, &self.report);
    }

    fn send_snapshot(&self, message: Message) {
        let (to, index) = (message.to, message.get_snapshot().get_metadata().index);
        match self.wal.open_snapshot(index) {
            Ok((file, bytes)) => {
                let source = SnapshotSource { file, bytes };
                self.transport.send_snapshot(message, source);
            }
            Err(e) => {
                tracing::warn!(to, error = %e, "a snapshot cannot be sent");
                (self.later)(Duration::ZERO, RaftMessage::SnapshotSent(to, false));
            }
        }
    }
}
