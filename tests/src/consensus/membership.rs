//! Servers come, go and lose their disks; on each leader the real policy decides who votes.

use super::Invariant;
use super::bugs::Bug;
use super::server::{Asked, Server, TICK};
use super::world::{Happening, World};
use kabuki_plane::cluster::policy::{CAUGHT_UP_ENTRIES, ServerState, Step, next_step};
use kabuki_plane::raft::core::{Members, Reconfigure};
use std::collections::BTreeSet;
use std::time::Duration;

/// How often a leader looks at its servers.
const PACE: Duration = Duration::from_millis(150);
/// Silence counts for so many times as long as it is: a run is too short for half a minute.
const IMPATIENCE: u32 = 6;
/// No more servers at a time.
const MOST: usize = 7;

impl World {
    pub fn begin_membership(&mut self) {
        self.after(PACE, Happening::MembershipLooks);
    }

    pub fn membership_looks(&mut self) {
        for id in self.running() {
            if self.leads(id).is_some() {
                self.lead_members(id);
            }
        }
        self.after(PACE, Happening::MembershipLooks);
    }

    fn members(&self, id: u64) -> Option<Members> {
        Some(self.servers.get(&id)?.replica.as_ref()?.members())
    }

    /// What the policy wants next of the leader `id`.
    pub fn next_change(&self, id: u64) -> Option<Step> {
        next_step(&self.states(id, &self.members(id)?))
    }

    fn lead_members(&mut self, id: u64) {
        let Some(members) = self.members(id) else {
            return;
        };
        let asked = self.servers.get(&id).map(|s| s.asked.values());
        let busy = asked.is_some_and(|mut all| all.any(|a| matches!(a, Asked::Change)));
        if busy || !members.outgoing.is_empty() {
            return;
        }
        let durable = self
            .servers
            .get(&id)
            .is_some_and(|s| s.disk.hard_state.commit >= s.changed_at);
        if durable {
            self.let_go(&members);
        }
        match next_step(&self.states(id, &members)) {
            Some(Step::Change(change)) => self.change(id, change, &members),
            Some(Step::HandOver { to }) => self.hand_over(id, Some(to)),
            None => {}
        }
    }

    pub fn hand_over(&mut self, id: u64, to: Option<u64>) {
        self.say(format_args!("{id} is to hand over to {to:?}"));
        self.call(id, |replica, out| replica.transfer(to, out).map(drop));
    }

    fn change(&mut self, id: u64, mut change: Reconfigure, members: &Members) {
        if self.bug == Some(Bug::ChangesOneVoteAtATime) {
            change.promote.truncate(1);
            change.demote.truncate(1);
        }
        for learner in &change.promote {
            self.audit_promotion(*learner, members);
        }
        let token = self.fresh();
        self.say(format_args!(
            "{id} is to change the servers: {token} {change:?}"
        ));
        if let Some(server) = self.servers.get_mut(&id) {
            server.asked.insert(token, Asked::Change);
        }
        self.call(id, |replica, out| replica.reconfigure(token, &change, out));
    }

    /// What counts is what the server has on its disk.
    fn audit_promotion(&mut self, learner: u64, members: &Members) {
        let has = self.servers.get(&learner).map_or(0, |s| s.disk.last());
        if has + CAUGHT_UP_ENTRIES < members.last_index {
            let detail = format!(
                "server {learner} is to vote with {has} of {} entries",
                members.last_index
            );
            self.violate(Invariant::VotersHaveCaughtUp, detail);
        }
    }

    fn states(&self, leader: u64, members: &Members) -> Vec<ServerState> {
        let known = || members.voters.iter().chain(&members.learners).copied();
        let ids: BTreeSet<u64> = known().chain(self.wanted.iter().copied()).collect();
        let state = |id: u64| {
            let progress = members.progress.iter().find(|p| p.id == id);
            let silent = progress.map(|p| TICK * IMPATIENCE * p.silent_ticks as u32);
            let behind = progress.map(|p| members.last_index.saturating_sub(p.match_index));
            let (mut silent, mut behind) = match id == leader {
                true => (Duration::ZERO, 0),
                false => (silent.unwrap_or(Duration::MAX), behind.unwrap_or(u64::MAX)),
            };
            if self.bug == Some(Bug::PromotesWithoutCatchUp) {
                (silent, behind) = (Duration::ZERO, 0);
            }
            ServerState {
                id,
                votes: members.voters.contains(&id),
                known: known().any(|other| other == id),
                wanted: self.wanted.contains(&id),
                silent,
                behind,
                leader: id == leader,
            }
        };
        ids.into_iter().map(state).collect()
    }

