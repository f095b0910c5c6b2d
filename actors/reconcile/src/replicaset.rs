//! ReplicaSets (Kubernetes, "ReplicaSet"): as many pods of one template as wanted.
//!
//! The names of new pods follow from the ReplicaSet's uid and revision, so that a controller
//! that acts twice on one state asks for the same pods twice, and gets them once.

mod create;
mod rank;
mod status;
#[cfg(test)]
mod tests;

use crate::ownership::{self, Claimant, controller_key};
use crate::pods;
use crate::reconciler::{Outcome, Reconciler};
use crate::{report, requests};
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::apps::v1::ReplicaSet;
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::request::Request;
use kabuki_model::view::View;
use kabuki_model::{LabelSelector, ObjectKey, Resource, StatusError, Stored};
use std::sync::Arc;

/// No more pods than this are created or deleted at a time.
const BURST: usize = 500;

/// The core of the ReplicaSet controller.
pub(crate) struct ReplicaSets;

/// A pod that belongs to a ReplicaSet.
struct Member {
    stored: Arc<Stored>,
    pod: Arc<Pod>,
}

impl Reconciler for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Resource::REPLICA_SETS, Resource::PODS]
    }

    fn keys(
        &self,
        view: &dyn View,
        object: &Stored,
        previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        if object.key.resource == Resource::REPLICA_SETS {
            return vec![object.key.clone()];
        }
        let owner = |o: &Stored| controller_key(o, "ReplicaSet", &Resource::REPLICA_SETS);
        let mut keys: Vec<ObjectKey> = owner(object).into_iter().collect();
        keys.extend(previous.and_then(owner).filter(|key| !keys.contains(key)));
        if !removed && ownership::controller_of(object.meta()).is_none() {
            let selector = |owner: &Stored| selector_of(&*owner.typed::<ReplicaSet>().ok()?);
            let matching =
                ownership::keys_of_matching(view, &Resource::REPLICA_SETS, object, selector);
            keys.extend(matching);
        }
        keys
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        let Some(stored) = view.get(key) else {
            return outcome;
        };
        let Ok(set) = stored.typed::<ReplicaSet>() else {
            return outcome;
        };
        let Some(selector) = selector_of(&set) else {
            return outcome;
        };
        let members = members(view, stored, &selector, &mut outcome);
        if set.metadata.deletion_timestamp.is_none() {
            bring_to_number(view, stored, &set, &members, now, &mut outcome);
        }
        status::update(stored, &set, &members, now, &mut outcome);
        outcome
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
        let (reason, message) = match request {
            Request::Create { .. } => ("FailedCreate", format!("Error creating: {error}")),
            Request::Delete { key, .. } if key.resource == Resource::PODS => {
                ("FailedDelete", format!("Error deleting: {error}"))
            }
            _ => return outcome,
        };
        if let Some(stored) = view.get(key) {
            outcome.event(report::warning(stored, reason, message));
            if let Ok(set) = stored.typed::<ReplicaSet>() {
                status::fail(stored, &set, reason, &error.message, now, &mut outcome);
            }
        }
        outcome
    }
}

/// What a ReplicaSet selects; `None` when it cannot be read, or would select everything.
fn selector_of(set: &ReplicaSet) -> Option<LabelSelector> {
    LabelSelector::try_from(&set.spec.selector)
        .ok()
        .filter(|s| !s.is_empty())
}

fn members(
    view: &dyn View,
    stored: &Stored,
    selector: &LabelSelector,
    outcome: &mut Outcome,
) -> Vec<Member> {
    let claimant = Claimant {
        stored,
        api_version: "apps/v1",
        kind: "ReplicaSet",
        selector,
    };
    let claimed = claimant.claim(view, &Resource::PODS, outcome);
    claimed
        .into_iter()
        .filter_map(|stored| {
            let pod = stored.typed::<Pod>().ok()?;
            Some(Member { stored, pod })
        })
        .collect()
}

fn bring_to_number(
    view: &dyn View,
    stored: &Stored,
    set: &ReplicaSet,
    members: &[Member],
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let active: Vec<&Member> = members.iter().filter(|m| pods::is_active(&m.pod)).collect();
    let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
    if active.len() < wanted {
        let missing = (wanted - active.len()).min(BURST);
        for (name, pod) in create::pods(view, stored, set, missing) {
            let namespace = &stored.key.namespace;
            outcome.request(requests::create(Resource::PODS, namespace, &pod));
            let message = format!("Created pod: {name}");
            outcome.event(report::normal(stored, "SuccessfulCreate", message));
        }
    } else if active.len() > wanted {
        let surplus = (active.len() - wanted).min(BURST);
        for member in rank::first_to_go(view, stored, active, now).take(surplus) {
            outcome.request(requests::delete(&member.stored));
            let message = format!("Deleted pod: {}", member.stored.key.name);
            outcome.event(report::normal(stored, "SuccessfulDelete", message));
        }
    }
}
