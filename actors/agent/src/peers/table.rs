//! The peers as the Node objects describe them.

use k8s_openapi::api::core::v1::{Node, ObjectReference};
use kabuki_model::Stored;
use kabuki_model::watch::WatchEvent;
use kabuki_net::plan::{Cidr, Peer};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// By this a node tells the others its network mode, should they not have the same.
pub(crate) const MODE_ANNOTATION: &str = "network.kabuki.dev/mode";

/// What is known of all nodes.
pub(super) struct PeerTable {
    own_name: String,
    own_uid: Option<String>,
    known: BTreeMap<String, Known>,
    /// While a list arrives: what it had so far.
    listing: Option<BTreeMap<String, Known>>,
    complete: bool,
}

#[derive(Clone, PartialEq)]
struct Known {
    /// In seconds: of two nodes that claim the same addresses, the older one has them.
    created: i64,
    peer: Peer,
}

impl PeerTable {
    pub fn new(own_name: &str) -> Self {
        Self {
            own_name: own_name.to_string(),
            own_uid: None,
            known: BTreeMap::new(),
            listing: None,
            complete: false,
        }
    }

    /// A list of all nodes begins. Until it is complete, those known before stay.
    pub fn begin_list(&mut self) {
        self.listing = Some(BTreeMap::new());
    }

    /// Whether a whole list has been seen.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Takes an event in, and says whether the peers are others now.
    pub fn see(&mut self, event: &WatchEvent) -> bool {
        let (name, known) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                if *object.key.name == *self.own_name {
                    self.own_uid = Some(object.uid.to_string());
                    return false;
                }
                (object.key.name.to_string(), read(object))
            }
            WatchEvent::Deleted(object) => (object.key.name.to_string(), None),
            WatchEvent::Bookmark {
                initial_end: true, ..
            } => return self.end_list(),
            WatchEvent::Bookmark { .. } => return false,
        };
        let table = self.listing.as_mut().unwrap_or(&mut self.known);
        let changed = table.get(&name) != known.as_ref();
        match known {
            Some(known) => table.insert(name, known),
            None => table.remove(&name),
        };
        changed && self.listing.is_none()
    }

    /// The first list counts as a change even when it is empty: what is left of former peers is
    /// to be removed.
    fn end_list(&mut self) -> bool {
        let Some(listed) = self.listing.take() else {
            return false;
        };
        let changed = !self.complete || listed != self.known;
        self.known = listed;
        self.complete = true;
        changed
    }

    /// The peers, oldest first.
    pub fn peers(&self) -> Vec<Peer> {
        let mut known: Vec<&Known> = self.known.values().collect();
        known.sort_by_key(|known| known.created);
        known.into_iter().map(|known| known.peer.clone()).collect()
    }

    /// This node, for events.
    pub fn own(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".to_string()),
            kind: Some("Node".to_string()),
            name: Some(self.own_name.clone()),
            uid: self.own_uid.clone(),
            ..ObjectReference::default()
        }
    }
}

/// The peer that a Node object describes; `None` as long as it lacks something.
fn read(object: &Arc<Stored>) -> Option<Known> {
    let node = match object.typed::<Node>() {
        Ok(node) => node,
        Err(error) => {
            tracing::error!(%error, "a node cannot be read");
            return None;
        }
    };
    let meta = &node.metadata;
    if meta.deletion_timestamp.is_some() {
        return None;
    }
    let pod_cidr = node.spec.as_ref()?.pod_cidr.as_deref()?;
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let internal = addresses.iter().find(|a| a.type_ == "InternalIP")?;
    let mode = meta
        .annotations
        .as_ref()
        .and_then(|a| a.get(MODE_ANNOTATION));
    let (Ok(pod_cidr), Ok(address)) =
        (pod_cidr.parse::<Cidr>(), internal.address.parse::<IpAddr>())
    else {
        tracing::warn!(node.name = %object.key.name, "the node's addresses cannot be read");
        return None;
    };
    let created = meta.creation_timestamp.as_ref();
    Some(Known {
        created: created.map_or(i64::MAX, |time| time.0.as_second()),
        peer: Peer {
            name: object.key.name.to_string(),
            pod_cidr,
            address,
            mode: mode.and_then(|mode| mode.parse().ok()),
        },
    })
}

#[cfg(test)]
mod tests;
