//! A view over a map with a real index: the tests look up by owner all the time.

use kabuki_model::view::{Index, MapView, Objects, View, index_entries};
use kabuki_model::{ObjectKey, Resource, Stored};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Default)]
pub(crate) struct IndexedView {
    map: MapView,
    index: BTreeMap<(Index, String), BTreeSet<ObjectKey>>,
}

impl IndexedView {
    pub(crate) fn put(&mut self, object: &Stored) -> Arc<Stored> {
        self.unindex(&object.key);
        for entry in index_entries(&object.key, &object.json) {
            self.index
                .entry(entry)
                .or_default()
                .insert(object.key.clone());
        }
        self.map.put(object)
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) -> Option<Arc<Stored>> {
        self.unindex(key);
        self.map.remove(key)
    }

    fn unindex(&mut self, key: &ObjectKey) {
        let Some(before) = self.map.get(key) else {
            return;
        };
        for entry in index_entries(key, &before.json) {
            if let Some(keys) = self.index.get_mut(&entry) {
                keys.remove(key);
            }
        }
    }
}

impl View for IndexedView {
    fn revision(&self) -> u64 {
        self.map.revision()
    }

    fn get(&self, key: &ObjectKey) -> Option<&Arc<Stored>> {
        self.map.get(key)
    }

    fn scan<'a>(
        &'a self,
        resource: &Resource,
        namespace: Option<&str>,
        after: Option<&ObjectKey>,
    ) -> Objects<'a> {
        self.map.scan(resource, namespace, after)
    }

    fn indexed<'a>(&'a self, index: Index, value: &str) -> Objects<'a> {
        let keys = self.index.get(&(index, value.to_string()));
        Box::new(
            keys.into_iter()
                .flatten()
                .filter_map(|key| self.map.get(key)),
        )
    }
}
