//! Elections: who leads, for how long nobody did, and when to campaign.

use super::effect::{Effect, Effects};
use super::replica::{CoreError, Replica};
use kabuki_store::Position;
use raft::eraftpb::{Message, MessageType};
use raft::{INVALID_ID, StateRole};
use std::time::Duration;

/// The shortest election time-out; the longest is just under twice as long.
pub const TICKS_PER_ELECTION: usize = 10;

/// Heartbeats: several may be lost before an election.
pub(super) const TICKS_PER_HEARTBEAT: usize = 2;

/// For how long a leader may be missing before callers are refused instead of kept waiting: a
/// little more than the longest election time-out.
pub const STRANDED_TICKS: u64 = 2 * TICKS_PER_ELECTION as u64;

/// How soon a server campaigns that lost the connection to its leader: different for each, so
/// that one is first.
const HURRY_MS: std::ops::Range<u64> = 10..100;

/// How soon it does so again, when nobody leads yet: votes were split, or others had not noticed.
const HURRY_AGAIN_MS: std::ops::Range<u64> = 50..200;

/// How soon a server campaigns that has just started: a living leader speaks up before.
const FIRST_MS: std::ops::Range<u64> = 150..450;

/// Then the election time-outs take over.
const HURRIES: u32 = 5;

/// Who leads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The term.
    pub term: u64,
    /// The leader, if there is one.
    pub leader: Option<u64>,
    /// Whether it is this server and its state includes everything that was ever acknowledged.
    pub leading: bool,
    /// Whether there was no leader for longer than an election takes: a majority of the servers
    /// cannot be reached.
    pub stranded: bool,
    /// Whether this server was removed from the cluster. It takes no part any more.
    pub removed: bool,
}

/// What is remembered about leaders.
#[derive(Debug)]
pub(super) struct Election {
    seed: u64,
    /// Draws so far.
    draws: u64,
    /// Elections that were begun: each has another time-out.
    attempts: u64,
    /// Ticks since a leader was heard, or since this server led.
    silent: u64,
    /// This server led and could no longer reach a majority.
    lost_quorum: bool,
    /// The ticket of the wake-up that is waited for, and how many more there may be.
    hurry: Option<(u64, u32)>,
    next_ticket: u64,
}

impl Election {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            draws: 0,
            attempts: 0,
            silent: 0,
            lost_quorum: false,
            hurry: None,
            next_ticket: 0,
        }
    }

    /// A name for a wake-up.
    pub(super) fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// A leader was heard.
    pub(super) fn heard(&mut self) {
        self.silent = 0;
        self.lost_quorum = false;
        self.hurry = None;
    }

    fn draw(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.draws += 1;
        range.start + mix(self.seed, self.draws) % (range.end - range.start)
    }
}

