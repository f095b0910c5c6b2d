//! What the leader makes of silence: the conditions of nodes that have not been heard of for
//! longer than a grace become `Unknown` (Kubernetes, "Node heartbeats"). What follows from it
//! (taints, evictions) is the controllers' part, who see the conditions like everyone else.
//!
//! The shell tells [`Liveness`] of every sign of life and asks once a second. Signs of life are
//! never written; only that a condition *became* unknown is. That it is known again is written
//! by the node itself.

use crate::requests;
use jiff::{SignedDuration, Timestamp};
use kabuki_model::k8s_openapi::api::core::v1::{Node, NodeCondition};
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kabuki_model::request::Request;
use kabuki_model::view::View;
use kabuki_model::{Resource, Stored};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long a node may be silent before its state counts as unknown.
pub const DEFAULT_GRACE: SignedDuration = SignedDuration::from_secs(5);

/// What only the node itself can know.
const CONDITIONS: &[&str] = &["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// When each node was last heard of, for a leader that has just begun to listen.
#[derive(Debug, Clone, Default)]
pub struct Liveness {
    heard: BTreeMap<Arc<str>, Timestamp>,
    /// Since when each node is listened to.
    listened: BTreeMap<Arc<str>, Timestamp>,
    assessed: Option<Timestamp>,
}

impl Liveness {
    /// A listener that has heard of nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A sign of life. Earlier ones that come late do not count.
    pub fn heard(&mut self, node: &str, at: Timestamp) {
        match self.heard.get_mut(node) {
            Some(known) => *known = (*known).max(at),
            None => drop(self.heard.insert(node.into(), at)),
        }
    }

    /// The writes that are due. A node has its grace from when it is seen for the first time, and
    /// all have it anew when this listener itself was away (or the clock was set): it must not
    /// take its own deafness for their silence.
    pub fn assess(
        &mut self,
        view: &dyn View,
        now: Timestamp,
        grace: SignedDuration,
    ) -> Vec<Request> {
        let away = self.assessed.map(|at| now.duration_since(at));
        if away.is_some_and(|span| span > grace || span.is_negative()) {
            self.heard.clear();
            self.listened.clear();
        }
        self.assessed = Some(now);
        let known: BTreeMap<Arc<str>, Timestamp> = view
            .scan(&Resource::NODES, None, None)
            .map(|node| {
                let since = self.listened.get(&node.key.name).copied();
                (node.key.name.clone(), since.unwrap_or(now))
            })
            .collect();
        // Nodes that are gone are forgotten.
        self.heard.retain(|name, _| known.contains_key(name));
        let since = |(name, since): (&Arc<str>, &Timestamp)| {
            let heard = self.heard.get(name).copied().unwrap_or(*since);
            (name.clone(), heard.max(*since))
        };
        let last: BTreeMap<Arc<str>, Timestamp> = known.iter().map(since).collect();
        self.listened = known;
        assess(view, &last, now, grace)
    }
}

/// The writes that make the conditions of silent nodes `Unknown`, each on exactly the form of
/// the node that was looked at. Nodes of which `last_heard` has no entry are not judged.
pub fn assess(
    view: &dyn View,
    last_heard: &BTreeMap<Arc<str>, Timestamp>,
    now: Timestamp,
    grace: SignedDuration,
) -> Vec<Request> {
    let silent = |node: &&Arc<Stored>| {
        let heard = last_heard.get(&node.key.name);
        heard.is_some_and(|at| now.duration_since(*at) > grace)
    };
    let nodes = view.scan(&Resource::NODES, None, None).filter(silent);
    nodes.filter_map(|node| unknown(node, now)).collect()
}

/// The write for one silent node; nothing when all is known to be unknown.
fn unknown(stored: &Stored, now: Timestamp) -> Option<Request> {
    let node = stored.typed::<Node>().ok()?;
    let created = node.metadata.creation_timestamp.clone();
    let now = Time(requests::whole_second(now));
    let held = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    let mut conditions = held.cloned().unwrap_or_default();
    let mut changed = false;
    for name in CONDITIONS {
        match conditions.iter_mut().find(|c| c.type_ == *name) {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                changed = true;
                condition.status = "Unknown".to_string();
                condition.reason = Some("NodeStatusUnknown".to_string());
                condition.message = Some("Kubelet stopped posting node status.".to_string());
                condition.last_transition_time = Some(now.clone());
            }
            None => {
                changed = true;
                conditions.push(NodeCondition {
                    type_: (*name).to_string(),
                    status: "Unknown".to_string(),
                    reason: Some("NodeStatusNeverUpdated".to_string()),
                    message: Some("Kubelet never posted node status.".to_string()),
                    last_heartbeat_time: created.clone(),
                    last_transition_time: Some(now.clone()),
                });
            }
        }
    }
    changed.then(|| requests::patch_status(stored, json!({ "conditions": conditions })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use kabuki_model::ObjectKey;
    use serde_json::Value;

    fn node(name: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
            "status": {"conditions": [
                {"type": "NetworkUnavailable", "status": "False"},
                {"type": "Ready", "status": "True", "reason": "KubeletReady",
                    "lastHeartbeatTime": "2029-12-31T23:00:00Z"},
                {"type": "MemoryPressure", "status": "False"},
            ]},
        })
    }

    fn conditions(world: &World, key: &ObjectKey) -> Vec<(String, String, String)> {
        let node = world.get::<Node>(key);
        let status = node.status.clone().expect("a status");
        let shown = |c: NodeCondition| (c.type_, c.status, c.reason.unwrap_or_default());
        status.conditions.into_iter().flatten().map(shown).collect()
    }

    #[test]
    fn silence_makes_all_unknown_that_only_the_node_knows() {
        let mut world = World::new(Vec::new());
        let key = world.create(node("a"));
        let mut liveness = Liveness::new();
        let start = world.now();
        assert_eq!(liveness.assess(world.view(), start, DEFAULT_GRACE), []);
        let in_time = start + DEFAULT_GRACE;
        assert_eq!(liveness.assess(world.view(), in_time, DEFAULT_GRACE), []);
        let late = in_time + SignedDuration::from_millis(1);
        let writes = liveness.assess(world.view(), late, DEFAULT_GRACE);
        assert_eq!(writes.len(), 1);
        world.perform_all(&writes);
        let row = |t: &str, s: &str, r: &str| (t.to_string(), s.to_string(), r.to_string());
        assert_eq!(
            conditions(&world, &key),
            [
                row("NetworkUnavailable", "False", ""),
                row("Ready", "Unknown", "NodeStatusUnknown"),
                row("MemoryPressure", "Unknown", "NodeStatusUnknown"),
                row("DiskPressure", "Unknown", "NodeStatusNeverUpdated"),
                row("PIDPressure", "Unknown", "NodeStatusNeverUpdated"),
            ]
        );
        let node = world.get::<Node>(&key);
        let ready = &node.status.as_ref().expect("a status").conditions;
        let ready = &ready.as_ref().expect("conditions")[1];
        let text = |time: &Option<Time>| time.as_ref().map(|t| t.0.to_string());
        assert_eq!(
            text(&ready.last_heartbeat_time).as_deref(),
            Some("2029-12-31T23:00:00Z"),
            "the last sign of life stays"
        );
        assert_eq!(
            text(&ready.last_transition_time).as_deref(),
            Some("2030-01-01T00:00:05Z")
        );
    }

    #[test]
    fn only_transitions_are_written() {
        let mut world = World::new(Vec::new());
        world.create(node("a"));
        let mut liveness = Liveness::new();
        let start = world.now();
        let mut written = Vec::new();
        for second in 0..60 {
            let now = start + SignedDuration::from_secs(second);
            let writes = liveness.assess(world.view(), now, DEFAULT_GRACE);
            written.extend(writes.iter().map(|_| second));
            world.perform_all(&writes);
        }
        assert_eq!(written, [6]);
    }

    #[test]
    fn signs_from_before_it_listened_count_for_nothing() {
        let mut world = World::new(Vec::new());
        world.create(node("a"));
        let mut liveness = Liveness::new();
        let start = world.now();
        liveness.heard("a", start - SignedDuration::from_hours(1));
        assert_eq!(liveness.assess(world.view(), start, DEFAULT_GRACE), []);
        let soon = start + SignedDuration::from_secs(5);
        assert_eq!(liveness.assess(world.view(), soon, DEFAULT_GRACE), []);
        let late = start + SignedDuration::from_secs(6);
        assert_eq!(liveness.assess(world.view(), late, DEFAULT_GRACE).len(), 1);
    }

    #[test]
    fn a_listener_that_was_away_or_whose_clock_was_set_begins_anew() {
        let mut world = World::new(Vec::new());
        world.create(node("a"));
        let mut liveness = Liveness::new();
        let start = world.now();
        for jump in [0, 3600, 3603, -3600, -3597] {
            let now = start + SignedDuration::from_secs(jump);
            assert_eq!(
                liveness.assess(world.view(), now, DEFAULT_GRACE),
                [],
                "{jump}"
            );
        }
        let late = start + SignedDuration::from_secs(-3594);
        assert_eq!(liveness.assess(world.view(), late, DEFAULT_GRACE).len(), 1);
    }

    #[test]
    fn a_sign_of_life_counts_from_its_own_time() {
        let mut world = World::new(Vec::new());
        world.create(node("a"));
        world.create(node("b"));
        let mut liveness = Liveness::new();
        let start = world.now();
        liveness.assess(world.view(), start, DEFAULT_GRACE);
        let second = SignedDuration::from_secs(1);
        liveness.heard("a", start + second * 4);
        liveness.heard("a", start + second);
        liveness.assess(world.view(), start + second * 4, DEFAULT_GRACE);
        let writes = liveness.assess(world.view(), start + second * 8, DEFAULT_GRACE);
        let names: Vec<&str> = writes
            .iter()
            .filter_map(|w| match w {
                Request::Patch { key, .. } => Some(&*key.name),
                _ => None,
            })
            .collect();
        assert_eq!(names, ["b"]);
    }

    #[test]
    fn a_node_that_came_back_under_its_name_has_its_grace_again() {
        let mut world = World::new(Vec::new());
        let key = world.create(node("a"));
        let mut liveness = Liveness::new();
        let start = world.now();
        let at = |seconds: i64| start + SignedDuration::from_secs(seconds);
        liveness.assess(world.view(), at(0), DEFAULT_GRACE);
        world.remove(&key);
        liveness.assess(world.view(), at(4), DEFAULT_GRACE);
        world.create(node("a"));
        assert_eq!(liveness.assess(world.view(), at(8), DEFAULT_GRACE), []);
        assert_eq!(liveness.assess(world.view(), at(13), DEFAULT_GRACE), []);
        assert_eq!(
            liveness.assess(world.view(), at(14), DEFAULT_GRACE).len(),
            1
        );
    }
}
