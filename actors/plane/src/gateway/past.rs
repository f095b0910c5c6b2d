//! One resource as it was at an earlier revision: the newest state with what happened since taken
//! back.

use kabuki_model::command::Change;
use kabuki_model::view::{Index, Objects, View, index_entries};
use kabuki_model::{ObjectKey, Resource, Stored};
use kabuki_store::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A view of one resource in the past. Other resources are shown as they are now.
pub(super) struct Past {
    newest: Snapshot,
    revision: u64,
    resource: Resource,
    /// What was there instead; `None` where there was nothing.
    then: BTreeMap<ObjectKey, Option<Arc<Stored>>>,
}

impl Past {
    /// `changes` are all those of the resource after `revision`, in order, up to `newest` or
    /// beyond it.
    pub(super) fn new(
        newest: Snapshot,
        revision: u64,
        resource: &Resource,
        changes: Vec<Change>,
    ) -> Self {
        let mut then = BTreeMap::new();
        for change in changes {
            // The first change after the revision knows what was there at it.
            then.entry(change.object.key.clone())
                .or_insert(change.previous);
        }
        Self {
            newest,
            revision,
            resource: resource.clone(),
            then,
        }
    }
}

impl View for Past {
    fn revision(&self) -> u64 {
        self.revision
    }

    fn get(&self, key: &ObjectKey) -> Option<&Arc<Stored>> {
        match self.then.get(key) {
            Some(then) => then.as_ref(),
            None => self.newest.get(key),
        }
    }

    fn scan<'a>(
        &'a self,
        resource: &Resource,
        namespace: Option<&str>,
        after: Option<&ObjectKey>,
    ) -> Objects<'a> {
        if *resource != self.resource {
            return self.newest.scan(resource, namespace, after);
        }
        let unchanged = self.newest.scan(resource, namespace, after);
        let mut unchanged = unchanged
            .filter(|o| !self.then.contains_key(&o.key))
            .peekable();
        let (namespace, after) = (namespace.map(str::to_string), after.cloned());
        let mut changed = self
            .then
            .values()
            .flatten()
            .filter(move |o| {
                namespace.as_deref().is_none_or(|n| n == &*o.key.namespace)
                    && after.as_ref().is_none_or(|a| o.key > *a)
            })
            .peekable();
        Box::new(std::iter::from_fn(move || {
            match (unchanged.peek(), changed.peek()) {
                (Some(a), Some(b)) if b.key < a.key => changed.next(),
                (None, _) => changed.next(),
                _ => unchanged.next(),
            }
        }))
    }

    fn indexed<'a>(&'a self, index: Index, value: &str) -> Objects<'a> {
        let value = value.to_string();
        Box::new(self.scan(&self.resource, None, None).filter(move |o| {
            index_entries(&o.key, &o.json)
                .iter()
                .any(|(i, v)| *i == index && *v == value)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(name: &str, revision: u64) -> Arc<Stored> {
        let key = ObjectKey::new(Resource::CONFIG_MAPS, "a", name);
        Arc::new(Stored::new(key, name.into(), revision, "{}".into()))
    }

    fn change(object: Arc<Stored>, previous: Option<Arc<Stored>>, removed: bool) -> Change {
        Change {
            object,
            previous,
            removed,
        }
    }

    #[test]
    fn what_happened_since_is_taken_back() {
        let changes = vec![
            change(stored("new", 11), None, false),
            change(stored("gone", 12), Some(stored("gone", 3)), true),
            change(stored("changed", 13), Some(stored("changed", 4)), false),
            change(stored("changed", 14), Some(stored("changed", 13)), false),
        ];
        let past = Past::new(Snapshot::empty(), 10, &Resource::CONFIG_MAPS, changes);
        let seen: Vec<(String, u64)> = past
            .scan(&Resource::CONFIG_MAPS, Some("a"), None)
            .map(|o| (o.key.name.to_string(), o.revision))
            .collect();
        assert_eq!(seen, [("changed".to_string(), 4), ("gone".to_string(), 3)]);
        assert_eq!(past.revision(), 10);
        let new = ObjectKey::new(Resource::CONFIG_MAPS, "a", "new");
        assert!(past.get(&new).is_none());
        let after = ObjectKey::new(Resource::CONFIG_MAPS, "a", "changed");
        let rest = past.scan(&Resource::CONFIG_MAPS, None, Some(&after));
        assert_eq!(rest.count(), 1);
    }
}
