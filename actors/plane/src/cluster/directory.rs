//! Where the members are, read from the newest state; a server that has no state yet answers from
//! what it was told when it joined.

use crate::raft::RaftHandle;
use kabuki_cluster::facts::{MemberNode, member};
use kabuki_cluster::seams::Directory;
use kabuki_model::Resource;
use kabuki_model::view::View;
use kabuki_protocol::join::ServerAddress;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The members of the newest state.
#[derive(Clone)]
pub struct StateDirectory {
    raft: RaftHandle,
    told: Arc<Vec<ServerAddress>>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// The Node objects that `members` was made from: each with its revision.
    from: Vec<(Arc<str>, u64)>,
    members: Arc<BTreeMap<String, MemberNode>>,
}

impl StateDirectory {
    /// A directory over the state. `told` are the servers that are known without it.
    pub fn new(raft: RaftHandle, told: Vec<ServerAddress>) -> Self {
        Self {
            raft,
            told: Arc::new(told),
            known: Arc::default(),
        }
    }

    /// Every member by name.
    pub fn members(&self) -> Arc<BTreeMap<String, MemberNode>> {
        let view = self.raft.snapshot();
        let nodes = || view.scan(&Resource::NODES, None, None);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let same = nodes().map(|n| (&n.key.name, n.revision));
        if !same.eq(known.from.iter().map(|(name, revision)| (name, *revision))) {
            known.from = nodes().map(|n| (n.key.name.clone(), n.revision)).collect();
            let members = nodes().filter_map(|n| member(n));
            known.members = Arc::new(members.map(|m| (m.name.clone(), m)).collect());
        }
        known.members.clone()
    }

    /// The node of a server, by its number.
    pub fn name_of(&self, server_id: u64) -> Option<String> {
        let members = self.members();
        let known = members.values().find(|m| m.server_id == Some(server_id));
        let told = || self.told.iter().find(|s| s.server_id == server_id);
        known
            .map(|m| m.name.clone())
            .or_else(|| told().map(|s| s.name.clone()))
    }

    /// The number of a server, by its node.
    pub fn server_id_of(&self, name: &str) -> Option<u64> {
        let known = self.members().get(name).and_then(|m| m.server_id);
        let told = || self.told.iter().find(|s| s.name == name);
        known.or_else(|| told().map(|s| s.server_id))
    }
}

impl Directory for StateDirectory {
    fn servers(&self) -> Vec<ServerAddress> {
        let members = self.members();
        let servers = members.values().filter_map(|m| {
            Some(ServerAddress {
                name: m.name.clone(),
                address: m.address.clone(),
                server_id: m.server_id?,
            })
        });
        let servers: Vec<ServerAddress> = servers.collect();
        match servers.is_empty() {
            true => self.told.to_vec(),
            false => servers,
        }
    }

    fn address(&self, node: &str) -> Option<String> {
        let known = self.members().get(node).map(|m| m.address.clone());
        let told = || self.told.iter().find(|s| s.name == node);
        known.or_else(|| told().map(|s| s.address.clone()))
    }

    fn is_member(&self, node: &str, key_sha256: &str) -> bool {
        let members = self.members();
        match members.get(node) {
            Some(member) => member.key == key_sha256,
            // Without any state a server knows the others only by their certificates.
            None => members.is_empty(),
        }
    }

    fn leader(&self) -> Option<String> {
        let leader = self.raft.leadership().borrow().leader?;
        self.name_of(leader)
    }
}
