//! Which subscribers a change may concern, found without asking each of them.
//!
//! A subscriber has exactly one place: the narrowest that its selection allows.

use kabuki_model::command::Change;
use kabuki_model::selector::Selection;
use kabuki_model::view::{Index, index_entries};
use kabuki_model::{Resource, Stored};
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

/// The field that pods are selected by when a node watches its own.
pub(super) const NODE_FIELD: &str = "spec.nodeName";
const NAME_FIELD: &str = "metadata.name";

/// Where a subscriber waits.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Everything,
    Namespace(Arc<str>),
    Name(Arc<str>),
    Node(Arc<str>),
}

/// In order: the watches of one connection began one after the other, and are told so too.
type Ids = BTreeSet<u64>;

/// The subscribers of one resource.
#[derive(Debug, Default)]
struct Places {
    everything: Ids,
    namespaces: HashMap<Arc<str>, Ids>,
    names: HashMap<Arc<str>, Ids>,
    nodes: HashMap<Arc<str>, Ids>,
}

/// The subscribers by place.
#[derive(Debug, Default)]
pub(super) struct Placement {
    resources: HashMap<Resource, Places>,
}

impl Placement {
    pub(super) fn add(&mut self, id: u64, selection: &Selection) {
        let places = self
            .resources
            .entry(selection.resource().clone())
            .or_default();
        match place(selection) {
            Place::Everything => places.everything.insert(id),
            Place::Namespace(name) => places.namespaces.entry(name).or_default().insert(id),
            Place::Name(name) => places.names.entry(name).or_default().insert(id),
            Place::Node(name) => places.nodes.entry(name).or_default().insert(id),
        };
    }

    pub(super) fn remove(&mut self, id: u64, selection: &Selection) {
        let Some(places) = self.resources.get_mut(selection.resource()) else {
            return;
        };
        match place(selection) {
            Place::Everything => drop(places.everything.remove(&id)),
            Place::Namespace(name) => forget(&mut places.namespaces, &name, id),
            Place::Name(name) => forget(&mut places.names, &name, id),
            Place::Node(name) => forget(&mut places.nodes, &name, id),
        }
        if places.is_empty() {
            self.resources.remove(selection.resource());
        }
    }

    /// The subscribers that `change` may concern, each once. Others it cannot concern.
    pub(super) fn candidates(&self, change: &Change, found: &mut Vec<u64>) {
        found.clear();
        let key = &change.object.key;
        let Some(places) = self.resources.get(&key.resource) else {
            return;
        };
        found.extend(&places.everything);
        found.extend(places.namespaces.get(&key.namespace).into_iter().flatten());
        found.extend(places.names.get(&key.name).into_iter().flatten());
        if places.nodes.is_empty() {
            return;
        }
        let now = node_of(&change.object);
        let before = change.previous.as_deref().and_then(node_of);
        if before != now {
            found.extend(
                before
                    .iter()
                    .filter_map(|n| places.nodes.get(&**n))
                    .flatten(),
            );
        }
        found.extend(now.iter().filter_map(|n| places.nodes.get(&**n)).flatten());
    }
}

impl Places {
    fn is_empty(&self) -> bool {
        self.everything.is_empty()
            && self.namespaces.is_empty()
            && self.names.is_empty()
            && self.nodes.is_empty()
    }
}

fn forget<K: Eq + Hash>(places: &mut HashMap<K, Ids>, name: &K, id: u64) {
    if let Some(ids) = places.get_mut(name) {
        ids.remove(&id);
        if ids.is_empty() {
            places.remove(name);
        }
    }
}

fn place(selection: &Selection) -> Place {
    if let Some(name) = selection.field_equals(NAME_FIELD) {
        return Place::Name(name.into());
    }
    if let Some(node) = selected_node(selection) {
        return Place::Node(node.into());
    }
    selection
        .namespace()
        .map_or(Place::Everything, |n| Place::Namespace(n.into()))
}

/// The one node whose pods are selected. An empty name selects the unbound ones, which no index
/// knows.
pub(super) fn selected_node(selection: &Selection) -> Option<&str> {
    let pods = *selection.resource() == Resource::PODS;
    selection
        .field_equals(NODE_FIELD)
        .filter(|node| pods && !node.is_empty())
}

fn node_of(object: &Stored) -> Option<String> {
    let entries = index_entries(&object.key, &object.json);
    entries
        .into_iter()
        .find(|(index, _)| *index == Index::Node)
        .map(|(_, node)| node)
}
