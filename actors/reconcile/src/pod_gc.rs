//! Pods that nobody will ever end: those bound to nodes that do not exist, and ended ones beyond
//! the number that is kept (Kubernetes, "Garbage collection of Pods").

use crate::pods;
use crate::reconciler::{Outcome, Reconciler};
use crate::requests;
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::request::DeleteOptions;
use kabuki_model::view::{Index, View};
use kabuki_model::{ObjectKey, Resource, Stored};
use std::sync::Arc;

/// How many ended pods are kept.
const MAX_FINISHED: usize = 12_500;

/// The core of the pod garbage collector.
pub(crate) struct PodGarbage;

impl Reconciler for PodGarbage {
    fn name(&self) -> &'static str {
        "pod-garbage-collector-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Resource::NODES, Resource::PODS]
    }

    /// Of a node that is gone, its key; of a pod that has ended, the key that stands for all.
    fn keys(
        &self,
        view: &dyn View,
        object: &Stored,
        previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        if object.key.resource == Resource::NODES {
            return removed.then(|| object.key.clone()).into_iter().collect();
        }
        let Ok(pod) = object.typed::<Pod>() else {
            return Vec::new();
        };
        if removed {
            return Vec::new();
        }
        let before = previous.and_then(|p| p.typed::<Pod>().ok());
        let had_ended = before.is_some_and(|p| pods::is_finished(&p));
        let mut keys = Vec::new();
        if pods::is_finished(&pod) && !had_ended {
            keys.push(all_finished());
        }
        let node = pods::node_name(&pod).map(|n| ObjectKey::new(Resource::NODES, "", n));
        keys.extend(node.filter(|key| view.get(key).is_none()));
        keys
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, _now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        if *key == all_finished() {
            for pod in beyond(view, MAX_FINISHED) {
                force(&pod, &mut outcome);
            }
        } else if view.get(key).is_none() {
            for pod in view.indexed(Index::Node, &key.name) {
                force(pod, &mut outcome);
            }
        }
        outcome
    }
}

fn all_finished() -> ObjectKey {
    ObjectKey::new(Resource::PODS, "", "")
}

/// The oldest of the ended pods, so many that `limit` are left.
fn beyond(view: &dyn View, limit: usize) -> Vec<Arc<Stored>> {
    let ended = |stored: &&Arc<Stored>| stored.typed::<Pod>().is_ok_and(|p| pods::is_finished(&p));
    let mut finished: Vec<&Arc<Stored>> = view
        .scan(&Resource::PODS, None, None)
        .filter(ended)
        .collect();
    let surplus = finished.len().saturating_sub(limit);
    if surplus == 0 {
        return Vec::new();
    }
    finished.sort_by_key(|s| {
        let created = s.meta().creation_timestamp.as_ref().map(|t| t.0);
        (created, s.key.clone())
    });
    finished.into_iter().take(surplus).cloned().collect()
}

/// Deletes a pod without waiting for a node that will not answer.
fn force(pod: &Stored, outcome: &mut Outcome) {
    let options = DeleteOptions {
        grace_period_s: Some(0),
        ..DeleteOptions::default()
    };
    outcome.request(requests::delete_with(pod, options));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use serde_json::json;

    fn pod(name: &str, node: &str) -> serde_json::Value {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": node, "containers": []}, "status": {"phase": "Running"},
        })
    }

    #[test]
    fn pods_of_a_node_that_is_gone_are_deleted() {
        let mut world = World::new(vec![Box::new(PodGarbage)]);
        let node =
            world.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}));
        let key = world.create(pod("web", "a"));
        let stray = world.create(pod("stray", "nowhere"));
        world.settle();
        assert!(world.view().get(&key).is_some());
        assert!(world.view().get(&stray).is_none());
        world.remove(&node);
        world.settle();
        assert!(world.view().get(&key).is_none());
    }

    #[test]
    fn only_the_oldest_ended_pods_are_beyond_the_limit() {
        let mut world = World::new(Vec::new());
        for (index, phase) in ["Succeeded", "Running", "Failed", "Succeeded"]
            .iter()
            .enumerate()
        {
            let mut object = pod(&format!("p{index}"), "a");
            object["status"]["phase"] = (*phase).into();
            world.create(object);
            world.advance(jiff::SignedDuration::from_secs(1));
        }
        let names = |limit| -> Vec<String> {
            let gone = beyond(world.view(), limit);
            gone.iter().map(|p| p.key.name.to_string()).collect()
        };
        assert_eq!(names(1), ["p0", "p2"]);
        assert!(names(3).is_empty());
    }
}
