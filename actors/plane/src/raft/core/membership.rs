//! The servers of the cluster: changing them, and how they fare.
//!
//! One change at a time. Several servers at once change by joint consensus, which raft-rs leaves
//! by itself when it is committed.

use super::effect::{Effect, Effects};
use super::replica::{CoreError, Replica};
use crate::raft::RaftError;
use kabuki_store::Position;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Message,
    MessageType,
};
use raft::{INVALID_ID, ProgressState};
use std::collections::BTreeMap;

/// A change of the servers. They take effect together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconfigure {
    /// Get the state, but have no vote.
    pub add_learners: Vec<u64>,
    /// Learners that are to vote.
    pub promote: Vec<u64>,
    /// Voters that are to follow without a vote.
    pub demote: Vec<u64>,
    /// Servers that take no more part. Their ids must never be used again.
    pub remove: Vec<u64>,
}

/// The servers, and on the leader how they fare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Those with a vote.
    pub voters: Vec<u64>,
    /// Those whose vote counts until the change that is under way is over.
    pub outgoing: Vec<u64>,
    /// Those that follow without a vote.
    pub learners: Vec<u64>,
    /// The last entry here.
    pub last_index: u64,
    /// The last entry that is known to be committed.
    pub commit_index: u64,
    /// How each of the others fares. Only known to the leader.
    pub progress: Vec<MemberProgress>,
}

/// How a server fares, as the leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberProgress {
    /// Which.
    pub id: u64,
    /// It has the log up to this entry.
    pub match_index: u64,
    /// Ticks since it was last heard; since this server started, when it never was.
    pub silent_ticks: u64,
    /// What it is being sent.
    pub replication: Replication,
}

/// What a server is being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// One message at a time, until it is known what it has.
    Probe,
    /// Everything, as it comes.
    Stream,
    /// The state up to this entry.
    Snapshot(u64),
}

/// When each server was last heard, in ticks.
#[derive(Debug, Default)]
pub(super) struct Contacts(BTreeMap<u64, u64>);

/// A change that is under way.
#[derive(Debug)]
pub(super) struct Reconfiguring {
    token: u64,
    at: Position,
    /// It is applied, but joint.
    entered: bool,
}

impl Contacts {
    pub(super) fn heard(&mut self, id: u64, clock: u64) {
        self.0.insert(id, clock);
    }

    fn since(&self, id: u64, clock: u64) -> u64 {
        clock - self.0.get(&id).copied().unwrap_or_default()
    }
}

impl Reconfigure {
    fn to_change(&self) -> ConfChangeV2 {
        let kinds = [
            (ConfChangeType::AddLearnerNode, &self.add_learners),
            (ConfChangeType::AddNode, &self.promote),
            (ConfChangeType::AddLearnerNode, &self.demote),
            (ConfChangeType::RemoveNode, &self.remove),
        ];
        let mut change = ConfChangeV2::default();
        change.set_transition(ConfChangeTransition::Auto);
        for (kind, ids) in kinds {
            for id in ids {
                let mut single = ConfChangeSingle::default();
                single.set_change_type(kind);
                single.node_id = *id;
                change.mut_changes().push(single);
            }
        }
        change
    }

    /// Why it cannot be, with these servers.
    fn check(&self, conf: &ConfState, leader: u64) -> Result<(), String> {
        let is_voter = |id: &u64| conf.voters.contains(id);
        let is_learner = |id: &u64| conf.learners.contains(id);
        let mut named: Vec<u64> = Vec::new();
        named.extend(
            self.add_learners
                .iter()
                .chain(&self.promote)
                .chain(&self.demote)
                .chain(&self.remove),
        );
        named.sort_unstable();
        if named.is_empty() {
            return Err("it names no server".into());
        }
        if let Some(twice) = named.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("it names server {} twice", twice[0]));
        }
        for id in &self.add_learners {
            if *id == INVALID_ID || is_voter(id) || is_learner(id) {
                return Err(format!("server {id} cannot be added: it is there already"));
            }
        }
        for id in &self.promote {
            if !is_learner(id) {
                return Err(format!("server {id} cannot be promoted: it is no learner"));
            }
        }
        for id in &self.demote {
            if *id == leader {
                return Err(format!(
                    "server {id} cannot take its own vote: hand leadership over first"
                ));
            }
            if !is_voter(id) {
                return Err(format!("server {id} cannot be demoted: it has no vote"));
            }
        }
        for id in &self.remove {
            if *id == leader {
                return Err(format!(
                    "server {id} cannot remove itself: hand leadership over first"
                ));
            }
            if !is_voter(id) && !is_learner(id) {
                return Err(format!("server {id} cannot be removed: it is not there"));
            }
        }
        Ok(())
    }
}

