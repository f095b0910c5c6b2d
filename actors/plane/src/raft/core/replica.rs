//! The replica: its parts, its start, and what goes in.

use super::applier::{Applier, Work};
use super::effect::{Append, Effect, Effects, Proposed, Recovered};
use super::election::{Election, Leadership, TICKS_PER_ELECTION, TICKS_PER_HEARTBEAT};
use super::entry::{self, ENTRY_VERSION, EntryError, OLDEST_ENTRY_VERSION};
use super::logger;
use super::membership::{Contacts, Reconfiguring};
use super::notices::{Notices, Promised};
use super::pace::Pace;
use super::reads::Reads;
use super::snapshots::{Incoming, Saving};
use super::storage::LogStorage;
use crate::raft::RaftError;
use kabuki_store::{Position, Snapshot, Store};
use raft::eraftpb::{ConfState, Entry, Message, MessageType};
use raft::{INVALID_ID, RawNode, ReadOnlyOption, StateRole};
use std::collections::VecDeque;

/// Where an entry is closed: large enough that its overhead does not count, small enough to be
/// sent to followers while the next one is made.
const ENTRY_BYTES: usize = 1 << 20;

/// How many messages with entries are on their way to one server.
const MESSAGES_IN_FLIGHT: usize = 256;

/// How a replica takes part.
#[derive(Debug, Clone, Copy)]
pub struct ReplicaConfig {
    /// This server; not zero.
    pub id: u64,
    /// What cannot be left to chance in a simulation: the lengths of time-outs. Another one for
    /// each server and each start of it.
    pub seed: u64,
    /// The version of the entries that this server writes.
    pub entry_version: u8,
    /// Bytes of log (at least) between two snapshots.
    pub snapshot_bytes: u64,
    /// Commands (at least) between two snapshots.
    pub snapshot_commands: u64,
    /// After a tick with at least so many entries the next is expected soon: what is committed is
    /// told together with it, and the machine is to stay awake until then.
    pub close_entries: u32,
}

/// A broken invariant: the replica must start again from what is durable.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// raft-rs does not accept a call.
    #[error("raft refuses: {0}")]
    Raft(#[from] raft::Error),
    /// A committed entry cannot be applied.
    #[error("cannot apply: {0}")]
    Entry(#[from] EntryError),
    /// A committed configuration cannot be read.
    #[error("cannot read a configuration change: {0}")]
    Configuration(#[from] protobuf::ProtobufError),
    /// raft-rs goes on from a snapshot that the present call did not bring.
    #[error("raft wants to go on from a state that has not arrived")]
    NoState,
    /// The configured version is not one of those that this program knows.
    #[error(
        "entries of version {0} cannot be written, only {OLDEST_ENTRY_VERSION} to {ENTRY_VERSION}"
    )]
    EntryVersion(u8),
}

/// One server's part in the consensus.
pub struct Replica {
    pub(super) id: u64,
    pub(super) node: RawNode<LogStorage>,
    pub(super) applier: Applier,
    entry_version: u8,
    /// Readys that are not known to be durable.
    pub(super) unpersisted: VecDeque<Unpersisted>,
    pub(super) promised: Promised,
    pub(super) notices: Notices,
    pub(super) pace: Pace,
    pub(super) election: Election,
    pub(super) reads: Reads,
    pub(super) contacts: Contacts,
    pub(super) reconfiguring: Option<Reconfiguring>,
    /// The snapshot file that is being written.
    pub(super) saving: Option<Saving>,
    /// When (in ticks) one that could not be written is tried again for a follower.
    pub(super) save_not_before: u64,
    /// The state that came with the message that is being handled.
    pub(super) incoming: Option<Incoming>,
    /// Ticks since the start.
    pub(super) clock: u64,
    pub(super) removed: bool,
    /// An entry that is committed, as the leader said that told of the removal.
    pub(super) told: Position,
    leadership: Leadership,
}

/// A Ready that is not known to be durable.
pub(super) struct Unpersisted {
    pub(super) number: u64,
    /// Whether there is an append of it; otherwise it only waits for those before it.
    pub(super) appended: bool,
    /// Whether its term or vote is new: nothing may be said under it before it is durable.
    pub(super) new_term: bool,
    /// Promises to other servers, to be made when it is.
    pub(super) messages: Vec<Message>,
}

