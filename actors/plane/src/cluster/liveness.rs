//! The leader's liveness actor: asks the pure core each second which nodes have been silent for
//! too long, and writes what has become of them.

use super::Signs;
use crate::gateway::GatewayHandle;
use jiff::{SignedDuration, Timestamp};
use kabuki_kit::{ChildSpec, Slot};
use kabuki_model::identity::Identity;
use kabuki_protocol::ApiHandle;
use kabuki_reconcile::{DEFAULT_GRACE, Liveness};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::time::Duration;

/// Signs of life come as often.
const PACE: Duration = Duration::from_secs(1);

#[derive(RactorMessage)]
enum LivenessMessage {
    Look,
}

struct Watcher {
    gateway: GatewayHandle,
    api: ApiHandle,
    signs: Signs,
    own_name: String,
    grace: SignedDuration,
}

/// What a supervisor starts on the leader. `own_name` is this server's node, which is alive by
/// looking.
pub fn liveness_child(
    gateway: &GatewayHandle,
    signs: &Signs,
    own_name: &str,
    grace: Option<SignedDuration>,
) -> ChildSpec {
    let (gateway, signs, own_name) = (gateway.clone(), signs.clone(), own_name.to_string());
    ChildSpec::worker("liveness", &Slot::new("liveness"), move |_place| {
        let watcher = Watcher {
            gateway: gateway.clone(),
            api: gateway.api(Identity::controller("node-lifecycle")),
            signs: signs.clone(),
            own_name: own_name.clone(),
            grace: grace.unwrap_or(DEFAULT_GRACE),
        };
        (watcher, ())
    })
}

impl Actor for Watcher {
    type Msg = LivenessMessage;
    type State = Liveness;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<LivenessMessage>,
        (): (),
    ) -> Result<Liveness, ActorProcessingErr> {
        myself.send_interval(PACE, || LivenessMessage::Look);
        Ok(Liveness::new())
    }

    async fn handle(
        &self,
        _myself: ActorRef<LivenessMessage>,
        LivenessMessage::Look: LivenessMessage,
        state: &mut Liveness,
    ) -> Result<(), ActorProcessingErr> {
        let now = Timestamp::now();
        for (node, at) in self.signs.all() {
            state.heard(&node, at);
        }
        state.heard(&self.own_name, now);
        for request in state.assess(&self.gateway.view(), now, self.grace) {
            if let Err(error) = self.api.request(request).await {
                // It is looked at again in a second.
                tracing::debug!(error = %error, "a silent node could not be marked yet");
            }
        }
        Ok(())
    }
}
