//! What must hold all the way. The first server that applies an entry or makes a change says what
//! is true; every other one is compared with it.

use super::clients::Histories;
use super::world::World;
use kabuki_model::ObjectKey;
use kabuki_model::command::Change;
use kabuki_model::view::View as _;
use kabuki_plane::raft::Leadership;
use kabuki_plane::raft::core::ApplyEffect;
use kabuki_plane::raft::core::eraftpb::{ConfState, Message, MessageType};
use kabuki_store::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// No call of a replica fails or panics.
    TheCoreKeepsItsPromises,
    /// The same entry at the same index, the same change at the same revision, the same state.
    EveryServerAppliesTheSame,
    /// What is applied is on the server's disk.
    AppliedIsDurable,
    /// What a follower says it has is on its disk.
    PromisesAreDurable,
    /// One vote per term, and it is on disk before it is given.
    EveryServerVotesOnce,
    /// No server speaks in an older term than before.
    TermsNeverGoBack,
    /// At most one leader per term.
    OneLeaderPerTerm,
    /// A leader has everything that was acknowledged, and it stays.
    NothingAcknowledgedIsLost,
    /// What was refused never happens, and what happens does so once.
    RefusedIsNotDone,
    /// A token gets one answer.
    EveryQuestionIsAnsweredOnce,
    /// A read shows what was acknowledged before it began.
    NoReadIsStale,
    /// There is an order that explains what the clients saw.
    HistoriesAreLinearizable,
    /// A command of an old leader changes nothing.
    OldLeadersAreRefused,
    /// An odd number of servers decides, but for a lone voter that hands over and leaves.
    NoEvenNumberDecides,
    /// Who gets a vote has caught up.
    VotersHaveCaughtUp,
    /// Every watcher is told of every change, once and in order.
    WatchersSeeTheSameHistory,
    /// A snapshot that arrives is the one that was sent, or is not used.
    SnapshotsAreWhatTheySay,
    /// When faults have stopped somebody leads, all is answered, and all agree.
    AllIsWellInTheEnd,
}

/// An invariant that did not hold.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was seen instead.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.detail)
    }
}

/// A change, as the first server made it.
#[derive(Debug)]
struct Truth {
    print: u64,
    token: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Audit {
    only: Option<Invariant>,
    pub violation: Option<Violation>,
    /// By revision, from 1 on.
    changes: Vec<Truth>,
    /// At which revision a write happened.
    tokens: BTreeMap<u64, u64>,
    entries: BTreeMap<u64, (u64, u64)>,
    states: BTreeMap<u64, Snapshot>,
    leaders: BTreeMap<u64, u64>,
    terms: BTreeMap<u64, u64>,
    votes: BTreeMap<(u64, u64), u64>,
    /// The last revision that was acknowledged.
    pub acknowledged: u64,
    refused: BTreeSet<u64>,
    pub histories: Histories,
}

/// States are compared at every so manieth entry: it takes time.
const STATE_EVERY: u64 = 32;

pub(super) fn print(key: &ObjectKey, uid: &str, json: &[u8], revision: u64, removed: bool) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&key.namespace, &key.name, uid, json, revision, removed).hash(&mut hasher);
    hasher.finish()
}

fn print_of(change: &Change) -> u64 {
    let object = &change.object;
    print(
        &object.key,
        &object.uid,
        &object.json,
        object.revision,
        change.removed,
    )
}

impl Audit {
    pub fn new(only: Option<Invariant>) -> Self {
        Self {
            only,
            ..Self::default()
        }
    }

    pub fn found(&mut self, state: &Snapshot) {
        self.states.insert(state.position().index, state.clone());
    }

    pub fn violate(&mut self, invariant: Invariant, detail: String) {
        let counts = self.only.is_none_or(|only| only == invariant);
        if counts && self.violation.is_none() {
            self.violation = Some(Violation { invariant, detail });
        }
    }

    /// Whether the change at this revision is that one.
    pub fn is_true(&self, revision: u64, print: u64) -> bool {
        let at = usize::try_from(revision).unwrap_or_default();
        at > 0
            && self
                .changes
                .get(at - 1)
                .is_some_and(|truth| truth.print == print)
    }

    pub fn is_change(&self, change: &Change) -> bool {
        self.is_true(change.revision(), print_of(change))
    }

    pub fn happened(&self, token: u64) -> Option<u64> {
        self.tokens.get(&token).copied()
    }

    pub fn terms_with_leader(&self) -> u64 {
        self.leaders.len() as u64
    }
}

