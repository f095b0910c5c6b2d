//! Which pods go first when there are too many (Kubernetes, "ReplicaSet": scaling down).

use super::Member;
use crate::ownership::controller_of;
use crate::pods;
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::view::{Index, View};
use kabuki_model::{Resource, Stored};
use std::cmp::Ordering;
use std::collections::BTreeMap;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The active members, those first that are missed least.
pub(super) fn first_to_go<'a>(
    view: &dyn View,
    stored: &Stored,
    mut active: Vec<&'a Member>,
    now: Timestamp,
) -> impl Iterator<Item = &'a Member> {
    let neighbours = neighbours(view, stored, &active);
    active.sort_by(|a, b| compare(a, b, &neighbours, now));
    active.into_iter()
}

/// How many pods of the same application each node has: those of this ReplicaSet and of its
/// siblings under the same controller.
fn neighbours(view: &dyn View, stored: &Stored, active: &[&Member]) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    let mut add = |pod: &Pod| {
        if let Some(node) = pods::node_name(pod) {
            *count.entry(node.to_string()).or_default() += 1;
        }
    };
    let Some(owner) = controller_of(stored.meta()) else {
        active.iter().for_each(|m| add(&m.pod));
        return count;
    };
    for sibling in view.indexed(Index::Owner, &owner.uid) {
        if sibling.key.resource != Resource::REPLICA_SETS {
            continue;
        }
        for object in view.indexed(Index::Owner, &sibling.uid) {
            if let Ok(pod) = object.typed::<Pod>()
                && object.key.resource == Resource::PODS
                && pods::is_active(&pod)
            {
                add(&pod);
            }
        }
    }
    count
}

fn compare(a: &Member, b: &Member, near: &BTreeMap<String, usize>, now: Timestamp) -> Ordering {
    let crowd = |pod: &Pod| pods::node_name(pod).and_then(|n| near.get(n)).copied();
    let (one, other) = (&*a.pod, &*b.pod);
    pods::is_assigned(one)
        .cmp(&pods::is_assigned(other))
        .then_with(|| stage(one).cmp(&stage(other)))
        .then_with(|| pods::is_ready(one).cmp(&pods::is_ready(other)))
        .then_with(|| cost(one).cmp(&cost(other)))
        .then_with(|| crowd(other).cmp(&crowd(one)))
        .then_with(|| younger(pods::ready_since(one), pods::ready_since(other), now))
        .then_with(|| pods::restarts(other).cmp(&pods::restarts(one)))
        .then_with(|| younger(created(one), created(other), now))
        .then_with(|| a.stored.uid.cmp(&b.stored.uid))
}

fn stage(pod: &Pod) -> u8 {
    match pods::phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    }
}

/// The annotation's number; what is no number costs nothing.
fn cost(pod: &Pod) -> i32 {
    let text = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(DELETION_COST));
    text.and_then(|t| t.parse().ok()).unwrap_or(0)
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|t| t.0)
}

/// The younger first, by orders of magnitude, so that pods of about the same age go in no
/// particular order and the newest are not always the ones that go.
fn younger(a: Option<Timestamp>, b: Option<Timestamp>, now: Timestamp) -> Ordering {
    magnitude(a, now).cmp(&magnitude(b, now))
}

fn magnitude(at: Option<Timestamp>, now: Timestamp) -> i64 {
    let Some(at) = at else {
        return -1;
    };
    let age = now.duration_since(at).as_nanos();
    match u128::try_from(age) {
        Ok(age) if age > 0 => i64::from(age.ilog2()),
        _ => -1,
    }
}
