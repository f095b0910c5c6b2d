//! The members, as a worker knows them: what it was told when it joined, then what it reads of
//! the Node objects. The servers are kept in `member.json`, so that a restarted worker finds one.
//!
//! An actor follows the Node objects through the API; handles read what it knows. A watch that
//! breaks is taken up again after a list.

use crate::Member;
use crate::facts::{MemberNode, member};
use crate::seams::{Directory, Listener};
use kabuki_kit::{ChildSpec, Slot};
use kabuki_model::request::{ListRequest, Request};
use kabuki_model::watch::{WatchEvent, WatchRequest, WatchStart};
use kabuki_model::{Resource, StatusError};
use kabuki_protocol::ApiHandle;
use kabuki_protocol::cluster::Heartbeat;
use kabuki_protocol::join::ServerAddress;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long to wait before a broken watch is taken up again.
const RETRY: Duration = Duration::from_millis(200);

/// What a worker knows of the members. Clones share it.
#[derive(Clone)]
pub struct Roster {
    data_dir: PathBuf,
    known: Arc<RwLock<Known>>,
}

struct Known {
    own: Member,
    members: BTreeMap<String, MemberNode>,
    leader: Option<String>,
    revision: u64,
}

impl Roster {
    /// A roster that begins with what the node was told.
    pub fn new(data_dir: &Path, own: Member) -> Self {
        Self {
            data_dir: data_dir.to_path_buf(),
            known: Arc::new(RwLock::new(Known {
                own,
                members: BTreeMap::new(),
                leader: None,
                revision: 0,
            })),
        }
    }

    /// The actor that follows the Node objects. `changed` is called when servers came or went.
    pub fn child(&self, api: ApiHandle, changed: Arc<dyn Fn() + Send + Sync>) -> ChildSpec {
        let own = self.clone();
        ChildSpec::worker("roster", &Slot::new("roster"), move |_| {
            let keeper = Keeper {
                roster: own.clone(),
                api: api.clone(),
                changed: changed.clone(),
            };
            (keeper, ())
        })
    }

    fn read<R>(&self, then: impl FnOnce(&Known) -> R) -> R {
        then(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<R>(&self, then: impl FnOnce(&mut Known) -> R) -> R {
        then(&mut self.known.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over the members, and keeps the servers when they have changed; tells whether.
    fn settle(&self, members: BTreeMap<String, MemberNode>) -> bool {
        let changed = self.write(|known| {
            known.members = members;
            let servers = servers_of(&known.members);
            let changed = !servers.is_empty() && servers != known.own.servers;
            if changed {
                known.own.servers = servers;
            }
            changed.then(|| known.own.clone())
        });
        let Some(own) = changed else { return false };
        if let Err(error) = own.save(&self.data_dir) {
            tracing::warn!(error = %error, "the servers' addresses could not be kept");
        }
        true
    }
}

fn servers_of(members: &BTreeMap<String, MemberNode>) -> Vec<ServerAddress> {
    let servers = members.values().filter_map(|m| {
        Some(ServerAddress {
            name: m.name.clone(),
            address: m.address.clone(),
            server_id: m.server_id?,
        })
    });
    servers.collect()
}

impl Directory for Roster {
    fn servers(&self) -> Vec<ServerAddress> {
        self.read(|known| known.own.servers.clone())
    }

    fn address(&self, node: &str) -> Option<String> {
        self.read(|known| {
            let member = known.members.get(node).map(|m| m.address.clone());
            let told = || known.own.servers.iter().find(|s| s.name == node);
            member.or_else(|| told().map(|s| s.address.clone()))
        })
    }

    fn is_member(&self, node: &str, key_sha256: &str) -> bool {
        self.read(|known| match known.members.get(node) {
            Some(member) => member.key == key_sha256,
            // Not known yet: the certificate, which lives a day, has to do.
            None => known.members.is_empty(),
        })
    }

    fn leader(&self) -> Option<String> {
        self.read(|known| known.leader.clone())
    }
}

/// The ears of a worker.
pub struct RosterListener {
    /// What it knows.
    pub roster: Roster,
    /// When this node's certificate ends: seconds since the epoch.
    pub certificate_ends_s: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// A session with a server broke.
    pub lost: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Listener for RosterListener {
    fn sign_of_life(&self, sent_us: u64) -> Heartbeat {
        Heartbeat {
            sent_us,
            revision: self.roster.read(|known| known.revision),
            program: env!("CARGO_PKG_VERSION").to_string(),
            certificate_ends_s: (self.certificate_ends_s)(),
        }
    }

    fn raft(&self, _message: &[u8]) {
        tracing::debug!("a worker takes no part in the consensus");
    }

    fn heard(&self, _node: &str, _heartbeat: &Heartbeat) -> (Option<String>, u64) {
        self.roster
            .read(|known| (known.leader.clone(), known.revision))
    }

    fn answered(&self, _server: &str, leader: Option<String>, revision: u64) {
        self.roster.write(|known| {
            // The server that knows more speaks of the later time.
            if revision >= known.revision && leader.is_some() {
                known.leader = leader;
            }
            known.revision = known.revision.max(revision);
        });
    }

    fn connected(&self, _node: &str) {}

    fn lost(&self, node: &str) {
        (self.lost)(node);
    }
}

#[derive(RactorMessage)]
enum RosterMessage {}

struct Keeper {
    roster: Roster,
    api: ApiHandle,
    changed: Arc<dyn Fn() + Send + Sync>,
}

/// Ends the following with the actor.
struct Following(JoinHandle<()>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Actor for Keeper {
    type Msg = RosterMessage;
    type State = Following;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<RosterMessage>,
        (): (),
    ) -> Result<Following, ActorProcessingErr> {
        let (roster, api, changed) = (self.roster.clone(), self.api.clone(), self.changed.clone());
        Ok(Following(tokio::spawn(async move {
            loop {
                if let Err(error) = follow(&roster, &api, &changed).await {
                    tracing::debug!(error = %error, "the members cannot be followed now");
                }
                tokio::time::sleep(RETRY).await;
            }
        })))
    }
}

/// Lists the nodes, then follows their changes until the watch ends.
async fn follow(
    roster: &Roster,
    api: &ApiHandle,
    changed: &Arc<dyn Fn() + Send + Sync>,
) -> Result<(), StatusError> {
    let selection = ListRequest::all(Resource::NODES, None);
    let answer = api.request(Request::List(selection.clone())).await?;
    let list = answer.into_list().unwrap_or_default();
    let found = list.items.iter().filter_map(|n| member(n));
    let mut members: BTreeMap<String, MemberNode> = found.map(|m| (m.name.clone(), m)).collect();
    if roster.settle(members.clone()) {
        changed();
    }
    let start = WatchStart::After(list.revision);
    let request = WatchRequest {
        selection,
        start,
        bookmarks: false,
    };
    let mut watch = api.watch(request).await?;
    while let Some(event) = watch.next().await {
        let event = event?;
        let Some(object) = event.object() else {
            continue;
        };
        let name = object.key.name.to_string();
        match (&event, member(object)) {
            (WatchEvent::Deleted { .. }, _) | (_, None) => drop(members.remove(&name)),
            (_, Some(member)) => drop(members.insert(name, member)),
        }
        if roster.settle(members.clone()) {
            changed();
        }
    }
    Ok(())
}
