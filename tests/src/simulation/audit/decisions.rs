//! What the controllers may ask for, judged by what they had before them when they decided: so
//! a pod that fails a moment later is not held against them.

use super::Invariant;
use super::changes::is_finished;
use crate::simulation::world::World;
use kabuki_model::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::kind;
use kabuki_model::percent::rolling_bounds;
use kabuki_model::reference::is_controlled_by;
use kabuki_model::request::Request;
use kabuki_model::view::{Index, View};
use kabuki_model::{LabelSelector, ObjectKey, Resource, Stored};
use kabuki_reconcile::{Action, Outcome};
use kabuki_store::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;

/// On a ReplicaSet: the size of the Deployment that it was last sized for.
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";

type Finding = Option<(Invariant, String)>;

impl World {
    pub fn audit_decision(
        &mut self,
        core: &str,
        view: &Snapshot,
        key: &ObjectKey,
        outcome: &Outcome,
    ) {
        let requests: Vec<&Request> = outcome
            .actions
            .iter()
            .filter_map(|a| match a {
                Action::Request(request) => Some(request),
                Action::Event(_) => None,
            })
            .collect();
        let finding = match core {
            "deployment-controller" => self.shrinking(view, key, &requests),
            "replicaset-controller" => unready_first(view, key, &requests),
            "garbage-collector-controller" => keeps_owned(view, &requests),
            _ => None,
        };
        if let Some((invariant, detail)) = finding {
            self.violate(invariant, detail);
        }
    }

    /// What the Deployment's ReplicaSets are to become must leave enough available pods, unless
    /// nothing that is available is taken away.
    fn shrinking(&self, view: &Snapshot, key: &ObjectKey, requests: &[&Request]) -> Finding {
        let stored = view.get(key)?;
        let deployment = stored.typed::<Deployment>().ok()?;
        let rolls = deployment.spec.strategy.as_ref()?.type_.as_deref() == Some("RollingUpdate");
        if !rolls {
            return None;
        }
        let wanted = deployment.spec.replicas.unwrap_or(1);
        let sizes = new_sizes(requests);
        let mut left = 0;
        let mut taken = 0;
        for set in view
            .indexed(Index::Owner, &stored.uid)
            .filter(|s| is_set_of(s, &stored.uid))
        {
            let object = set.typed::<ReplicaSet>().ok()?;
            let now = object.spec.replicas.unwrap_or(1);
            // Growing and shrinking in proportion has rules of its own.
            let sized_for = set.meta().annotations.as_ref().and_then(|a| a.get(DESIRED));
            if now > 0 && sized_for.is_some_and(|n| *n != wanted.to_string()) {
                return None;
            }
            let size = sizes.get(&set.key).copied().unwrap_or(now);
            let available = available(view, set, self.time());
            left += available.min(size);
            taken += (available.min(now) - size).max(0);
        }
        let least = wanted - rolling_bounds(&deployment).unavailable;
        let detail = || format!("{key}: {taken} go, {left} of at least {least} stay");
        (taken > 0 && left < least).then(|| (Invariant::AvailabilityIsKept, detail()))
    }
}

/// The sizes that ReplicaSets are to get.
fn new_sizes(requests: &[&Request]) -> BTreeMap<ObjectKey, i32> {
    let mut sizes = BTreeMap::new();
    for request in requests {
        if let Request::Patch { key, patch, .. } = request
            && key.resource == Resource::REPLICA_SETS
            && let Ok(patch) = serde_json::from_slice::<serde_json::Value>(patch)
            && let Some(size) = patch["spec"]["replicas"].as_i64()
        {
            sizes.insert(key.clone(), i32::try_from(size).unwrap_or(i32::MAX));
        }
    }
    sizes
}

fn is_set_of(object: &Stored, uid: &str) -> bool {
    object.key.resource == Resource::REPLICA_SETS && is_controlled_by(object.meta(), uid)
}

fn pods_of(view: &Snapshot, set: &Stored) -> Vec<(Arc<Stored>, Arc<Pod>)> {
    view.indexed(Index::Owner, &set.uid)
        .filter(|p| p.key.resource == Resource::PODS && is_controlled_by(p.meta(), &set.uid))
        .filter(|p| p.meta().deletion_timestamp.is_none())
        .filter_map(|p| Some((p.clone(), p.typed::<Pod>().ok()?)))
        .filter(|(_, pod)| !is_finished(pod))
        .collect()
}

fn ready_since(pod: &Pod) -> Option<jiff::Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions
        .iter()
        .find(|c| c.type_ == "Ready" && c.status == "True")?;
    ready.last_transition_time.as_ref().map(|t| t.0)
}

fn available(view: &Snapshot, set: &Stored, now: jiff::Timestamp) -> i32 {
    let min_ready = set
        .typed::<ReplicaSet>()
        .ok()
        .and_then(|s| s.spec.min_ready_seconds);
    let age = jiff::SignedDuration::from_secs(min_ready.unwrap_or(0).into());
    let pods = pods_of(view, set);
    let available = pods
        .iter()
        .filter_map(|(_, p)| ready_since(p))
        .filter(|at| *at + age <= now);
    i32::try_from(available.count()).unwrap_or(i32::MAX)
}

/// No pod that is ready goes while one that is not stays.
fn unready_first(view: &Snapshot, key: &ObjectKey, requests: &[&Request]) -> Finding {
    let set = view.get(key)?;
    let going: Vec<&ObjectKey> = requests
        .iter()
        .filter_map(|r| match r {
            Request::Delete { key, .. } => Some(key),
            _ => None,
        })
        .collect();
    let (mut ready_goes, mut unready_stays) = (None, None);
    // What it no longer selects is not its to delete.
    let selector = set.typed::<ReplicaSet>().ok()?.spec.selector.clone();
    let selector = LabelSelector::try_from(&selector).ok()?;
    for (stored, pod) in pods_of(view, set) {
        if !selector.matches_meta(stored.meta()) {
            continue;
        }
        match (ready_since(&pod).is_some(), going.contains(&&stored.key)) {
            (true, true) => ready_goes = Some(stored.key.clone()),
            (false, false) => unready_stays = Some(stored.key.clone()),
            _ => {}
        }
    }
    let (goes, stays) = (ready_goes?, unready_stays?);
    Some((
        Invariant::UnreadyPodsGoFirst,
        format!("{goes} goes and {stays} stays"),
    ))
}

/// What is collected has no owner that is there to stay.
fn keeps_owned(view: &Snapshot, requests: &[&Request]) -> Finding {
    requests.iter().find_map(|request| {
        let Request::Delete { key, .. } = request else {
            return None;
        };
        let object = view.get(key)?;
        let mut owners = object.meta().owner_references.iter().flatten();
        let solid = owners.find(|owner| {
            let resource = kind::by_name(&owner.kind).map(|k| k.resource.clone());
            resource.is_some_and(|resource| {
                let namespaced = ObjectKey::new(resource.clone(), &key.namespace, &owner.name);
                let found = view.get(&namespaced);
                let found = found.or_else(|| view.get(&ObjectKey::new(resource, "", &owner.name)));
                found.is_some_and(|f| *f.uid == *owner.uid && !goes_in_foreground(f))
            })
        })?;
        Some((
            Invariant::OwnedObjectsAreKept,
            format!("{key} is owned by {}", solid.name),
        ))
    })
}

fn goes_in_foreground(object: &Stored) -> bool {
    let mut finalizers = object.meta().finalizers.iter().flatten();
    object.meta().deletion_timestamp.is_some() && finalizers.any(|f| f == "foregroundDeletion")
}