    /// A server that left and takes no more part is switched off. (Somebody wrote down that it may:
    /// so the leader has on disk that the change is committed.)
    fn let_go(&mut self, members: &Members) {
        let takes_part = |id: &u64| members.voters.contains(id) || members.learners.contains(id);
        let left: Vec<u64> = self
            .servers
            .iter()
            .filter(|(id, s)| !s.gone && !self.wanted.contains(id) && !takes_part(id))
            .map(|(id, _)| *id)
            .collect();
        for id in left {
            // Some run on for a while, and want to lead.
            if self.faults.active && self.random.chance(700) {
                continue;
            }
            self.say(format_args!("server {id} has left"));
            self.stop(id);
            if let Some(server) = self.servers.get_mut(&id) {
                server.gone = true;
            }
        }
    }

    fn next_id(&self) -> u64 {
        self.servers.keys().max().map_or(1, |id| id + 1)
    }

    pub fn server_joins(&mut self) {
        if self.wanted.len() >= MOST {
            return;
        }
        let id = self.next_id();
        let tick = self.draw_tick();
        self.say(format_args!("server {id} joins"));
        self.servers.insert(id, Server::new(&[], tick));
        self.wanted.insert(id);
        self.start(id);
    }

    /// Somebody deletes a server's Node: it is to leave.
    pub fn server_leaves(&mut self) {
        if self.wanted.len() < 2 {
            return;
        }
        let wanted: Vec<u64> = self.wanted.iter().copied().collect();
        let id = *self.random.pick(&wanted);
        self.say(format_args!("server {id} is to leave"));
        self.wanted.remove(&id);
    }

    /// A disk is emptied. Only where enough others have what it had.
    pub fn disk_is_lost(&mut self) {
        if !self.can_lose_a_disk() {
            return;
        }
        let wanted: Vec<u64> = self.wanted.iter().copied().collect();
        let id = *self.random.pick(&wanted);
        self.say(format_args!("the disk of server {id} is lost"));
        self.crash(id, "with its disk");
        let tick = self.draw_tick();
        if self.bug == Some(Bug::ReusesAnId) {
            let life = self.servers.get(&id).map_or(0, |s| s.life);
            let emptied = Server {
                life,
                ..Server::new(&[], tick)
            };
            self.servers.insert(id, emptied);
            let delay = self.random.millis(1, 500);
            return self.after(delay, Happening::Start { id });
        }
        if let Some(server) = self.servers.get_mut(&id) {
            server.gone = true;
        }
        self.wanted.remove(&id);
        self.server_joins();
    }

    /// Every configuration that may still count has three voters or more, none of whom is lost
    /// or about to leave.
    fn can_lose_a_disk(&self) -> bool {
        if self.bug == Some(Bug::ReusesAnId) {
            return true;
        }
        let sound = |voters: &[u64]| {
            let there = |id: &u64| self.wanted.contains(id);
            voters.is_empty() || (voters.len() >= 3 && voters.iter().all(there))
        };
        let confs = self
            .servers
            .values()
            .filter(|s| !s.gone)
            .map(|s| match &s.replica {
                Some(replica) => replica.conf_state().clone(),
                None => s.disk.newest().1,
            });
        let calm = self.servers.values().all(|s| {
            s.gone || s.replica.is_some() && !s.asked.values().any(|a| matches!(a, Asked::Change))
        });
        let enough = confs
            .into_iter()
            .all(|conf| sound(&conf.voters) && sound(&conf.voters_outgoing));
        calm && enough && self.wanted.len() >= 3
    }
}
