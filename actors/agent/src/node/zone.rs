//! The zone that the node is in: its Node object's label, whoever wrote it; before that has been
//! seen, what the configuration says.

use k8s_openapi::api::core::v1::Node;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// The label of a Node that names its zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// The zone, and word of its changes. Clones share it.
#[derive(Clone)]
pub(crate) struct Zone {
    now: Arc<watch::Sender<Option<Arc<str>>>>,
}

fn of(labels: &BTreeMap<String, String>) -> Option<Arc<str>> {
    let zone = labels.get(ZONE_LABEL).filter(|zone| !zone.is_empty());
    zone.map(|zone| zone.as_str().into())
}

impl Zone {
    /// The zone that the configured labels say.
    pub fn new(labels: &BTreeMap<String, String>) -> Self {
        Self {
            now: Arc::new(watch::channel(of(labels)).0),
        }
    }

    /// The API has the node like this.
    pub fn seen(&self, node: &Node) {
        let zone = node.metadata.labels.as_ref().and_then(of);
        self.now.send_if_modified(|now| {
            let changed = *now != zone;
            *now = zone;
            changed
        });
    }

    /// The zone.
    pub fn now(&self) -> Option<Arc<str>> {
        self.now.borrow().clone()
    }

    /// Tells of changes from now on.
    pub fn changes(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.now.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(zone: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(ZONE_LABEL.to_string(), zone.to_string())])
    }

    #[test]
    fn the_objects_label_takes_the_place_of_the_configured_one() {
        let zone = Zone::new(&labels("east"));
        let mut changes = zone.changes();
        let mut node = Node::default();
        node.metadata.labels = Some(labels("east"));
        zone.seen(&node);
        assert!(!changes.has_changed().expect("it is there"));
        node.metadata.labels = Some(labels("west"));
        zone.seen(&node);
        assert_eq!(changes.borrow_and_update().as_deref(), Some("west"));
        node.metadata.labels = Some(labels(""));
        zone.seen(&node);
        assert_eq!(zone.now(), None);
    }
}
