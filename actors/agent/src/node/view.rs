//! What others made of the node's status: whether it says the same as the node itself, and how
//! soon the node says it again when it does not.

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Contradictions that follow each other sooner than this belong together.
const CALM: Duration = Duration::from_secs(60);
/// The node answers the first contradiction at once; then it waits, longer each time: whoever
/// contradicts may have reasons that the node cannot know, and must not be shouted down.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Whether the API's conditions say something else than the node's own.
pub(super) fn contradicts(own: &Value, seen: &Node) -> bool {
    let status = |name: &str| {
        let conditions = seen.status.as_ref()?.conditions.as_ref()?;
        let found = conditions.iter().find(|c| c.type_ == name)?;
        Some(found.status.as_str())
    };
    let mut own = own.as_array().into_iter().flatten();
    own.any(|c| c["type"].as_str().and_then(status) != c["status"].as_str())
}

/// The conditions that are not the node's own: who replaces the list must keep them.
pub(super) fn of_others(own: &Value, seen: &Node) -> Vec<Value> {
    let conditions = seen.status.as_ref().and_then(|s| s.conditions.as_ref());
    let is_own = |name: &str| {
        let mut own = own.as_array().into_iter().flatten();
        own.any(|c| c["type"] == name)
    };
    let others = conditions.into_iter().flatten();
    let others = others.filter(|c| !is_own(&c.type_));
    others.map(|c| json!(c)).collect()
}

/// Whether the API has the node as ready.
pub(super) fn is_ready(seen: &Node) -> bool {
    let conditions = seen.status.as_ref().and_then(|s| s.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|c| c.type_ == "Ready" && c.status == "True")
}

/// How soon contradictions are answered.
#[derive(Debug, Default)]
pub(super) struct Patience {
    last: Option<Instant>,
    wait: Duration,
}

impl Patience {
    /// How long to wait with the answer to a contradiction that came now.
    pub fn contradicted(&mut self, now: Instant) -> Duration {
        let again = self
            .last
            .is_some_and(|last| now.duration_since(last) < CALM);
        self.wait = match again {
            true => (self.wait * 2).clamp(WAIT_FIRST, WAIT_MAX),
            false => Duration::ZERO,
        };
        self.last = Some(now);
        self.wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(conditions: Value) -> Node {
        let value = json!({"metadata": {"name": "a"}, "status": {"conditions": conditions}});
        serde_json::from_value(value).expect("a node")
    }

    fn condition(name: &str, status: &str) -> Value {
        json!({"type": name, "status": status})
    }

    #[test]
    fn only_other_values_of_own_conditions_contradict() {
        let own = json!([
            condition("MemoryPressure", "False"),
            condition("Ready", "True")
        ]);
        let same = node(json!([
            condition("Ready", "True"),
            condition("NetworkUnavailable", "True"),
            condition("MemoryPressure", "False"),
        ]));
        assert!(!contradicts(&own, &same));
        assert_eq!(
            of_others(&own, &same),
            [condition("NetworkUnavailable", "True")]
        );
        let other = json!([
            condition("Ready", "Unknown"),
            condition("MemoryPressure", "False")
        ]);
        assert!(contradicts(&own, &node(other)));
        assert!(contradicts(
            &own,
            &node(json!([condition("Ready", "True")]))
        ));
        assert!(contradicts(&own, &node(json!([]))));
        assert!(is_ready(&same) && !is_ready(&node(json!([]))));
    }

    #[test]
    fn the_first_contradiction_is_answered_at_once_and_further_ones_ever_later() {
        let start = Instant::now();
        let mut patience = Patience::default();
        let second = Duration::from_secs(1);
        let waits: Vec<u64> = (0..7)
            .map(|i| patience.contradicted(start + second * i).as_secs())
            .collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 10, 10]);
        assert_eq!(patience.contradicted(start + second * 100), Duration::ZERO);
    }
}
