//! Deployments (Kubernetes, "Deployments"): a ReplicaSet per template, and the way from one
//! to the next.
//!
//! | module | what |
//! |---|---|
//! | `rollout` | what one reconciliation knows and plans |
//! | `revision` | which ReplicaSet is the new one, revisions and annotations, making a new one |
//! | `rolling` | the strategy `RollingUpdate` |
//! | `recreate` | the strategy `Recreate` |
//! | `scale` | another number of replicas while several ReplicaSets have pods |
//! | `status` | counters and conditions |
//! | `history` | old ReplicaSets beyond the limit |

mod history;
mod recreate;
mod revision;
mod rolling;
mod rollout;
mod scale;
mod status;
#[cfg(test)]
mod tests;

use crate::ownership::{self, controller_key};
use crate::pods;
use crate::reconciler::{Outcome, Reconciler};
use crate::report;
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::apps::v1::Deployment;
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::request::Request;
use kabuki_model::view::View;
use kabuki_model::{LabelSelector, ObjectKey, Resource, StatusError, Stored};
use rollout::Rollout;

/// The core of the Deployment controller.
pub(crate) struct Deployments;

impl Reconciler for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![
            Resource::DEPLOYMENTS,
            Resource::REPLICA_SETS,
            Resource::PODS,
        ]
    }

    fn keys(
        &self,
        view: &dyn View,
        object: &Stored,
        previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        if object.key.resource == Resource::DEPLOYMENTS {
            return vec![object.key.clone()];
        }
        if object.key.resource == Resource::PODS {
            return key_of_ended(view, object, removed).into_iter().collect();
        }
        let owner = |o: &Stored| controller_key(o, "Deployment", &Resource::DEPLOYMENTS);
        let mut keys: Vec<ObjectKey> = owner(object).into_iter().collect();
        keys.extend(previous.and_then(owner).filter(|key| !keys.contains(key)));
        if !removed && ownership::controller_of(object.meta()).is_none() {
            let selector = |owner: &Stored| selector_of(&*owner.typed::<Deployment>().ok()?);
            keys.extend(ownership::keys_of_matching(
                view,
                &Resource::DEPLOYMENTS,
                object,
                selector,
            ));
        }
        keys
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, now: Timestamp) -> Outcome {
        let Some(mut rollout) = Rollout::begin(view, key, now) else {
            return Outcome::done();
        };
        let spec = &rollout.deployment.spec;
        let paused = spec.paused == Some(true);
        let recreate = spec.strategy.as_ref().and_then(|s| s.type_.as_deref()) == Some("Recreate");
        if rollout.deployment.metadata.deletion_timestamp.is_some() {
            rollout.update_status();
            return rollout.finish();
        }
        rollout.note_pause();
        if paused || rollout.is_scaled() {
            rollout.sync_new_set();
            rollout.scale();
            if paused {
                rollout.clean_history();
            }
            rollout.update_status();
        } else if recreate {
            rollout.recreate();
        } else {
            rollout.roll();
        }
        rollout.finish()
    }

    fn refused(
        &self,
        view: &dyn View,
        key: &ObjectKey,
        request: &Request,
        error: &StatusError,
        now: Timestamp,
    ) -> Outcome {
        let mut outcome = Outcome::done();
        let Request::Create { object, .. } = request else {
            return outcome;
        };
        let name = name_in(object);
        if let Some(stored) = view.get(key)
            && let Ok(deployment) = stored.typed::<Deployment>()
        {
            let message = format!("Failed to create new replica set {name:?}: {error}");
            outcome.event(report::warning(
                stored,
                "ReplicaSetCreateError",
                message.clone(),
            ));
            status::creation_failed(stored, &deployment, message, now, &mut outcome);
        }
        outcome
    }
}

/// `metadata.name` of an object that was to be created.
fn name_in(json: &[u8]) -> String {
    let object: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_string()
}

/// What a Deployment selects; `None` when it cannot be read, or would select everything.
fn selector_of(deployment: &Deployment) -> Option<LabelSelector> {
    LabelSelector::try_from(&deployment.spec.selector)
        .ok()
        .filter(|s| !s.is_empty())
}

/// The Deployment of a pod that is gone, ended or on its way out: `Recreate` waits for that. All
/// else that matters of a pod shows in its ReplicaSet's status.
fn key_of_ended(view: &dyn View, object: &Stored, removed: bool) -> Option<ObjectKey> {
    let set = controller_key(object, "ReplicaSet", &Resource::REPLICA_SETS)?;
    let ended = removed || !pods::is_active(&*object.typed::<Pod>().ok()?);
    if !ended {
        return None;
    }
    controller_key(view.get(&set)?, "Deployment", &Resource::DEPLOYMENTS)
}