/// The writer's token, and the term under which it wrote.
fn origin(uid: &str) -> (Option<u64>, u64) {
    match uid
        .strip_prefix("term-")
        .and_then(|rest| rest.split_once('-'))
    {
        Some((term, token)) => (token.parse().ok(), term.parse().unwrap_or_default()),
        None => (uid.parse().ok(), 0),
    }
}

impl World {
    pub fn audit_applied(&mut self, id: u64, applied: &ApplyEffect) {
        let Some(server) = self.servers.get(&id) else {
            return;
        };
        let (before, at) = (server.published.position(), applied.snapshot.position());
        let revision = server.published.revision();
        self.say(format_args!(
            "{id}: applies up to {}/{}, revision {}",
            at.index,
            at.term,
            applied.snapshot.revision()
        ));
        if at.index <= before.index || at.term < before.term {
            let detail = format!("server {id} goes from {before:?} to {at:?}");
            self.violate(Invariant::EveryServerAppliesTheSame, detail);
        }
        for index in before.index + 1..=at.index {
            self.audit_entry(id, index);
        }
        for (change, expected) in applied.changes.iter().zip(revision + 1..) {
            if change.revision() != expected {
                let detail = format!("server {id}: {} follows {expected}", change.revision());
                self.violate(Invariant::EveryServerAppliesTheSame, detail);
            }
            self.audit_change(id, change, before.term);
        }
        if at.index % STATE_EVERY == 0 {
            self.audit_state(id, &applied.snapshot);
        }
    }

    fn audit_entry(&mut self, id: u64, index: u64) {
        let found = self.servers.get(&id).and_then(|s| s.disk.find(index));
        let Some((entry, durable)) = found.map(|(e, durable)| (e.clone(), durable)) else {
            let detail = format!("server {id} applies entry {index}, which it does not have");
            return self.violate(Invariant::AppliedIsDurable, detail);
        };
        if !durable {
            let detail = format!("server {id} applies entry {index} before it is durable");
            self.violate(Invariant::AppliedIsDurable, detail);
        }
        let mut hasher = DefaultHasher::new();
        (entry.get_entry_type() as i32, &entry.data[..]).hash(&mut hasher);
        let this = (entry.term, hasher.finish());
        let first = *self.audit.entries.entry(index).or_insert(this);
        if first != this {
            let detail = format!("server {id} applies {this:?} at {index}, another one {first:?}");
            self.violate(Invariant::EveryServerAppliesTheSame, detail);
        }
    }

    fn audit_change(&mut self, id: u64, change: &Change, term_before: u64) {
        let revision = change.revision();
        let known = self.audit.changes.len() as u64;
        let (token, term) = origin(&change.object.uid);
        // Of a removal it is the note that tells.
        let token = token.filter(|_| !change.removed);
        if term != 0 && term < term_before && !change.removed {
            let detail = format!("a command of term {term} changes something after {term_before}");
            self.violate(Invariant::OldLeadersAreRefused, detail);
        }
        if revision <= known {
            if !self.audit.is_change(change) {
                let detail = format!("server {id} makes another change at {revision}");
                if revision <= self.audit.acknowledged {
                    self.violate(Invariant::NothingAcknowledgedIsLost, detail.clone());
                }
                self.violate(Invariant::EveryServerAppliesTheSame, detail);
            }
            return;
        }
        let print = print_of(change);
        self.audit.changes.push(Truth { print, token });
        let Some(token) = token else { return };
        // A removal takes the revision before its note.
        let note = change.object.key.name.starts_with("note-");
        let happened = revision - u64::from(note);
        let twice = self.audit.tokens.insert(token, happened).is_some();
        if twice || self.audit.refused.contains(&token) {
            let detail = format!("{token} was refused or happened before, and now at {revision}");
            self.violate(Invariant::RefusedIsNotDone, detail);
        }
    }

    pub fn audit_disk(&mut self, id: u64) {
        if self.servers.get(&id).is_some_and(|s| s.disk.has_gap) {
            let detail = format!("server {id} appends with a gap");
            self.violate(Invariant::TheCoreKeepsItsPromises, detail);
        }
    }

    pub fn audit_state(&mut self, id: u64, state: &Snapshot) {
        let at = state.position();
        let first = self
            .audit
            .states
            .entry(at.index)
            .or_insert_with(|| state.clone());
        if *first != *state {
            let detail = format!("server {id} has another state at {at:?}");
            self.violate(Invariant::EveryServerAppliesTheSame, detail);
        }
    }

