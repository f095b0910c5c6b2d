//! The Node object: registered when the agent starts, with what the node has; its status is
//! written when something changed, and every few minutes as a sign of life.

mod capacity;
mod conditions;
mod object;

pub(crate) use capacity::Machine;

use crate::api;
use crate::services::Services;
use k8s_openapi::api::core::v1::Node;
use kabuki_kit::{ChildSpec, Slot};
use kabuki_model::request::Subresource;
use kabuki_model::status::Reason;
use kabuki_model::{ObjectKey, Resource, StatusError};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the machine is looked at: kubelet's `nodeStatusUpdateFrequency`.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// An unchanged status is written this often: kubelet's `nodeStatusReportFrequency`.
const REPORT_EVERY: Duration = Duration::from_secs(300);
/// A refused write is tried again after this time.
const RETRY: Duration = Duration::from_millis(200);

#[derive(RactorMessage)]
pub(crate) enum NodeMessage {
    Look,
}

/// The child that keeps the Node object.
pub(crate) fn child(services: &Arc<Services>, machine: &Machine) -> ChildSpec {
    let (services, machine) = (services.clone(), machine.clone());
    // Nobody sends it anything: it looks by itself.
    ChildSpec::worker("node", &Slot::new("node"), move |_| {
        (
            NodeKeeper {
                services: services.clone(),
                machine: machine.clone(),
            },
            (),
        )
    })
}

struct NodeKeeper {
    services: Arc<Services>,
    machine: Machine,
}

#[derive(Default)]
struct KeeperState {
    registered: bool,
    reported: Option<(Value, Instant)>,
    conditions: conditions::Since,
}

impl NodeKeeper {
    async fn look(&self, state: &mut KeeperState) -> Result<(), StatusError> {
        let name = &self.services.config.node_name;
        let key = ObjectKey::new(Resource::NODES, "", name);
        if !state.registered {
            self.register(&key).await?;
            state.registered = true;
        }
        let facts = conditions::measure(&self.services);
        let mut status = object::status(&self.services, &self.machine);
        let seen = status.clone();
        let (conditions, changed) = conditions::of(&facts, &mut state.conditions);
        let due = match &state.reported {
            None => true,
            Some((reported, at)) => changed || *reported != seen || at.elapsed() >= REPORT_EVERY,
        };
        if !due {
            return Ok(());
        }
        status["conditions"] = conditions;
        let patch = serde_json::json!({"status": status});
        match api::patch(&self.services.api, key, Some(Subresource::Status), &patch).await {
            Ok(()) => {
                state.reported = Some((seen, Instant::now()));
                Ok(())
            }
            Err(error) => {
                // Somebody deleted it: it is registered again.
                state.registered = error.reason != Reason::NotFound;
                Err(error)
            }
        }
    }

    /// Creates the object, or brings the labels of an existing one up to date.
    async fn register(&self, key: &ObjectKey) -> Result<(), StatusError> {
        let api = &self.services.api;
        let held = api::get::<Node>(api, Resource::NODES, "", &key.name).await?;
        let wanted = object::node(&self.services);
        match held {
            Some(_) => {
                let labels =
                    serde_json::json!({"metadata": {"labels": wanted["metadata"]["labels"]}});
                api::patch(api, key.clone(), None, &labels).await
            }
            None => match api::create(api, Resource::NODES, "", &wanted).await {
                Err(error) if error.reason == Reason::AlreadyExists => Ok(()),
                created => created,
            },
        }
    }
}

impl Actor for NodeKeeper {
    type Msg = NodeMessage;
    type State = KeeperState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<NodeMessage>,
        (): (),
    ) -> Result<KeeperState, ActorProcessingErr> {
        myself.cast(NodeMessage::Look)?;
        Ok(KeeperState::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<NodeMessage>,
        NodeMessage::Look: NodeMessage,
        state: &mut KeeperState,
    ) -> Result<(), ActorProcessingErr> {
        let next = match self.look(state).await {
            Ok(()) => LOOK_EVERY,
            Err(error) => {
                tracing::debug!(%error, "the node's status was not written yet");
                RETRY
            }
        };
        myself.send_after(next, || NodeMessage::Look);
        Ok(())
    }
}
