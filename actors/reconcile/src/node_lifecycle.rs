//! What a node's conditions mean for new pods and for those that are there (Kubernetes, "Node
//! controller" and "Taint nodes by condition").
//!
//! Two kinds of keys. A node's own: the `NoSchedule` taints that follow from its conditions and
//! from `spec.unschedulable`, at once; everything lifted when it is well again; its pods marked as
//! not ready while it is not. And one key for all nodes together: who gets a `NoExecute` taint
//! next, because those drive pods away and are therefore given out slowly, zone by zone
//! ([`zones`]).
//!
//! Nothing is remembered beside the state: how fast a zone may lose nodes follows from when its
//! nodes were tainted. A node that recovered no longer counts, so that nodes which come and go
//! make room for others earlier than a limiter with a memory would.

mod taints;
mod zones;

use crate::pods;
use crate::reconciler::{Outcome, Reconciler};
use crate::{report, requests};
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kabuki_model::view::{Index, View};
use kabuki_model::{ObjectKey, Resource, Stored};
use serde_json::{Value, json};

/// The core of the node lifecycle controller.
pub(crate) struct NodeLifecycle;

impl Reconciler for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-lifecycle-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Resource::NODES, Resource::PODS]
    }

    fn keys(
        &self,
        view: &dyn View,
        object: &Stored,
        previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        if object.key.resource == Resource::PODS {
            return match removed {
                true => Vec::new(),
                false => node_of_unready(view, object).into_iter().collect(),
            };
        }
        let mut keys = Vec::new();
        if !removed {
            keys.push(object.key.clone());
        }
        let standing = |stored: &Stored| stored.typed::<Node>().ok().map(|n| zones::standing(&n));
        if removed || previous.is_none_or(|p| standing(p) != standing(object)) {
            keys.push(all_nodes());
        }
        keys
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, now: Timestamp) -> Outcome {
        if *key == all_nodes() {
            return zones::reconcile(view, now);
        }
        let mut outcome = Outcome::done();
        let Some(stored) = view.get(key) else {
            return outcome;
        };
        let Ok(node) = stored.typed::<Node>() else {
            return outcome;
        };
        let held = taints::held(&node);
        let settled = taints::settled(&node, requests::whole_second(now));
        if settled != held {
            outcome.request(set_taints(stored, &settled));
            if taints::is_lost(&settled) && !taints::is_lost(held) {
                let message = format!("Node {} status is now: NodeNotReady", key.name);
                outcome.event(report::normal(stored, "NodeNotReady", message));
            }
        }
        if is_lost(&node) {
            for pod in view.indexed(Index::Node, &key.name) {
                mark_not_ready(pod, now, &mut outcome);
            }
        }
        outcome
    }
}

/// The key that stands for all nodes together.
fn all_nodes() -> ObjectKey {
    ObjectKey::new(Resource::NODES, "", "")
}

/// The node's condition `Ready`.
fn ready(node: &Node) -> Option<&NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_ == "Ready")
}

/// Whether the node says that it is not ready, or nothing is heard of it.
pub(crate) fn is_lost(node: &Node) -> bool {
    ready(node).is_some_and(|c| c.status != "True")
}

/// The node of a ready pod, when that node is not.
fn node_of_unready(view: &dyn View, object: &Stored) -> Option<ObjectKey> {
    let pod = object.typed::<Pod>().ok()?;
    if !pods::is_ready(&pod) {
        return None;
    }
    let key = ObjectKey::new(Resource::NODES, "", pods::node_name(&pod)?);
    let node = view.get(&key)?.typed::<Node>().ok()?;
    is_lost(&node).then_some(key)
}

/// Sets the node's taints, if it still is in the form that was looked at.
fn set_taints(stored: &Stored, taints: &[Taint]) -> kabuki_model::request::Request {
    let taints = match taints.is_empty() {
        true => Value::Null,
        false => json!(taints),
    };
    requests::patch(stored, json!({}), Some(json!({ "taints": taints })))
}

/// Nobody can say any more that a ready pod is ready when its node is not.
fn mark_not_ready(stored: &Stored, now: Timestamp, outcome: &mut Outcome) {
    let Ok(pod) = stored.typed::<Pod>() else {
        return;
    };
    if !pods::is_ready(&pod) {
        return;
    }
    let held = pod.status.as_ref().and_then(|s| s.conditions.clone());
    let mut conditions = held.unwrap_or_default();
    for condition in conditions.iter_mut().filter(|c| c.type_ == "Ready") {
        condition.status = "False".to_string();
        condition.reason = Some("NodeNotReady".to_string());
        condition.message = Some("Node is not ready".to_string());
        condition.last_transition_time = Some(Time(requests::whole_second(now)));
    }
    let status = json!({ "conditions": conditions });
    outcome.request(requests::patch_status(stored, status));
    let message = "Node is not ready".to_string();
    outcome.event(report::warning(stored, "NodeNotReady", message));
}

#[cfg(test)]
mod tests;
