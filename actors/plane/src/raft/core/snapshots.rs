//! Snapshots: when one is written, and how one gets to a server that fell behind.
//!
//! A follower that needs entries which the log no longer has gets the newest snapshot file,
//! provided that its servers include the follower; otherwise one is written first. raft-rs sees
//! the file's metadata only. What travels is the shell's business.

use super::effect::{Effect, Effects};
use super::replica::{CoreError, Replica};
use kabuki_store::{Position, Snapshot};
use raft::eraftpb::{ConfState, Message, MessageType};
use raft::{ProgressState, SnapshotStatus};
use std::path::PathBuf;

/// After this long without a word (half an hour at 50 ms) a transfer counts as lost.
const TRANSFER_TICKS: u64 = 36_000;

/// How long (5 s at 50 ms) a follower waits when its snapshot could not be written.
const RETRY_TICKS: u64 = 100;

/// A snapshot file that is being written.
pub(super) struct Saving {
    at: Position,
    conf_state: ConfState,
}

/// Another server's state, before raft-rs has accepted it.
pub(super) struct Incoming {
    pub(super) snapshot: Snapshot,
    pub(super) conf_state: ConfState,
    pub(super) file: Option<PathBuf>,
}

impl Replica {
    pub(super) fn save_snapshot_if_wanted(&mut self, out: &mut dyn Effects) {
        let wanted = self.node.store().wants_snapshot() && self.clock >= self.save_not_before;
        if self.saving.is_some() || !(wanted || self.applier.snapshot_is_due()) {
            return;
        }
        let conf_state = self.conf_state().clone();
        self.saving = Some(Saving {
            at: self.applier.applied(),
            conf_state: conf_state.clone(),
        });
        let save = self.applier.begin_save(conf_state);
        out.perform(Effect::SaveSnapshot(save));
    }

    /// The snapshot file is durable and has this many bytes; from it or an older one that is
    /// kept, the state can be restored with the log after `keep_after`.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn snapshot_saved(
        &mut self,
        bytes: u64,
        keep_after: u64,
        out: &mut dyn Effects,
    ) -> Result<(), CoreError> {
        self.applier.snapshot_saved(bytes);
        if let Some(Saving { at, conf_state }) = self.saving.take() {
            self.node.mut_store().set_available(at, conf_state);
        }
        // Whoever is being sent a snapshot will need the entries after it.
        let sending = self.node.store().oldest_sending();
        let keep_after = sending.map_or(keep_after, |index| keep_after.min(index));
        self.node.mut_store().compact(keep_after);
        out.perform(Effect::Compact(keep_after));
        for id in self.node.mut_store().take_wanting() {
            if self.leads() && self.node.raft.prs().get(id).is_some() {
                self.node.raft.send_append(id);
            }
        }
        self.drive(out)
    }

    /// The snapshot file could not be written. It is tried again when the next one is due, or a
    /// follower still needs it.
    pub fn snapshot_failed(&mut self) {
        self.saving = None;
        self.save_not_before = self.clock + RETRY_TICKS;
    }

    /// Whether the state that this message announces is news. Worth asking before it is read.
    pub fn wants(&self, message: &Message) -> bool {
        let at = message.get_snapshot().get_metadata().index;
        !self.removed
            && message.to == self.id
            && message.get_msg_type() == MessageType::MsgSnapshot
            && message.term >= self.node.raft.term
            && at > self.node.raft.raft_log.committed
    }

    /// Another server's state has arrived: the message of its [`Effect::SendSnapshot`] and what
    /// came with it, read from `file`. Returns whether it is taken; when it is not, `file` is of
    /// no more use.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn snapshot_received(
        &mut self,
        message: Message,
        snapshot: Snapshot,
        file: Option<PathBuf>,
        out: &mut dyn Effects,
    ) -> Result<bool, CoreError> {
        let metadata = message.get_snapshot().get_metadata();
        let at = Position {
            index: metadata.index,
            term: metadata.term,
        };
        if !self.wants(&message) || snapshot.position() != at {
            return Ok(false);
        }
        self.incoming = Some(Incoming {
            snapshot,
            conf_state: metadata.get_conf_state().clone(),
            file,
        });
        self.step_node(message);
        self.drive(out)?;
        Ok(self.incoming.take().is_none())
    }

    /// The snapshot was given to the server, or was lost on the way. To be called exactly once
    /// for every [`Effect::SendSnapshot`].
    ///
    /// # Errors
    /// A broken invariant.
    pub fn snapshot_sent(
        &mut self,
        to: u64,
        ok: bool,
        out: &mut dyn Effects,
    ) -> Result<(), CoreError> {
        if self.node.mut_store().sent(to) {
            let status = match ok {
                true => SnapshotStatus::Finish,
                false => SnapshotStatus::Failure,
            };
            self.node.report_snapshot(to, status);
        }
        self.drive(out)
    }

    pub(super) fn expire_transfers(&mut self) {
        let since = self.clock.saturating_sub(TRANSFER_TICKS);
        for to in self.node.mut_store().expired(since) {
            tracing::warn!(to, "a snapshot that was sent has not been heard of again");
            self.node.report_snapshot(to, SnapshotStatus::Failure);
        }
    }

    /// The index of the snapshot that a server waits for.
    pub(super) fn snapshot_for(progress: &raft::Progress) -> Option<u64> {
        (progress.state == ProgressState::Snapshot).then_some(progress.pending_snapshot)
    }
}
