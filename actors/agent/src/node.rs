//! The Node object: registered when the agent starts, with what the node has; its status is
//! written when something changed, every few minutes as a sign of life, and when somebody else
//! wrote something that the node knows better (the leader takes a node that it does not hear of
//! for lost; a node that reads so of itself is not).
//!
//! Who talks to it: nobody; it looks at the machine by itself, and watches its own object.

mod capacity;
mod conditions;
mod features;
mod object;
mod reserved;
mod view;
mod watch;
mod zone;

pub(crate) use capacity::{Machine, disk, meminfo};
pub(crate) use features::{OwnUsers, version};
pub use reserved::ReservedError;
pub(crate) use reserved::allocatable;
pub(crate) use zone::Zone;

use crate::api;
use crate::services::Services;
use conditions::Conditions;
use k8s_openapi::api::core::v1::Node;
use kabuki_kit::{Alarm, ChildSpec, Slot};
use kabuki_model::request::Subresource;
use kabuki_model::status::Reason;
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use view::Patience;

/// How often the machine is looked at: kubelet's `nodeStatusUpdateFrequency`.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(10);
/// An unchanged status is written this often: kubelet's `nodeStatusReportFrequency`.
pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(300);
/// A node that was deleted registers again after this time, if it is still there by then: whoever
/// deleted it may be taking it out of the cluster.
const RETURN: Duration = Duration::from_secs(2);
/// A refused write is tried again after this time.
const RETRY: Duration = Duration::from_millis(200);

#[derive(RactorMessage)]
pub(crate) enum NodeMessage {
    Look,
    /// The API has the node like this; or not at all.
    Seen(Option<Arc<Stored>>),
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
    /// What was written last, and when.
    reported: Option<(Value, Instant)>,
    /// The conditions that were written last, and the revision of the node with them.
    written: Option<(Value, u64)>,
    /// Conditions that others keep.
    others: Vec<Value>,
    /// Whether the API has the node as ready, as far as is known.
    is_ready: bool,
    conditions: Conditions,
    patience: Patience,
    alarm: Alarm,
    _watch: JoinSet<()>,
}

impl NodeKeeper {
    fn key(&self) -> ObjectKey {
        ObjectKey::new(Resource::NODES, "", &self.services.config.node_name)
    }

    /// Looks at the machine, and writes what is new.
    async fn look(&self, state: &mut KeeperState) -> Result<(), StatusError> {
        let relief = self.services.config.eviction.transition;
        // What came and went between two looks counts as well.
        let pressed = self.services.pressure.lately(relief);
        let mut status = object::status(&self.services, &self.machine);
        let seen = status.clone();
        let (own, changed) = state.conditions.now(&pressed, jiff::Timestamp::now());
        let mut all = own.as_array().cloned().unwrap_or_default();
        all.extend(state.others.iter().cloned());
        status["conditions"] = Value::Array(all);
        if !state.registered {
            let made = self.register(&status).await?;
            state.registered = true;
            state.reported = None;
            if let Some(revision) = made {
                state.reported = Some((seen, Instant::now()));
                state.written = Some((own, revision));
                return Ok(());
            }
        }
        let due = match &state.reported {
            None => true,
            Some((reported, at)) => changed || *reported != seen || at.elapsed() >= REPORT_EVERY,
        };
        if !due {
            return Ok(());
        }
        let patch = json!({ "status": status });
        let part = Some(Subresource::Status);
        match api::patch_at(&self.services.api, self.key(), part, &patch).await {
            Ok(revision) => {
                state.reported = Some((seen, Instant::now()));
                state.written = Some((own, revision));
                Ok(())
            }
            Err(error) => {
                // Whatever became of it, it is written again.
                state.reported = None;
                // Somebody deleted it: it is registered again.
                state.registered = error.reason != Reason::NotFound;
                Err(error)
            }
        }
    }

    /// Creates the object with its first status, and gives its revision; or brings the labels of
    /// an existing one up to date.
    async fn register(&self, status: &Value) -> Result<Option<u64>, StatusError> {
        let api = &self.services.api;
        let key = self.key();
        let held = api::get::<Node>(api, Resource::NODES, "", &key.name).await?;
        let mut wanted = object::node(&self.services);
        if held.is_none() {
            wanted["status"] = status.clone();
            match api::create(api, Resource::NODES, "", &wanted).await {
                Ok(revision) => return Ok(Some(revision)),
                // Only this node makes this object: an earlier request was done after all.
                Err(error) if error.reason == Reason::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        let meta = &wanted["metadata"];
        let told = json!({"metadata": {
            "labels": meta["labels"], "annotations": meta["annotations"],
        }});
        api::patch(api, key, None, &told).await.map(|()| None)
    }

    /// Compares what the API has with what was written last. Says when to write it again.
    fn seen(&self, object: Option<Arc<Stored>>, state: &mut KeeperState) -> Option<Duration> {
        let Some(object) = object else {
            state.is_ready = false;
            return std::mem::take(&mut state.registered).then_some(RETURN);
        };
        let node = match object.typed::<Node>() {
            Ok(node) => node,
            Err(error) => {
                tracing::error!(%error, "the own node cannot be read");
                return None;
            }
        };
        self.services.zone.seen(&node);
        let ready = view::is_ready(&node);
        if ready && !state.is_ready {
            // Its pods were taken for not ready with it.
            self.services.statuses.repeat_all();
        }
        state.is_ready = ready;
        let (own, revision) = state.written.as_ref()?;
        // What is older than the own write was overwritten by it.
        if object.revision < *revision {
            return None;
        }
        state.others = view::of_others(own, &node);
        if !view::contradicts(own, &node) {
            return None;
        }
        state.reported = None;
        let wait = state.patience.contradicted(Instant::now());
        tracing::info!(
            wait_ms = wait.as_millis() as u64,
            "somebody else wrote this node's conditions, they are written again"
        );
        Some(wait)
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
        let mut state = KeeperState::default();
        let mut pressed = self.services.pressure.changes();
        let keeper = myself.clone();
        state._watch.spawn(async move {
            while pressed.changed().await.is_ok() && keeper.cast(NodeMessage::Look).is_ok() {}
        });
        state
            ._watch
            .spawn(watch::run(self.services.clone(), myself));
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<NodeMessage>,
        message: NodeMessage,
        state: &mut KeeperState,
    ) -> Result<(), ActorProcessingErr> {
        let next = match message {
            NodeMessage::Look => match self.look(state).await {
                Ok(()) => LOOK_EVERY,
                Err(error) => {
                    tracing::debug!(%error, "the node's status was not written yet");
                    RETRY
                }
            },
            NodeMessage::Seen(object) => match self.seen(object, state) {
                Some(wait) => wait,
                None => return Ok(()),
            },
        };
        let at = Instant::now() + next;
        state.alarm.set(at, &myself, NodeMessage::Look);
        Ok(())
    }
}
