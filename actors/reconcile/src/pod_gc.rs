//! Pods that nobody will ever end (Kubernetes, "Garbage collection of Pods"): those bound to nodes
//! that do not exist, those that are to go from nodes which people declared out of service, and
//! ended ones beyond the number that is kept.
//!
//! Kubernetes waits 40 seconds before it believes that a node is gone, because its controller sees
//! nodes and pods through two caches. Here both are read at one revision, so that a node which is
//! not there has been deleted.

use crate::node_lifecycle::is_lost;
use crate::pods;
use crate::reconciler::{Outcome, Reconciler};
use crate::requests;
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::core::v1::{Node, Pod};
use kabuki_model::request::DeleteOptions;
use kabuki_model::taint::OUT_OF_SERVICE;
use kabuki_model::view::{Index, View};
use kabuki_model::{ObjectKey, Resource, Stored};
use serde_json::json;
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

    /// Of a node that is gone or off, its key; of a pod that has ended, the key that stands for
    /// all.
    fn keys(
        &self,
        view: &dyn View,
        object: &Stored,
        previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        if object.key.resource == Resource::NODES {
            let concerned = removed || is_off(object);
            return concerned.then(|| object.key.clone()).into_iter().collect();
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
        let leaving = pod.metadata.deletion_timestamp.is_some();
        keys.extend(node.filter(|key| match view.get(key) {
            None => true,
            Some(node) => leaving && is_off(node),
        }));
        keys
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        if *key == all_finished() {
            for pod in beyond(view, MAX_FINISHED) {
                force(&pod, &mut outcome);
            }
            return outcome;
        }
        match view.get(key) {
            None => {
                for pod in view.indexed(Index::Node, &key.name) {
                    fail(pod, Some("PodGC: node no longer exists"), now, &mut outcome);
                    force(pod, &mut outcome);
                }
            }
            Some(node) if is_off(node) => {
                let pods = view.indexed(Index::Node, &key.name);
                for pod in pods.filter(|p| p.meta().deletion_timestamp.is_some()) {
                    fail(pod, None, now, &mut outcome);
                    force(pod, &mut outcome);
                }
            }
            Some(_) => {}
        }
        outcome
    }
}

/// Whether the node is lost, and people say that nothing runs on it any more.
fn is_off(node: &Stored) -> bool {
    let Ok(node) = node.typed::<Node>() else {
        return false;
    };
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_ref());
    let off = taints.is_some_and(|t| t.iter().any(|t| t.key == OUT_OF_SERVICE));
    off && is_lost(&node)
}

/// Whoever waits for the end of a pod is told that it ended: there is no node left to say so.
fn fail(stored: &Stored, why: Option<&str>, now: Timestamp, outcome: &mut Outcome) {
    let Ok(pod) = stored.typed::<Pod>() else {
        return;
    };
    if pods::is_finished(&pod) {
        return;
    }
    let mut status = json!({"phase": "Failed"});
    let conditions = why.and_then(|why| pods::disrupted(&pod, "DeletionByPodGC", why, now));
    if let Some(conditions) = conditions {
        status["conditions"] = json!(conditions);
    }
    outcome.request(requests::patch_status(stored, status));
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
    use kabuki_model::request::Request;

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
    fn a_pod_whose_node_is_gone_fails_before_it_goes() {
        let mut world = World::new(vec![Box::new(PodGarbage)]);
        world.create(pod("stray", "nowhere"));
        world.step();
        let Some(Request::Patch { patch, .. }) = world.requests.first() else {
            panic!("no patch: {:?}", world.requests);
        };
        let patch: serde_json::Value = serde_json::from_slice(patch).expect("JSON");
        assert_eq!(patch["status"]["phase"], "Failed");
        assert_eq!(
            patch["status"]["conditions"][0]["message"],
            "PodGC: node no longer exists"
        );
    }

    fn node(ready: &str, taints: serde_json::Value) -> serde_json::Value {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"},
            "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    #[test]
    fn only_leaving_pods_of_a_lost_node_out_of_service_are_forced_away() {
        let off = json!([{"key": OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute"}]);
        for (ready, taints, stays) in [
            ("Unknown", off.clone(), false),
            ("False", off.clone(), false),
            ("True", off, true),
            ("Unknown", json!([]), true),
        ] {
            let mut world = World::new(vec![Box::new(PodGarbage)]);
            let key = world.create(node(ready, json!([])));
            let leaving = world.create(pod("leaving", "a"));
            let other = world.create(pod("other", "a"));
            world.delete(&leaving, &DeleteOptions::default());
            world.settle();
            assert!(world.view().get(&leaving).is_some());
            world.change(&key, |n| n["spec"]["taints"] = taints.clone());
            world.settle();
            assert_eq!(world.view().get(&leaving).is_some(), stays, "{ready}");
            assert!(world.view().get(&other).is_some());
        }
    }

    #[test]
    fn a_pod_that_begins_to_leave_a_node_out_of_service_is_forced_away() {
        let mut world = World::new(vec![Box::new(PodGarbage)]);
        world.create(node(
            "Unknown",
            json!([{"key": OUT_OF_SERVICE, "effect": "NoExecute"}]),
        ));
        let key = world.create(pod("web", "a"));
        world.settle();
        world.delete(&key, &DeleteOptions::default());
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
