//! Reading the state at one revision. The store's snapshots implement it; so does [`MapView`],
//! a small one for tests and simulations of single cores.

use crate::object::{ObjectKey, Resource, Stored};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The objects of a list, in key order.
pub type Objects<'a> = Box<dyn Iterator<Item = &'a Arc<Stored>> + 'a>;

/// The whole state at one revision. Reading never blocks and never copies an object.
pub trait View: Send + Sync {
    /// The revision of the last change that the view includes.
    fn revision(&self) -> u64;

    /// One object.
    fn get(&self, key: &ObjectKey) -> Option<&Arc<Stored>>;

    /// The objects of a resource in key order: of one namespace or of all, beginning after a
    /// key when one is given.
    fn scan<'a>(
        &'a self,
        resource: &Resource,
        namespace: Option<&str>,
        after: Option<&ObjectKey>,
    ) -> Objects<'a>;

    /// The objects that an index holds under a value, in key order.
    fn indexed<'a>(&'a self, index: Index, value: &str) -> Objects<'a>;
}

/// What objects are also found by.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Index {
    /// Dependents, by the uid of each of their owners.
    Owner,
    /// Pods, by the node that they are bound to.
    Node,
    /// Services, by each of their cluster addresses.
    ServiceAddress,
    /// Services, by each port of the nodes that they hold, as
    /// [`port_value`](crate::allocation::port_value) names it.
    NodePort,
}

/// The index entries of an object, read from its JSON without decoding the rest of it.
pub fn index_entries(key: &ObjectKey, json: &[u8]) -> Vec<(Index, String)> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Indexed {
        metadata: Meta,
        spec: Option<Spec>,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Meta {
        #[serde(default)]
        owner_references: Vec<Owner>,
    }
    #[derive(serde::Deserialize)]
    struct Owner {
        uid: String,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec {
        node_name: Option<String>,
    }
    #[derive(serde::Deserialize)]
    struct Owned {
        metadata: Meta,
    }
    let mut entries = Vec::new();
    let special = [Resource::SERVICES, Resource::PODS].contains(&key.resource);
    if !special && !crate::object::may_have_owners(json) {
        return entries;
    }
    if key.resource == Resource::SERVICES
        && let Ok(service) = serde_json::from_slice(json)
    {
        entries = crate::allocation::held(&service);
    }
    let owners = if key.resource == Resource::PODS {
        let Ok(indexed) = serde_json::from_slice::<Indexed>(json) else {
            return entries;
        };
        if let Some(node) = indexed.spec.and_then(|s| s.node_name)
            && !node.is_empty()
        {
            entries.push((Index::Node, node));
        }
        indexed.metadata.owner_references
    } else {
        match serde_json::from_slice::<Owned>(json) {
            Ok(owned) => owned.metadata.owner_references,
            Err(_) => return entries,
        }
    };
    entries.extend(owners.into_iter().map(|o| (Index::Owner, o.uid)));
    entries
}

/// A view over a plain map.
#[derive(Debug, Default, Clone)]
pub struct MapView {
    revision: u64,
    objects: BTreeMap<ObjectKey, Arc<Stored>>,
}

impl MapView {
    /// Puts an object at the next revision and returns it as stored.
    pub fn put(&mut self, object: &Stored) -> Arc<Stored> {
        self.revision += 1;
        let stored = Arc::new(object.at_revision(self.revision));
        self.objects.insert(stored.key.clone(), stored.clone());
        stored
    }

    /// Removes an object.
    pub fn remove(&mut self, key: &ObjectKey) -> Option<Arc<Stored>> {
        self.revision += 1;
        self.objects.remove(key)
    }
}

impl View for MapView {
    fn revision(&self) -> u64 {
        self.revision
    }

    fn get(&self, key: &ObjectKey) -> Option<&Arc<Stored>> {
        self.objects.get(key)
    }

    fn scan<'a>(
        &'a self,
        resource: &Resource,
        namespace: Option<&str>,
        after: Option<&ObjectKey>,
    ) -> Objects<'a> {
        let resource = resource.clone();
        let namespace = namespace.map(str::to_string);
        let after = after.cloned();
        Box::new(self.objects.values().filter(move |o| {
            o.key.resource == resource
                && namespace.as_deref().is_none_or(|n| n == &*o.key.namespace)
                && after.as_ref().is_none_or(|a| o.key > *a)
        }))
    }

    fn indexed<'a>(&'a self, index: Index, value: &str) -> Objects<'a> {
        let value = value.to_string();
        Box::new(self.objects.values().filter(move |o| {
            index_entries(&o.key, &o.json)
                .iter()
                .any(|(i, v)| *i == index && *v == value)
        }))
    }
}