impl Replica {
    /// Goes on where `recovered` ended.
    ///
    /// # Errors
    /// An entry version that this program does not know, or a broken invariant.
    pub fn start(
        config: ReplicaConfig,
        recovered: Recovered,
        out: &mut dyn Effects,
    ) -> Result<Self, CoreError> {
        let ReplicaConfig {
            id, entry_version, ..
        } = config;
        if !(OLDEST_ENTRY_VERSION..=ENTRY_VERSION).contains(&entry_version) {
            return Err(CoreError::EntryVersion(entry_version));
        }
        let at = recovered.snapshot.position();
        // A snapshot file may have become durable before the commit index did.
        let mut hard_state = recovered.hard_state;
        hard_state.commit = hard_state.commit.max(at.index);
        hard_state.term = hard_state.term.max(at.term);
        let conf_state = recovered.conf_state.clone();
        let mut storage = LogStorage::new(recovered.base, hard_state, conf_state);
        storage.set_available(at, recovered.conf_state);
        storage.append(&recovered.entries);
        let node = RawNode::new(
            &raft::Config {
                id,
                election_tick: TICKS_PER_ELECTION,
                heartbeat_tick: TICKS_PER_HEARTBEAT,
                applied: at.index,
                max_size_per_msg: ENTRY_BYTES as u64,
                max_inflight_msgs: MESSAGES_IN_FLIGHT,
                check_quorum: true,
                pre_vote: true,
                read_only_option: ReadOnlyOption::Safe,
                ..raft::Config::default()
            },
            storage,
            &logger::logger(),
        )?;
        let due = Work {
            bytes: config.snapshot_bytes,
            commands: config.snapshot_commands,
        };
        let mut replica = Self {
            id,
            node,
            applier: Applier::new(Store::from_snapshot(recovered.snapshot), due),
            entry_version,
            unpersisted: VecDeque::new(),
            promised: Promised::default(),
            notices: Notices::new(config.close_entries),
            pace: Pace::new(config.close_entries),
            election: Election::new(config.seed),
            reads: Reads::new(id, config.seed),
            contacts: Contacts::default(),
            reconfiguring: None,
            saving: None,
            save_not_before: 0,
            incoming: None,
            clock: 0,
            removed: false,
            told: Position::default(),
            leadership: Leadership::default(),
        };
        replica.begin(out)?;
        Ok(replica)
    }

    fn begin(&mut self, out: &mut dyn Effects) -> Result<(), CoreError> {
        let conf_state = self.conf_state().clone();
        self.removed = !conf_state.get_voters().is_empty() && !self.is_member();
        out.perform(Effect::Configuration(conf_state));
        self.settle_timeout();
        // First what is known to be committed: it may say who the voters are.
        self.drive(out)?;
        if self.removed {
            return Ok(());
        }
        if self.alone() {
            self.campaign()?;
            return self.drive(out);
        }
        self.campaign_soon(out);
        Ok(())
    }

    /// Proposes commands, in as few entries as possible. Each is answered by
    /// [`Effect::Applied`] or [`Effect::Refused`].
    ///
    /// # Errors
    /// A broken invariant.
    pub fn propose(
        &mut self,
        batch: Vec<Proposed>,
        out: &mut dyn Effects,
    ) -> Result<(), CoreError> {
        if let Some(error) = self.refusal() {
            refuse(batch.iter().map(|p| p.token), error, out);
            return Ok(());
        }
        let mut waiting = batch.into_iter().peekable();
        while waiting.peek().is_some() {
            let mut size = 0;
            let mut entry = Vec::new();
            while let Some(next) =
                waiting.next_if(|p| entry.is_empty() || size + p.encoded.len() <= ENTRY_BYTES)
            {
                size += next.encoded.len();
                entry.push(next);
            }
            self.propose_entry(entry, out);
        }
        self.drive(out)
    }

    fn propose_entry(&mut self, batch: Vec<Proposed>, out: &mut dyn Effects) {
        let content = entry::join(
            self.entry_version,
            batch.iter().map(|p| p.encoded.as_slice()),
        );
        if self.node.propose(Vec::new(), content).is_err() {
            // Leadership is being handed over.
            let tokens = batch.iter().map(|p| p.token);
            return refuse(tokens, RaftError::Unavailable, out);
        }
        let at = Position {
            index: self.node.raft.raft_log.last_index(),
            term: self.node.raft.term,
        };
        self.told_with_entry();
        let proposals = batch.into_iter().map(|p| (p.token, p.command)).collect();
        self.applier.expect(at, proposals);
    }

    /// Why nothing can be proposed now; `None` when it can.
    pub fn refusal(&self) -> Option<RaftError> {
        if self.removed {
            return Some(RaftError::Removed);
        }
        if self.leads() {
            return None;
        }
        Some(match self.leader() {
            _ if self.stranded() => RaftError::NoQuorum,
            None => RaftError::Unavailable,
            leader => RaftError::NotLeader { leader },
        })
    }