    pub fn audit_acknowledged(&mut self, token: u64, revision: u64) {
        let at = usize::try_from(revision).unwrap_or_default();
        let truth = at.checked_sub(1).and_then(|at| self.audit.changes.get(at));
        if truth.is_none_or(|truth| truth.token != Some(token)) {
            let detail = format!("{token} is acknowledged at {revision}, where it is not");
            self.violate(Invariant::NothingAcknowledgedIsLost, detail);
        }
        self.audit.acknowledged = self.audit.acknowledged.max(revision);
    }

    pub fn audit_refused(&mut self, token: u64) {
        if self.audit.happened(token).is_some() {
            let detail = format!("{token} is refused, but it happened");
            self.violate(Invariant::RefusedIsNotDone, detail);
        }
        self.audit.refused.insert(token);
    }

    pub fn audit_leadership(&mut self, id: u64, now: Leadership) {
        if !now.leading {
            return;
        }
        self.audit_leader(id, now.term);
        let revision = self.servers.get(&id).map_or(0, |s| s.published.revision());
        if revision < self.audit.acknowledged {
            let detail = format!(
                "server {id} leads with revision {revision}, {} was acknowledged",
                self.audit.acknowledged
            );
            self.violate(Invariant::NothingAcknowledgedIsLost, detail);
        }
    }

    fn audit_leader(&mut self, id: u64, term: u64) {
        let first = *self.audit.leaders.entry(term).or_insert(id);
        if first != id {
            let detail = format!("{first} and {id} lead in term {term}");
            self.violate(Invariant::OneLeaderPerTerm, detail);
        }
    }

    /// What a server says binds it.
    pub fn audit_message(&mut self, id: u64, message: &Message) {
        let kind = message.get_msg_type();
        let term = message.term;
        match kind {
            // They ask what would be.
            MessageType::MsgRequestPreVote | MessageType::MsgRequestPreVoteResponse => return,
            // It binds nobody.
            MessageType::MsgRequestVoteResponse if message.reject => return,
            MessageType::MsgAppend | MessageType::MsgHeartbeat => self.audit_leader(id, term),
            MessageType::MsgRequestVote => self.audit_vote(id, term, id),
            MessageType::MsgRequestVoteResponse => {
                self.audit_vote(id, term, message.to);
            }
            MessageType::MsgAppendResponse if !message.reject => {
                let disk = self
                    .servers
                    .get(&id)
                    .map(|s| (s.disk.last(), s.disk.hard_state.term));
                let (durable, durable_term) = disk.unwrap_or_default();
                // What was promised in a term that is over was true when that was.
                if message.index > durable && term >= durable_term {
                    let index = message.index;
                    let detail = format!("server {id} says it has {index}, its disk {durable}");
                    self.violate(Invariant::PromisesAreDurable, detail);
                }
            }
            _ => {}
        }
        if term == 0 {
            return;
        }
        let last = self.audit.terms.entry(id).or_default();
        if term < *last {
            let detail = format!("server {id} speaks in term {term} after {last}");
            self.violate(Invariant::TermsNeverGoBack, detail);
        } else {
            *last = term;
        }
    }

    fn audit_vote(&mut self, id: u64, term: u64, candidate: u64) {
        let first = *self.audit.votes.entry((id, term)).or_insert(candidate);
        let durable = self
            .servers
            .get(&id)
            .is_some_and(|s| s.disk.holds_vote(term, candidate));
        if first != candidate || !durable {
            let detail = format!(
                "server {id} votes for {candidate} in term {term}, before for {first}; \
                 durable: {durable}"
            );
            self.violate(Invariant::EveryServerVotesOnce, detail);
        }
    }

    pub fn audit_configuration(&mut self, id: u64, conf: &ConfState) {
        self.say(format_args!(
            "{id}: voters {:?} from {:?} learners {:?}",
            conf.voters, conf.voters_outgoing, conf.learners
        ));
        for voters in [&conf.voters, &conf.voters_outgoing] {
            if voters.is_empty() || voters.len() % 2 == 1 {
                continue;
            }
            // A lone voter that leaves hands over to one that votes beside it for a moment.
            let leaves = |id: &u64| !self.wanted.contains(id);
            if voters.len() != 2 || !voters.iter().any(leaves) {
                let detail = format!("{voters:?} decide");
                self.violate(Invariant::NoEvenNumberDecides, detail);
            }
        }
    }
}
