//! Drives raft-rs: proposals in, Readys out to the Wal, the transport and the applier.
//!
//! Persisting overlaps with everything else (raft-rs' asynchronous Readys): while the log's
//! thread syncs, the next entries are proposed and wait for the next sync together.

use super::actor::RaftArgs;
use super::applier::{Applier, Reconfiguration};
use super::entry;
use super::error::RaftError;
use super::handle::{Leadership, Shared};
use super::intake::Proposal;
use super::storage::{LogStorage, Wanted};
use super::transport::Transport;
use crate::wal::{Append, Recovered, Report, WalReport, WalWriter};
use crate::watch::WatchMessage;
use kabuki_store::{Restored, SnapshotError, Store, read_snapshot};
use raft::eraftpb::{ConfState, Message, Snapshot as SnapshotMessage};
use raft::{RawNode, Ready, SnapshotStatus, StateRole, Storage as _};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

mod log;

/// Where an entry is closed: large enough that its overhead does not count, small enough to be
/// sent to followers while the next one is made.
const ENTRY_BYTES: usize = 1 << 20;

/// A broken invariant; the group starts again from the disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    #[error("raft refuses: {0}")]
    Raft(#[from] raft::Error),
    #[error("cannot apply: {0}")]
    Entry(#[from] entry::EntryError),
    #[error("cannot read a configuration change: {0}")]
    Configuration(#[from] protobuf::ProtobufError),
    #[error("the leader's snapshot cannot be read: {0}")]
    Snapshot(#[from] SnapshotError),
    #[error("the log has failed: {0}")]
    Log(String),
}

pub(crate) struct Driver {
    node: RawNode<LogStorage>,
    applier: Applier,
    shared: Arc<Shared>,
    wal: WalWriter,
    report: Report,
    transport: Arc<dyn Transport>,
    unpersisted: VecDeque<Unpersisted>,
    /// What waits for entries that the Wal reads, in the order of the questions.
    fetching: VecDeque<Wanted>,
}

/// A Ready that is not known to be on disk.
struct Unpersisted {
    number: u64,
    /// Whether the Wal has a part of it; otherwise it only waits for those before it.
    in_wal: bool,
    /// Promises to other servers, to be made when it is.
    messages: Vec<Message>,
}

impl Driver {
    pub(crate) fn start(
        args: RaftArgs,
        recovered: Recovered,
        wal: WalWriter,
        report: Report,
    ) -> Result<Self, DriveError> {
        let RaftArgs {
            shared,
            watch,
            transport,
            ..
        } = args;
        let at = recovered.snapshot.position();
        let revision = kabuki_model::view::View::revision(&recovered.snapshot);
        shared.leadership.send_replace(Leadership::default());
        shared.snapshot_index.store(at.index, Ordering::Relaxed);
        // Everything after this revision will pass by the watches.
        let _ = watch.cast(WatchMessage::Begin { revision });
        let conf_state = recovered.conf_state.clone();
        let mut storage = LogStorage::new(recovered.base, recovered.hard_state, conf_state);
        storage.append(&recovered.entries);
        let config = raft::Config {
            id: shared.config.id,
            election_tick: 10,
            heartbeat_tick: 2,
            applied: at.index,
            max_size_per_msg: ENTRY_BYTES as u64,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            ..raft::Config::default()
        };
        let node = RawNode::new(&config, storage, &log::logger())?;
        let store = Store::from_snapshot(recovered.snapshot);
        let applier = Applier::new(shared.clone(), watch, store);
        let (unpersisted, fetching) = Default::default();
        let mut driver = Self {
            node,
            applier,
            shared,
            wal,
            report,
            transport,
            unpersisted,
            fetching,
        };
        driver.transport.reconfigured(driver.conf_state());
        if driver.conf_state().voters == [driver.shared.config.id] {
            // Nobody else could win: no need to wait for an election.
            driver.node.campaign()?;
        }
        driver.drive()?;
        Ok(driver)
    }

    /// Proposes all that waits in the intake, in as few entries as possible.
    pub(crate) fn propose_waiting(&mut self) -> Result<(), DriveError> {
        let mut waiting = self.shared.intake.take().into_iter().peekable();
        if waiting.peek().is_none() {
            return Ok(());
        }
        if let Some(refusal) = self.refusal() {
            waiting.for_each(|p| drop(p.reply.send(Err(refusal.clone()))));
            return Ok(());
        }
        while waiting.peek().is_some() {
            let mut size = 0;
            let mut batch = Vec::new();
            while let Some(next) =
                waiting.next_if(|p| batch.is_empty() || size + p.encoded.len() <= ENTRY_BYTES)
            {
                size += next.encoded.len();
                batch.push(next);
            }
            self.propose(batch);
        }
        self.drive()
    }

    fn propose(&mut self, batch: Vec<Proposal>) {
        let content = entry::join(batch.iter().map(|p| p.encoded.as_slice()));
        match self.node.propose(Vec::new(), content) {
            Ok(()) => {
                let index = self.node.raft.raft_log.last_index();
                self.applier.expect(index, self.node.raft.term, batch);
            }
            // Leadership is being handed over.
            Err(_) => batch
                .into_iter()
                .for_each(|p| drop(p.reply.send(Err(RaftError::Unavailable)))),
        }
    }

    /// Why nothing can be proposed now.
    fn refusal(&self) -> Option<RaftError> {
        if self.node.raft.state != StateRole::Leader {
            let leader = self.leader();
            return Some(RaftError::NotLeader { leader });
        }
        let reserve_bytes = self.shared.config.disk_reserve_bytes;
        // When the file system does not tell, writing will.
        let free_bytes = self.wal.room().unwrap_or(u64::MAX);
        let full = free_bytes < reserve_bytes;
        self.shared.disk_full.store(full, Ordering::Relaxed);
        full.then_some(RaftError::DiskFull {
            free_bytes,
            reserve_bytes,
        })
    }

    pub(crate) fn reported(&mut self, report: WalReport) -> Result<(), DriveError> {
        match report {
            WalReport::Persisted(number) => {
                self.persisted(number);
                return self.drive();
            }
            WalReport::Fetched(entries) => {
                if let Some(wanted) = self.fetching.pop_front() {
                    self.node.mut_store().set_fetched(entries);
                    self.node.on_entries_fetched(wanted.context);
                    self.node.mut_store().set_fetched(Vec::new());
                    return self.drive();
                }
            }
            WalReport::SnapshotSaved { saved, keep_after } => {
                self.applier.snapshot_saved(saved.bytes);
                self.shared
                    .snapshot_index
                    .store(saved.at.index, Ordering::Relaxed);
                self.node.mut_store().compact(keep_after);
                self.wal.compact(keep_after, &self.report);
            }
            WalReport::SnapshotFailed(error) => {
                tracing::warn!(
                    error,
                    "a snapshot could not be written; the log grows meanwhile"
                );
                self.applier.snapshot_failed();
            }
            WalReport::Encoded(snapshot) => self.node.mut_store().set_outgoing(*snapshot),
            WalReport::Compacted => {}
            WalReport::NoSpace => self.disk_is_full(),
            WalReport::Failed(error) => return Err(DriveError::Log(error)),
        }
        Ok(())
    }

    pub(crate) fn disk_is_full(&mut self) {
        if !self.shared.disk_full.swap(true, Ordering::Relaxed) {
            tracing::error!("the disk is full: writes wait until there is room");
        }
    }

    pub(crate) fn retry_disk(&mut self) {
        self.wal.retry(&self.report);
    }

    pub(crate) fn step(&mut self, message: Message) -> Result<(), DriveError> {
        if let Err(e) = self.node.step(message) {
            // A message of a removed or unknown server: not worth a restart.
            tracing::debug!(error = %e, "a raft message was ignored");
        }
        self.drive()
    }

    pub(crate) fn tick(&mut self) -> Result<(), DriveError> {
        self.node.tick();
        self.drive()
    }

    pub(crate) fn unreachable(&mut self, id: u64) {
        self.node.report_unreachable(id);
        // A snapshot may have been lost with it: without this it would never be sent again.
        self.node.report_snapshot(id, SnapshotStatus::Failure);
    }

    pub(crate) fn has_peers(&self) -> bool {
        let conf = self.conf_state();
        conf.voters.len() + conf.learners.len() + conf.voters_outgoing.len() > 1
    }

    fn conf_state(&self) -> &ConfState {
        self.node.store().conf_state()
    }

    fn leader(&self) -> Option<u64> {
        Some(self.node.raft.leader_id).filter(|id| *id != raft::INVALID_ID)
    }

    /// Does all that raft-rs has to do, then tells who leads.
    fn drive(&mut self) -> Result<(), DriveError> {
        while self.node.has_ready() {
            let ready = self.node.ready();
            self.handle_ready(ready)?;
        }
        let conf_state = self.conf_state().clone();
        if let Some(snapshot) = self
            .applier
            .due_snapshot(|| self.wal.room().unwrap_or(u64::MAX))
        {
            self.wal
                .save_snapshot(snapshot, conf_state.clone(), &self.report);
        }
        if self.node.store().take_wants_snapshot() {
            self.wal
                .encode_snapshot(self.applier.snapshot(), conf_state, &self.report);
        }
        for wanted in self.node.store().take_wanted() {
            self.wal
                .fetch(wanted.low, wanted.high, wanted.max_bytes, &self.report);
            self.fetching.push_back(wanted);
        }
        self.publish_leadership();
        Ok(())
    }

    fn handle_ready(&mut self, mut ready: Ready) -> Result<(), DriveError> {
        self.send(ready.take_messages());
        let mut append = Append {
            number: ready.number(),
            ..Append::default()
        };
        if !ready.snapshot().is_empty() {
            append.restart = Some(Box::new(self.install(ready.snapshot())?));
        }
        self.apply(&mut ready)?;
        append.entries = ready.take_entries();
        if let Some(hard_state) = ready.hs() {
            self.node.mut_store().set_hard_state(hard_state.clone());
        }
        self.node.mut_store().append(&append.entries);
        // The commit index alone need not be on disk: it goes along with the next entries.
        let in_wal = ready.must_sync() || append.restart.is_some() || !append.entries.is_empty();
        let unpersisted = Unpersisted {
            number: append.number,
            in_wal,
            messages: ready.take_persisted_messages(),
        };
        self.unpersisted.push_back(unpersisted);
        self.node.advance_append_async(ready);
        if in_wal {
            append.hard_state = Some(self.node.store().hard_state().clone());
            self.wal.append(append, &self.report);
        } else {
            self.persisted(0);
        }
        Ok(())
    }

    fn apply(&mut self, ready: &mut Ready) -> Result<(), DriveError> {
        let committed = ready.take_committed_entries();
        let Some(last) = committed.last().map(|e| e.index) else {
            return Ok(());
        };
        for change in self.applier.apply(committed)? {
            let conf_state = match change {
                Reconfiguration::Single(change) => self.node.apply_conf_change(&change)?,
                Reconfiguration::Joint(change) => self.node.apply_conf_change(&change)?,
            };
            self.transport.reconfigured(&conf_state);
            self.node.mut_store().set_conf_state(conf_state);
        }
        self.node.advance_apply_to(last);
        self.node.mut_store().evict(last);
        Ok(())
    }

    /// Puts a leader's snapshot in the place of the state.
    fn install(
        &mut self,
        message: &SnapshotMessage,
    ) -> Result<(kabuki_store::Snapshot, ConfState), DriveError> {
        let Restored { snapshot, .. } = read_snapshot(&message.data[..])?;
        let conf_state = message.get_metadata().get_conf_state().clone();
        self.applier.install(snapshot.clone());
        self.shared
            .snapshot_index
            .store(snapshot.position().index, Ordering::Relaxed);
        self.node
            .mut_store()
            .restart_after(snapshot.position(), conf_state.clone());
        self.transport.reconfigured(&conf_state);
        Ok((snapshot, conf_state))
    }

    /// Everything up to `number` is on disk, and whatever follows and needs no disk.
    fn persisted(&mut self, number: u64) {
        let done = |u: &mut Unpersisted| u.number <= number || !u.in_wal;
        while let Some(unpersisted) = self.unpersisted.pop_front_if(done) {
            self.node.on_persist_ready(unpersisted.number);
            self.send(unpersisted.messages);
        }
    }

    fn send(&self, messages: Vec<Message>) {
        if !messages.is_empty() {
            self.transport.send(messages);
        }
    }

    fn publish_leadership(&self) {
        let raft = &self.node.raft;
        let leading = raft.state == StateRole::Leader
            && self.applier.applied().term == raft.term
            && self.node.store().term(self.applier.applied().index).is_ok();
        let now = Leadership {
            term: raft.term,
            leader: self.leader(),
            leading,
        };
        self.shared.leadership.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
    }
}