    /// Takes in a message of another server.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn step(&mut self, message: Message, out: &mut dyn Effects) -> Result<(), CoreError> {
        if message.to != self.id || message.from == self.id {
            return Ok(());
        }
        if self.removed {
            self.answer_as_removed(&message, out);
            return Ok(());
        }
        match message.get_msg_type() {
            // Proposals go to the leader by another way, which tells what became of them.
            MessageType::MsgPropose => return Ok(()),
            MessageType::MsgReadIndex => self.asked_for_a_round(message),
            // With the state itself it comes through `snapshot_received`.
            MessageType::MsgSnapshot => return self.told_of_removal(&message, out),
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
                if self.leads() && !self.knows(message.from) =>
            {
                self.tell_removed(message.from, out);
                return Ok(());
            }
            _ => self.step_node(message),
        }
        self.drive(out)
    }

    pub(super) fn step_node(&mut self, message: Message) {
        let (from, term, kind) = (message.from, message.term, message.get_msg_type());
        if self.knows(from) {
            self.contacts.heard(from, self.clock);
        }
        // Followers hear what is committed with the entries that are still to be committed.
        let more = message.index < self.node.raft.raft_log.last_index();
        let answer = kind == MessageType::MsgAppendResponse;
        self.hold_notices(answer && more);
        let notice = self.is_notice(&message);
        match self.node.step(message) {
            Ok(()) if notice => self.leave_unanswered(),
            Ok(()) => {}
            // A message of a removed or unknown server: not worth a restart.
            Err(e) => tracing::debug!(error = %e, "a raft message was ignored"),
        }
        let leads = matches!(
            kind,
            MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot
        );
        let raft = &self.node.raft;
        if leads && raft.leader_id == from && raft.term == term {
            self.election.heard();
        }
    }

    /// Every append up to this number is durable.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn persisted(&mut self, number: u64, out: &mut dyn Effects) -> Result<(), CoreError> {
        self.on_persisted(number, out);
        self.drive(out)
    }

    /// Whether anything would follow from [`persisted`](Self::persisted): otherwise it may be called
    /// with the next call of another kind, or later.
    pub fn waits_for_disk(&self) -> bool {
        let (raft, log) = (&self.node.raft, &self.node.raft.raft_log);
        let held = |u: &Unpersisted| u.new_term || !u.messages.is_empty();
        if self.alone() || self.unpersisted.iter().any(held) {
            return true;
        }
        match raft.state {
            // Its own disk counts where others are as far already.
            StateRole::Leader => {
                let mut others = raft.prs().iter().filter(|(id, _)| **id != raft.id);
                others.any(|(_, progress)| progress.matched > log.persisted)
            }
            // What is committed is applied once it is durable here.
            StateRole::Follower => log.committed > log.persisted,
            StateRole::Candidate | StateRole::PreCandidate => true,
        }
    }

    /// How many appends are not known to be durable.
    pub fn appends_in_flight(&self) -> usize {
        self.unpersisted.iter().filter(|u| u.appended).count()
    }

    /// The answer to an [`Effect::Fetch`].
    ///
    /// # Errors
    /// A broken invariant.
    pub fn fetched(
        &mut self,
        ticket: u64,
        entries: Vec<Entry>,
        out: &mut dyn Effects,
    ) -> Result<(), CoreError> {
        if let Some(context) = self.node.mut_store().take_fetching(ticket) {
            self.node.mut_store().set_fetched(entries);
            self.node.on_entries_fetched(context);
            self.node.mut_store().set_fetched(Vec::new());
        }
        self.drive(out)
    }

    /// A message to this server was lost, or may have been.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn unreachable(&mut self, id: u64, out: &mut dyn Effects) -> Result<(), CoreError> {
        self.node.report_unreachable(id);
        self.drive(out)
    }

    /// Who leads, as far as is known here.
    pub fn leadership(&self) -> Leadership {
        self.leadership
    }

    /// The state up to the last applied entry.
    pub fn snapshot(&self) -> Snapshot {
        self.applier.snapshot()
    }

    /// The servers, as of the last applied entry.
    pub fn conf_state(&self) -> &ConfState {
        self.node.store().conf_state()
    }

    /// Whether time means anything: alone there is nobody to lose contact with.
    pub fn needs_ticks(&self) -> bool {
        let conf = self.conf_state();
        let others = conf.voters.len() + conf.learners.len() + conf.voters_outgoing.len() > 1;
        !self.removed && (others || !self.leads() || self.reads.are_under_way())
    }

    pub(super) fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    pub(super) fn leader(&self) -> Option<u64> {
        Some(self.node.raft.leader_id).filter(|id| *id != INVALID_ID)
    }

    /// Whether this server is the only voter.
    pub fn alone(&self) -> bool {
        self.node.raft.promotable() && self.node.raft.prs().is_singleton()
    }

    pub(super) fn publish_leadership(&mut self, out: &mut dyn Effects) {
        let term = self.node.raft.term;
        let now = Leadership {
            term,
            leader: self.leader().filter(|_| !self.removed),
            leading: self.leads() && self.applier.applied().term == term,
            stranded: self.stranded(),
            removed: self.removed,
        };
        if now != self.leadership {
            self.leadership = now;
            out.perform(Effect::Leadership(now));
        }
    }
}

pub(super) fn refuse(tokens: impl Iterator<Item = u64>, error: RaftError, out: &mut dyn Effects) {
    let tokens: Vec<u64> = tokens.collect();
    if !tokens.is_empty() {
        out.perform(Effect::Refused { tokens, error });
    }
}

/// What a Ready wants durable, if anything.
pub(super) fn append(number: u64) -> Append {
    Append {
        number,
        ..Append::default()
    }
}