/// A number that looks random (splitmix64).
pub(super) fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Replica {
    /// Time passes.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn tick(&mut self, out: &mut dyn Effects) -> Result<(), CoreError> {
        if let Some(close) = self.pace.tick(self.removed || self.alone()) {
            out.perform(Effect::KeepAwake(close));
        }
        if self.removed {
            return Ok(());
        }
        self.clock += 1;
        self.election.silent += 1;
        let led = self.leads();
        if self.alone() && !led {
            // Nobody else could win: there is nothing to wait for.
            self.campaign()?;
        } else {
            self.node.tick();
        }
        self.after_tick(led);
        self.tick_notices();
        self.tick_reads();
        self.expire_transfers();
        self.leave_joint()?;
        if self.leads() && !self.node.raft.promotable() && !self.transferring() {
            // A leader before this one took its vote. raft-rs would let it lead on.
            self.transfer(None, out)?;
        }
        self.drive(out)
    }

    fn after_tick(&mut self, led: bool) {
        let raft = &mut self.node.raft;
        match raft.state {
            StateRole::Leader => self.election.heard(),
            _ if led => self.election.lost_quorum = true,
            StateRole::Follower if !raft.promotable() => {
                // A learner never campaigns, so raft-rs lets it believe in its leader for ever.
                let silent = self.election.silent > STRANDED_TICKS;
                if silent && raft.leader_id != INVALID_ID {
                    let term = raft.term;
                    raft.become_follower(term, INVALID_ID);
                }
            }
            _ if raft.election_elapsed == 0 => self.election.attempts += 1,
            _ => {}
        }
    }

    /// The connection to a server has broken. When it was the leader's, this server forgets it
    /// and campaigns soon; a pre-vote sees to it that a living leader is not disturbed.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn peer_lost(&mut self, id: u64, out: &mut dyn Effects) -> Result<(), CoreError> {
        let raft = &mut self.node.raft;
        if raft.state == StateRole::Leader {
            self.node.report_unreachable(id);
        } else if id != INVALID_ID && raft.leader_id == id {
            let term = raft.term;
            raft.become_follower(term, INVALID_ID);
            if raft.promotable() {
                self.hurry(HURRY_MS, HURRIES, out);
            }
        }
        self.drive(out)
    }

    /// The time of an [`Effect::Wake`] is over.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn wake(&mut self, ticket: u64, out: &mut dyn Effects) -> Result<(), CoreError> {
        let Some((expected, left)) = self.election.hurry else {
            return Ok(());
        };
        if expected != ticket || self.removed {
            return Ok(());
        }
        self.election.hurry = None;
        if self.node.raft.leader_id == INVALID_ID && self.node.raft.promotable() {
            self.campaign()?;
            if !self.leads() && left > 1 {
                self.hurry(HURRY_AGAIN_MS, left - 1, out);
            }
        }
        self.drive(out)
    }

    /// With the servers as they are, a campaign begins soon unless a leader speaks up.
    pub(super) fn campaign_soon(&mut self, out: &mut dyn Effects) {
        if self.node.raft.promotable() {
            self.hurry(FIRST_MS, HURRIES, out);
        }
    }

    fn hurry(&mut self, range: std::ops::Range<u64>, left: u32, out: &mut dyn Effects) {
        let after = Duration::from_millis(self.election.draw(range));
        let ticket = self.election.ticket();
        self.election.hurry = Some((ticket, left));
        out.perform(Effect::Wake { after, ticket });
    }

    pub(super) fn campaign(&mut self) -> Result<(), CoreError> {
        let log = &self.node.raft.raft_log;
        // A server alone wins at once, and raft-rs then takes its log for durable.
        if self.alone() && log.persisted != log.last_index() {
            return Ok(());
        }
        self.election.attempts += 1;
        self.node.campaign()?;
        Ok(())
    }

    /// A server that was removed votes for nobody, but it tells who wants to lead how far the log
    /// is committed: to a server that forgot that the old servers were left, their majority still
    /// counts.
    pub(super) fn answer_as_removed(&self, message: &Message, out: &mut dyn Effects) {
        let (kind, term) = match message.get_msg_type() {
            MessageType::MsgRequestVote => (MessageType::MsgRequestVoteResponse, message.term),
            MessageType::MsgRequestPreVote => {
                // It names the term that is to come; in its own one it listens.
                let own = message.term.saturating_sub(1);
                (MessageType::MsgRequestPreVoteResponse, own)
            }
            _ => return,
        };
        let raft = &self.node.raft;
        let (commit, commit_term) = raft.raft_log.commit_info();
        let known = Position {
            index: commit,
            term: commit_term,
        };
        let known = known.max(self.told);
        let mut answer = Message::default();
        answer.set_msg_type(kind);
        answer.from = self.id;
        answer.to = message.from;
        answer.term = term.max(raft.term);
        answer.reject = true;
        answer.commit = known.index;
        answer.commit_term = known.term;
        out.perform(Effect::Send(vec![answer]));
    }

    /// raft-rs draws its time-outs from a source of its own: puts ours in their place.
    pub(super) fn settle_timeout(&mut self) {
        let span = TICKS_PER_ELECTION as u64;
        let by = mix(
            self.election.seed ^ self.node.raft.term,
            self.election.attempts,
        ) % span;
        let ticks = TICKS_PER_ELECTION + by as usize;
        self.node.raft.set_randomized_election_timeout(ticks);
    }

    pub(super) fn stranded(&self) -> bool {
        let election = &self.election;
        self.node.raft.leader_id == INVALID_ID
            && !self.conf_state().get_voters().is_empty()
            && (election.lost_quorum || election.silent > STRANDED_TICKS)
    }

    /// Hands leadership to `to`, or to the server that is best prepared. Proposals are refused
    /// until that has happened or an election time-out is over. Returns who is to lead.
    ///
    /// # Errors
    /// `Ok(None)`: nobody else can lead, or this server does not.
    pub fn transfer(
        &mut self,
        to: Option<u64>,
        out: &mut dyn Effects,
    ) -> Result<Option<u64>, CoreError> {
        if !self.leads() {
            return Ok(None);
        }
        let conf = self.node.raft.prs().conf();
        let fit = |id: u64| id != self.id && conf.voters().contains(id) && self.recently(id);
        let ids = self.conf_state().get_voters().iter().copied();
        let best = match to {
            Some(to) => Some(to).filter(|to| fit(*to)),
            None => ids.filter(|id| fit(*id)).max_by_key(|id| {
                let progress = self.node.raft.prs().get(*id);
                progress.map_or(0, |p| p.matched)
            }),
        };
        if let Some(to) = best {
            self.node.transfer_leader(to);
            self.drive(out)?;
        }
        Ok(best)
    }

    /// Whether leadership is being handed over at this moment.
    pub fn transferring(&self) -> bool {
        self.leads() && self.node.raft.lead_transferee.is_some()
    }
}
