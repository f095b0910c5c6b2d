//! The node's Lease in `kube-node-lease`, as a kubelet keeps it (Kubernetes, "Leases"): a sign of
//! life for whoever looks at leases. The leader does not: it hears the node itself.
//!
//! Who talks to it: nobody; it wakes by itself. Invariants: one request at a time, whatever becomes
//! of it, so that nothing piles up while no server answers; the Lease is the Node's, and goes with
//! it.

use crate::api;
use crate::services::Services;
use k8s_openapi::api::core::v1::Node;
use kabuki_kit::{Alarm, ChildSpec, Slot};
use kabuki_model::status::Reason;
use kabuki_model::{ObjectKey, Resource, StatusError};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "kube-node-lease";
/// Kubelet's `nodeLeaseDurationSeconds`.
pub(crate) const DURATION_S: u64 = 40;
/// A quarter of it, as kubelet does.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// What a node needs to take pods comes first.
const FIRST: Duration = Duration::from_secs(1);
/// The waits after writes that failed.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(7);

#[derive(RactorMessage)]
pub(crate) enum LeaseMessage {
    Renew,
}

/// The child that keeps the Lease.
pub(crate) fn child(services: &Arc<Services>) -> ChildSpec {
    let services = services.clone();
    // Nobody sends it anything.
    ChildSpec::worker("lease", &Slot::new("lease"), move |_| {
        let services = services.clone();
        (LeaseKeeper { services }, ())
    })
}

struct LeaseKeeper {
    services: Arc<Services>,
}

struct KeeperState {
    /// How long to wait after the next failure.
    wait: Duration,
    alarm: Alarm,
}

impl LeaseKeeper {
    fn name(&self) -> &str {
        &self.services.config.node_name
    }

    fn spec(&self) -> Value {
        // Its type has microseconds, and only those.
        let now = jiff::Timestamp::now();
        json!({
            "holderIdentity": self.name(), "leaseDurationSeconds": DURATION_S,
            "renewTime": format!("{now:.6}"),
        })
    }

    async fn renew(&self) -> Result<(), StatusError> {
        let key = ObjectKey::new(Resource::LEASES, NAMESPACE, self.name());
        let patch = json!({ "spec": self.spec() });
        match api::patch(&self.services.api, key, None, &patch).await {
            Err(error) if error.reason == Reason::NotFound => self.create().await,
            outcome => outcome,
        }
    }

    /// A Lease without a Node would stay when the node has gone for good.
    async fn create(&self) -> Result<(), StatusError> {
        let (api, name) = (&self.services.api, self.name());
        let node = api::get::<Node>(api, Resource::NODES, "", name).await?;
        let uid = node.and_then(|node| node.metadata.uid.clone());
        let Some(uid) = uid else {
            let key = ObjectKey::new(Resource::NODES, "", name);
            return Err(StatusError::not_found(&key));
        };
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid},
            ]},
            "spec": self.spec(),
        });
        let made = api::create(api, Resource::LEASES, NAMESPACE, &lease).await;
        made.map(drop)
    }
}

impl Actor for LeaseKeeper {
    type Msg = LeaseMessage;
    type State = KeeperState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<LeaseMessage>,
        (): (),
    ) -> Result<KeeperState, ActorProcessingErr> {
        let mut state = KeeperState {
            wait: RETRY_FIRST,
            alarm: Alarm::new(),
        };
        let first = Instant::now() + FIRST;
        state.alarm.set(first, &myself, LeaseMessage::Renew);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<LeaseMessage>,
        LeaseMessage::Renew: LeaseMessage,
        state: &mut KeeperState,
    ) -> Result<(), ActorProcessingErr> {
        let begun = Instant::now();
        let next = match self.renew().await {
            Ok(()) => {
                state.wait = RETRY_FIRST;
                begun + RENEW_EVERY
            }
            Err(error) => {
                tracing::debug!(%error, "the node's lease was not renewed yet");
                let wait = state.wait;
                state.wait = (wait * 2).min(RETRY_MAX);
                Instant::now() + wait
            }
        };
        state.alarm.set(next, &myself, LeaseMessage::Renew);
        Ok(())
    }
}