impl Replica {
    /// Changes the servers. Answered by [`Effect::Reconfigured`] when the change is complete.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn reconfigure(
        &mut self,
        token: u64,
        change: &Reconfigure,
        out: &mut dyn Effects,
    ) -> Result<(), CoreError> {
        match self.propose_change(token, change) {
            Ok(()) => self.drive(out),
            Err(error) => {
                let outcome = Err(error);
                out.perform(Effect::Reconfigured { token, outcome });
                Ok(())
            }
        }
    }

    fn propose_change(&mut self, token: u64, change: &Reconfigure) -> Result<(), RaftError> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let pending = self.node.raft.has_pending_conf() || is_joint(self.conf_state());
        if pending || self.reconfiguring.is_some() {
            return Err(RaftError::ReconfigurationPending);
        }
        let checked = change.check(self.conf_state(), self.id);
        checked.map_err(|why| RaftError::Reconfiguration { why })?;
        let proposed = self
            .node
            .propose_conf_change(Vec::new(), change.to_change());
        proposed.map_err(|_| RaftError::Unavailable)?;
        self.reconfiguring = Some(Reconfiguring {
            token,
            at: Position {
                index: self.node.raft.raft_log.last_index(),
                term: self.node.raft.term,
            },
            entered: false,
        });
        Ok(())
    }

    /// A change of the servers was applied.
    pub(super) fn reconfigured(
        &mut self,
        at: Position,
        conf_state: ConfState,
        out: &mut dyn Effects,
    ) {
        let before = self.conf_state().clone();
        self.node.mut_store().set_conf_state(conf_state.clone());
        out.perform(Effect::Configuration(conf_state.clone()));
        if self.leads() {
            let gone = ids(&before).filter(|id| !ids(&conf_state).any(|other| other == *id));
            for id in gone.collect::<Vec<_>>() {
                if id != self.id {
                    self.tell_removed(id, out);
                }
            }
        }
        if !self.is_member() {
            self.leave();
        }
        let Some(waiting) = &mut self.reconfiguring else {
            return;
        };
        waiting.entered |= waiting.at == at;
        if waiting.entered && !is_joint(&conf_state) {
            self.end_reconfiguration(Ok(()), out);
        }
    }

    /// Entries were applied: whether another one stands where the change was to be.
    pub(super) fn reconfiguration_superseded(&mut self, out: &mut dyn Effects) {
        let applied = self.applier.applied();
        let over = |r: &Reconfiguring| {
            !r.entered && (r.at.index <= applied.index || r.at.term < applied.term)
        };
        if self.reconfiguring.as_ref().is_some_and(over) {
            let leader = self.leader();
            self.end_reconfiguration(Err(RaftError::NotLeader { leader }), out);
        }
    }

    fn end_reconfiguration(&mut self, outcome: Result<(), RaftError>, out: &mut dyn Effects) {
        if let Some(Reconfiguring { token, .. }) = self.reconfiguring.take() {
            out.perform(Effect::Reconfigured { token, outcome });
        }
    }

    /// The next leader leaves a joint configuration if this one cannot; raft-rs does so only
    /// when it applies the change as the leader.
    pub(super) fn leave_joint(&mut self) -> Result<(), CoreError> {
        let stuck = self.leads()
            && is_joint(self.conf_state())
            && !self.node.raft.has_pending_conf()
            && self.node.raft.apply_to_current_term();
        if stuck && !self.transferring() {
            self.node
                .propose_conf_change(Vec::new(), ConfChangeV2::default())?;
        }
        Ok(())
    }

    pub(super) fn abandon_reconfiguration(&mut self, out: &mut dyn Effects) {
        let error = match self.removed {
            true => RaftError::Removed,
            false => RaftError::Interrupted,
        };
        self.end_reconfiguration(Err(error), out);
    }

    /// Tells a server that it is no longer a member: it cannot learn it from the log, which it
    /// is not sent any more. The message is that of a snapshot whose servers it is not among.
    pub(super) fn tell_removed(&mut self, id: u64, out: &mut dyn Effects) {
        let at = self.applier.applied();
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgSnapshot);
        message.from = self.id;
        message.to = id;
        message.term = self.node.raft.term;
        let metadata = message.mut_snapshot().mut_metadata();
        metadata.index = at.index;
        metadata.term = at.term;
        metadata.set_conf_state(self.conf_state().clone());
        out.perform(Effect::Send(vec![message]));
    }

    /// Another server says that this one is no longer a member.
    pub(super) fn told_of_removal(
        &mut self,
        message: &Message,
        out: &mut dyn Effects,
    ) -> Result<(), CoreError> {
        let metadata = message.get_snapshot().get_metadata();
        let later = metadata.index > self.applier.applied().index;
        let member = ids(metadata.get_conf_state()).any(|id| id == self.id);
        if later && !member && message.term >= self.node.raft.term && self.is_member() {
            self.told = Position {
                index: metadata.index,
                term: metadata.term,
            };
            self.leave();
        }
        self.drive(out)
    }

    fn leave(&mut self) {
        tracing::warn!(self.id, "this server was removed from the cluster");
        self.removed = true;
        let term = self.node.raft.term;
        self.node.raft.become_follower(term, INVALID_ID);
    }

    pub(super) fn is_member(&self) -> bool {
        self.knows(self.id)
    }

    pub(super) fn knows(&self, id: u64) -> bool {
        ids(self.conf_state()).any(|member| member == id)
    }

    /// Whether the server was heard within an election time-out.
    pub(super) fn recently(&self, id: u64) -> bool {
        self.contacts.since(id, self.clock) <= super::TICKS_PER_ELECTION as u64
    }

    /// The servers and how they fare.
    pub fn members(&self) -> Members {
        let conf = self.conf_state();
        let log = &self.node.raft.raft_log;
        let mut progress: Vec<MemberProgress> = Vec::new();
        if self.leads() {
            let others = self
                .node
                .raft
                .prs()
                .iter()
                .filter(|(id, _)| **id != self.id);
            progress.extend(others.map(|(id, progress)| MemberProgress {
                id: *id,
                match_index: progress.matched,
                silent_ticks: self.contacts.since(*id, self.clock),
                replication: match (progress.state, Self::snapshot_for(progress)) {
                    (_, Some(index)) => Replication::Snapshot(index),
                    (ProgressState::Replicate, None) => Replication::Stream,
                    _ => Replication::Probe,
                },
            }));
            progress.sort_unstable_by_key(|p| p.id);
        }
        Members {
            voters: sorted(&conf.voters),
            outgoing: sorted(&conf.voters_outgoing),
            learners: sorted(&[&conf.learners[..], &conf.learners_next[..]].concat()),
            last_index: log.last_index(),
            commit_index: log.committed,
            progress,
        }
    }
}

fn sorted(ids: &[u64]) -> Vec<u64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

fn is_joint(conf: &ConfState) -> bool {
    !conf.get_voters_outgoing().is_empty()
}

/// Everyone who takes part in any way. (Who is to become a learner still is a voter.)
pub(super) fn ids(conf: &ConfState) -> impl Iterator<Item = u64> {
    let voters = conf.voters.iter().chain(&conf.voters_outgoing);
    voters.chain(&conf.learners).copied()
}
