//! How the world is, and what must hold when the dust has settled.

use super::server::Server;
use super::{World, key};
use crate::raft::core::Replica;
use kabuki_model::view::View as _;

impl World {
    pub(super) fn settled(&self) -> Option<u64> {
        let running = || {
            self.servers
                .iter()
                .filter_map(|(id, s)| Some((id, s.replica.as_ref()?)))
        };
        let newest = running().map(|(_, r)| r.leadership().term).max()?;
        let leads =
            |(_, r): &(&u64, &Replica)| r.leadership().leading && r.leadership().term == newest;
        let (leader, replica) = running().find(leads)?;
        let members = replica.members();
        let at = replica.snapshot().position();
        let all = members.voters.iter().chain(&members.learners);
        let same = |id: &u64| match self.servers.get(id).map(|s| &s.replica) {
            Some(Some(other)) => other.snapshot().position() == at,
            // Whoever is down need not agree.
            _ => true,
        };
        let settled = at.index == members.last_index && members.outgoing.is_empty();
        (settled && all.copied().all(|id| same(&id))).then_some(*leader)
    }

    /// The same state everywhere, with everything in it that was acknowledged.
    pub(in super::super) fn check_agreement(&self) {
        let leader = self.settled().expect("settled");
        let state = self.replica(leader).snapshot();
        for (token, revision) in &self.acknowledged {
            let name = &self.proposed[token];
            let found = state.get(&key(name)).map(|o| o.revision);
            assert_eq!(found, Some(*revision), "seed {}: {name}", self.seed);
        }
        let members = self.replica(leader).members();
        for id in members.voters.iter().chain(&members.learners) {
            if let Some(replica) = &self.servers[id].replica {
                assert!(
                    replica.snapshot() == state,
                    "seed {}: {id} differs",
                    self.seed
                );
            }
        }
    }

    pub(in super::super) fn digest(&self) -> String {
        format!("{}\n{:?}", self.describe(), self.acknowledged)
    }

    pub(super) fn describe(&self) -> String {
        let line = |(id, s): (&u64, &Server)| match &s.replica {
            None => format!("{id}: down"),
            Some(r) => format!(
                "{id}: {:?} {:?} {:?} {} appends",
                r.leadership(),
                r.snapshot(),
                r.members(),
                s.appends.len()
            ),
        };
        let lines: Vec<String> = self.servers.iter().map(line).collect();
        format!("{}\n{} messages", lines.join("\n"), self.network.len())
    }
}
