//! What must hold when the faults have stopped: somebody leads, everything that was asked is
//! answered, all servers and watchers agree, and a last write and last reads go through.

use super::Invariant;
use super::clients::put;
use super::server::Asked;
use super::world::{Happening, World};
use kabuki_model::command::{Command, Expect};
use kabuki_model::{ObjectKey, Resource};
use kabuki_plane::cluster::policy::Step;
use std::fmt::Write as _;
use std::time::Duration;

/// All must be well so long after the faults have stopped.
const LIMIT: Duration = Duration::from_secs(40);
/// How often that is looked at.
const PACE: Duration = Duration::from_millis(100);

impl World {
    /// Whether everything is as it should be in the end.
    pub fn is_at_rest(&mut self) -> bool {
        let open = match self.what_is_open() {
            None => return self.last_words(),
            Some(open) => open,
        };
        let since = self.healed_at.unwrap_or_default();
        if self.now < since + LIMIT {
            self.after(PACE, Happening::Rest);
            return false;
        }
        let mut detail = format!("{open}\n");
        for (id, server) in &self.servers {
            let members = server.replica.as_ref().map(|r| r.members());
            let at = server.published.position();
            let _ = writeln!(detail, "{id}: {at:?} {:?} {members:?}", server.leadership);
        }
        self.violate(Invariant::AllIsWellInTheEnd, detail);
        true
    }

    /// What is not yet as it should be.
    fn what_is_open(&self) -> Option<String> {
        let running = self.running();
        let terms = running
            .iter()
            .filter_map(|id| Some((self.leads(*id)?, *id)));
        let Some((_, leader)) = terms.max() else {
            return Some("nobody leads".into());
        };
        let Some(server) = self.servers.get(&leader) else {
            return Some("the leader is gone".into());
        };
        let Some(members) = server.replica.as_ref().map(|r| r.members()) else {
            return Some("the leader is down".into());
        };
        if !members.outgoing.is_empty() || server.published.position().index != members.last_index {
            return Some("the leader has not applied everything".into());
        }
        if let Some(Step::Change(change)) = self.next_change(leader) {
            return Some(format!(
                "the servers are not those that should be: {change:?}"
            ));
        }
        for id in members.voters.iter().chain(&members.learners) {
            let other = self.servers.get(id).map(|s| s.published.position());
            if other != Some(server.published.position()) {
                return Some(format!("server {id} is not up to date"));
            }
        }
        for id in running {
            let asked = self.servers.get(&id).map(|s| &s.asked);
            if let Some(asked) = asked.filter(|a| !a.is_empty()) {
                return Some(format!("server {id} does not answer {asked:?}"));
            }
        }
        let all_told = |w: &super::watching::Watcher| w.agrees(&server.published);
        if let Some(at) = self.watchers.iter().position(|w| !all_told(w)) {
            return Some(format!("watcher {at} does not know everything"));
        }
        if self.calls.is_empty() {
            None
        } else {
            Some("clients still wait".into())
        }
    }

    /// The same state everywhere. Then one more write and one more read on every server.
    fn last_words(&mut self) -> bool {
        for id in self.running() {
            if let Some(state) = self.servers.get(&id).map(|s| s.published.clone()) {
                self.audit_state(id, &state);
            }
        }
        if self.said_last_words {
            self.stats.terms = self.audit.terms_with_leader();
            return true;
        }
        self.said_last_words = true;
        let leader = self
            .running()
            .into_iter()
            .find(|id| self.leads(*id).is_some());
        if let Some(leader) = leader {
            let token = self.fresh();
            let key = ObjectKey::new(Resource::CONFIG_MAPS, "default", "last");
            let ops = vec![put(key, &token.to_string(), Expect::Any)];
            let command = Command { term: 0, ops };
            self.propose(leader, token, command, Asked::Own);
            let token = self.fresh();
            let members = self.servers.get(&leader).map(|s| s.leadership.term);
            self.say(format_args!("a last write {token} in term {members:?}"));
        }
        for id in self.running() {
            let token = self.fresh();
            let least = self.audit.acknowledged;
            let takes_part = self.wanted.contains(&id);
            if let Some(server) = self.servers.get_mut(&id).filter(|_| takes_part) {
                server.asked.insert(token, Asked::Read { call: 0, least });
                self.call(id, |replica, out| replica.read(token, out));
            }
        }
        self.after(PACE, Happening::Rest);
        false
    }
}
