//! Who votes: a pure decision from who there is and how they fare.
//!
//! - The number of votes is odd: one until there are three servers, then three, with five servers
//!   five, and never more. Changes that need several servers happen at once (joint consensus), so
//!   that no even number ever decides, with one exception: a lone voter that is leaving hands over
//!   to a server that got a vote beside it.
//! - Every other server learns. A server must have caught up before it gets a vote.
//! - A voter that is silent for longer than [`REPLACE_AFTER`] is replaced when a healthy learner has
//!   caught up; without one it keeps its vote, because fewer votes would not be safer.
//! - A server that is leaving loses its vote first; then it is taken out.

use crate::raft::core::Reconfigure;
use std::time::Duration;

/// A voter that is silent for so long is replaced, when it can be.
pub const REPLACE_AFTER: Duration = Duration::from_secs(30);
/// A server that was heard of within this time is healthy.
pub const HEALTHY_WITHIN: Duration = Duration::from_secs(3);
/// A learner that is at most so many entries behind has caught up.
pub const CAUGHT_UP_ENTRIES: u64 = 1000;
/// More voters make writes slower and hardly anything safer.
const MAX_VOTERS: usize = 5;

/// A server, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerState {
    /// Its number.
    pub id: u64,
    /// Whether it has a vote.
    pub votes: bool,
    /// Whether Raft knows it at all.
    pub known: bool,
    /// Whether it should be there: it has a Node object that is not being deleted.
    pub wanted: bool,
    /// How long nothing was heard of it; zero for the leader itself.
    pub silent: Duration,
    /// How many entries it is behind.
    pub behind: u64,
    /// Whether it is the leader, who decides.
    pub leader: bool,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A change of the servers.
    Change(Reconfigure),
    /// The leader is leaving: another voter is to lead.
    HandOver {
        /// Who.
        to: u64,
    },
}

/// The next step towards what should be; `None` when all is as it should be, or nothing can be
/// done now.
pub fn next_step(servers: &[ServerState]) -> Option<Step> {
    let ids = |which: &dyn Fn(&ServerState) -> bool| -> Vec<u64> {
        servers.iter().filter(|s| which(s)).map(|s| s.id).collect()
    };
    // New servers learn first, and learners that leave just go: neither touches the votes.
    let add_learners = ids(&|s| s.wanted && !s.known);
    let remove = ids(&|s| !s.wanted && s.known && !s.votes);
    if !add_learners.is_empty() || !remove.is_empty() {
        return Some(Step::Change(Reconfigure {
            add_learners,
            remove,
            ..Reconfigure::default()
        }));
    }
    let leader_leaves = servers.iter().any(|s| s.leader && s.votes && !s.wanted);
    if leader_leaves {
        let heirs = servers.iter().filter(|s| s.votes && s.wanted && s.fit());
        if let Some(heir) = heirs.min_by_key(|s| (s.behind, s.silent, s.id)) {
            return Some(Step::HandOver { to: heir.id });
        }
    }
    let votes = votes(servers, leader_leaves);
    let change = Reconfigure {
        add_learners: Vec::new(),
        promote: ids(&|s| !s.votes && votes.contains(&s.id)),
        demote: ids(&|s| s.votes && s.wanted && !votes.contains(&s.id)),
        remove: ids(&|s| s.votes && !s.wanted && !votes.contains(&s.id)),
    };
    (change != Reconfigure::default()).then_some(Step::Change(change))
}

/// Who should vote.
fn votes(servers: &[ServerState], leader_leaves: bool) -> Vec<u64> {
    let mut able: Vec<&ServerState> = servers
        .iter()
        .filter(|s| s.wanted && (s.votes || (s.known && s.fit())))
        .collect();
    // Who decides stays; then who votes and is there; then who could; last who votes and is
    // silent. Within each the one that is least behind.
    able.sort_by_key(|s| {
        let class = match s {
            s if s.leader => 0,
            s if s.votes && s.silent <= REPLACE_AFTER => 1,
            s if !s.votes => 2,
            _ => 3,
        };
        (class, s.behind, s.id)
    });
    let target = match able.len() {
        0..=2 => 1,
        3..=4 => 3,
        _ => MAX_VOTERS,
    };
    // A leader that leaves cannot take its own vote: whoever it hands over to does. Until then it
    // is one of those that vote; of one it is the second.
    let others = match leader_leaves {
        true => (target - 1).max(1),
        false => target,
    };
    let mut votes: Vec<u64> = able.iter().take(others).map(|s| s.id).collect();
    if leader_leaves {
        votes.extend(servers.iter().filter(|s| s.leader).map(|s| s.id));
    }
    votes
}

impl ServerState {
    /// Whether it may get a vote, or lead.
    fn fit(&self) -> bool {
        self.silent <= HEALTHY_WITHIN && self.behind <= CAUGHT_UP_ENTRIES
    }
}

#[cfg(test)]
mod tests;
