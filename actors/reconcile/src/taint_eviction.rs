//! Pods leave nodes whose `NoExecute` taints they do not bear (Kubernetes, "Taint based
//! Evictions"): at once when they do not tolerate one, otherwise when the shortest of the
//! tolerations that they need has run out.
//!
//! A toleration runs from when the taint was given, or from when the pod came to the node if that
//! was later. Both are in the state, so a new leader goes on where the old one was, and a taint
//! that is taken away leaves nothing to be cancelled.

use crate::pods;
use crate::reconciler::{Outcome, Reconciler};
use crate::{report, requests};
use jiff::{SignedDuration, Timestamp};
use kabuki_model::k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use kabuki_model::taint::{NO_EXECUTE, tolerating};
use kabuki_model::view::{Index, View};
use kabuki_model::{ObjectKey, Resource, Stored};
use serde_json::json;

/// The core of the taint eviction controller.
pub(crate) struct TaintEviction;

/// When a pod has to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    Now,
    At(Timestamp),
    Never,
}

impl Reconciler for TaintEviction {
    fn name(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Resource::NODES, Resource::PODS]
    }

    /// The pods of nodes whose taints changed; and pods that came to a tainted node, or bear
    /// something else now.
    fn keys(
        &self,
        view: &dyn View,
        object: &Stored,
        previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        if removed {
            return Vec::new();
        }
        if object.key.resource == Resource::NODES {
            let before = previous.map(driving).unwrap_or_default();
            return match driving(object) == before {
                true => Vec::new(),
                false => pods_on(view, &object.key.name),
            };
        }
        let on_tainted = node_of(view, object).is_some_and(|node| !driving(node).is_empty());
        let same = || previous.is_some_and(|p| standing(p) == standing(object));
        match on_tainted && !same() {
            true => vec![object.key.clone()],
            false => Vec::new(),
        }
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        let Some(stored) = view.get(key) else {
            return outcome;
        };
        let Ok(pod) = stored.typed::<Pod>() else {
            return outcome;
        };
        let Some(node) = node_of(view, stored) else {
            return outcome;
        };
        if pod.metadata.deletion_timestamp.is_some() {
            return outcome;
        }
        match leaves(&pod, &driving(node)) {
            Leave::Never => {}
            Leave::At(at) if at > now => outcome.look_again(at),
            Leave::Now | Leave::At(_) => evict(stored, &pod, now, &mut outcome),
        }
        outcome
    }
}

fn pods_on(view: &dyn View, node: &str) -> Vec<ObjectKey> {
    let pods = view.indexed(Index::Node, node);
    pods.map(|p| p.key.clone()).collect()
}

/// The node that a pod is on.
fn node_of<'a>(view: &'a dyn View, pod: &Stored) -> Option<&'a Stored> {
    let pod = pod.typed::<Pod>().ok()?;
    let key = ObjectKey::new(Resource::NODES, "", pods::node_name(&pod)?);
    view.get(&key).map(|node| &**node)
}

/// The taints of a node that drive pods away.
fn driving(node: &Stored) -> Vec<Taint> {
    let Ok(node) = node.typed::<Node>() else {
        return Vec::new();
    };
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_deref());
    let driving = |t: &&Taint| t.effect == NO_EXECUTE;
    let taints = taints.unwrap_or_default().iter().filter(driving);
    taints.cloned().collect()
}

/// What of a pod decides when it leaves.
fn standing(pod: &Stored) -> Option<(Option<String>, Vec<Toleration>)> {
    let pod = pod.typed::<Pod>().ok()?;
    let node = pods::node_name(&pod).map(str::to_string);
    Some((node, tolerations(&pod).to_vec()))
}

fn tolerations(pod: &Pod) -> &[Toleration] {
    let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.as_deref());
    tolerations.unwrap_or_default()
}

/// When the pod has to leave a node with these taints.
fn leaves(pod: &Pod, taints: &[Taint]) -> Leave {
    let mut leave = Leave::Never;
    for taint in taints {
        let Some(toleration) = tolerating(tolerations(pod), taint) else {
            return Leave::Now;
        };
        let Some(seconds) = toleration.toleration_seconds else {
            continue;
        };
        let given = taint.time_added.as_ref().map(|t| t.0);
        let begin = given.max(arrived(pod)).unwrap_or(Timestamp::UNIX_EPOCH);
        let end = begin.checked_add(SignedDuration::from_secs(seconds.max(0)));
        let end = end.unwrap_or(Timestamp::MAX);
        leave = match leave {
            Leave::At(at) => Leave::At(at.min(end)),
            _ => Leave::At(end),
        };
    }
    leave
}

/// When the pod came to its node.
fn arrived(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|s| s.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let scheduled = conditions.find(|c| c.type_ == "PodScheduled" && c.status == "True");
    let time = scheduled
        .and_then(|c| c.last_transition_time.as_ref())
        .or_else(|| status.and_then(|s| s.start_time.as_ref()))
        .or(pod.metadata.creation_timestamp.as_ref());
    time.map(|t| t.0)
}

/// Deletes the pod, after it was written why.
fn evict(stored: &Stored, pod: &Pod, now: Timestamp, outcome: &mut Outcome) {
    let reason = "DeletionByTaintManager";
    let message = "Taint manager: deleting due to NoExecute taint";
    if let Some(conditions) = pods::disrupted(pod, reason, message, now) {
        let status = json!({ "conditions": conditions });
        outcome.request(requests::patch_status(stored, status));
    }
    outcome.request(requests::delete(stored));
    let (namespace, name) = (&stored.key.namespace, &stored.key.name);
    let message = format!("Marking for deletion Pod {namespace}/{name}");
    outcome.event(report::normal(stored, "TaintManagerEviction", message));
}

#[cfg(test)]
mod tests;
