//! The leader's membership actor: brings Raft's voters and learners in step with the servers that
//! have a Node object, one step of the pure [`policy`] at a time, and lets the Node of a removed
//! server go once its vote is gone.

pub mod policy;

use super::{Signs, StateDirectory};
use crate::gateway::GatewayHandle;
use crate::raft::RaftHandle;
use crate::raft::core::Members;
use jiff::Timestamp;
use kabuki_cluster::facts::VOTE_FINALIZER;
use kabuki_kit::{ChildSpec, Slot};
use kabuki_model::identity::Identity;
use kabuki_model::request::{PatchType, Request, WriteOptions};
use kabuki_model::view::View as _;
use kabuki_model::{ObjectKey, Resource, StatusError};
use kabuki_protocol::ApiHandle;
use policy::{ServerState, Step, next_step};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often it looks when nothing happens: silence is noticed by looking.
const PACE: Duration = Duration::from_secs(1);
/// How soon it looks after a change, at most: several often come together.
const SOON: Duration = Duration::from_millis(50);

#[derive(RactorMessage)]
enum MembershipMessage {
    Look,
}

struct Membership {
    gateway: GatewayHandle,
    raft: RaftHandle,
    directory: StateDirectory,
    signs: Signs,
    api: ApiHandle,
}

/// What a supervisor starts on the leader.
pub fn membership_child(
    gateway: &GatewayHandle,
    raft: &RaftHandle,
    directory: &StateDirectory,
    signs: &Signs,
) -> ChildSpec {
    let (gateway, raft) = (gateway.clone(), raft.clone());
    let (directory, signs) = (directory.clone(), signs.clone());
    ChildSpec::worker("membership", &Slot::new("membership"), move |_place| {
        let membership = Membership {
            gateway: gateway.clone(),
            raft: raft.clone(),
            directory: directory.clone(),
            signs: signs.clone(),
            api: gateway.api(Identity::bootstrap()),
        };
        (membership, ())
    })
}

impl Actor for Membership {
    type Msg = MembershipMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<MembershipMessage>,
        (): (),
    ) -> Result<(), ActorProcessingErr> {
        myself.cast(MembershipMessage::Look)?;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<MembershipMessage>,
        MembershipMessage::Look: MembershipMessage,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let moved = self.look().await;
        let next = match moved {
            Ok(true) => SOON,
            Ok(false) => PACE,
            Err(error) => {
                tracing::debug!(error = %error, "the servers cannot be changed yet");
                PACE
            }
        };
        let mut revisions = self.raft.revision();
        tokio::spawn(async move {
            // A Node that comes or goes changes the revision.
            let _ = tokio::time::timeout(next, revisions.changed()).await;
            tokio::time::sleep(SOON).await;
            let _ = myself.cast(MembershipMessage::Look);
        });
        Ok(())
    }
}

impl Membership {
    /// Does the next step, if there is one.
    async fn look(&self) -> Result<bool, StatusError> {
        let now = Timestamp::now();
        let raft = self.raft.members().await?;
        let step = next_step(&self.servers(&raft, now));
        let moved = step.is_some();
        match step {
            Some(Step::Change(change)) => {
                tracing::info!(?change, "changing the servers");
                self.raft.reconfigure(change).await?;
            }
            Some(Step::HandOver { to }) => {
                tracing::info!(to, "handing leadership over: this server is leaving");
                self.raft.transfer_leadership(Some(to)).await?;
            }
            None => {}
        }
        self.let_go(&self.raft.members().await?).await?;
        Ok(moved)
    }

    fn servers(&self, raft: &Members, now: Timestamp) -> Vec<ServerState> {
        let (own_id, heard) = (self.raft.status().id, self.signs.all());
        let members = self.directory.members();
        let name_of: BTreeMap<u64, &str> = members
            .values()
            .filter_map(|m| Some((m.server_id?, m.name.as_str())))
            .collect();
        let mut ids: Vec<u64> = raft.voters.iter().chain(&raft.learners).copied().collect();
        ids.extend(name_of.keys());
        ids.sort_unstable();
        ids.dedup();
        let server = |id: u64| {
            let name = name_of.get(&id).copied();
            let progress = raft.progress.iter().find(|p| p.id == id);
            let heard = name.and_then(|n| heard.get(n));
            let silent = match heard {
                _ if id == own_id => Duration::ZERO,
                Some(at) => Duration::try_from(now.duration_since(*at)).unwrap_or_default(),
                None => Duration::MAX,
            };
            ServerState {
                id,
                votes: raft.voters.contains(&id),
                known: raft.voters.contains(&id) || raft.learners.contains(&id),
                wanted: name
                    .and_then(|n| members.get(n))
                    .is_some_and(|m| !m.leaving),
                silent,
                behind: match progress {
                    _ if id == own_id => 0,
                    Some(p) => raft.last_index.saturating_sub(p.match_index),
                    None => u64::MAX,
                },
                leader: id == own_id,
            }
        };
        ids.into_iter().map(server).collect()
    }

    /// Takes the finalizer off the Nodes of servers that are leaving and take no more part.
    async fn let_go(&self, raft: &Members) -> Result<(), StatusError> {
        for member in self.directory.members().values() {
            let Some(id) = member.server_id.filter(|_| member.leaving) else {
                continue;
            };
            let takes_part = raft
                .voters
                .iter()
                .chain(&raft.outgoing)
                .chain(&raft.learners);
            if takes_part.copied().any(|other| other == id) {
                continue;
            }
            self.take_finalizer(&member.name).await?;
        }
        Ok(())
    }

    async fn take_finalizer(&self, name: &str) -> Result<(), StatusError> {
        let key = ObjectKey::new(Resource::NODES, "", name);
        let view = self.gateway.view();
        let Some(node) = view.get(&key) else {
            return Ok(());
        };
        let json: serde_json::Value =
            serde_json::from_slice(&node.json).map_err(|e| StatusError::internal(e.to_string()))?;
        let held = json["metadata"]["finalizers"].as_array().cloned();
        let kept = held.unwrap_or_default().into_iter();
        let kept: Vec<serde_json::Value> = kept.filter(|f| f != VOTE_FINALIZER).collect();
        let patch = serde_json::json!({"metadata": {
            "finalizers": kept, "resourceVersion": node.revision.to_string(),
        }});
        let request = Request::Patch {
            key,
            subresource: None,
            patch_type: PatchType::Merge,
            patch: patch.to_string().into(),
            options: WriteOptions::default(),
        };
        self.api.request(request).await.map(drop)
    }
}
