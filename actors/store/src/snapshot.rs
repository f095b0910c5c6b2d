//! The whole state at one revision. The maps are persistent (structural sharing), so a snapshot
//! is a handful of pointers, taken without stopping writes and kept for as long as a reader
//! likes.
//!
//! Invariants: the index holds exactly the entries that `found_by` of the objects names; every
//! object's revision is at most the snapshot's.

use imbl::{OrdMap, OrdSet};
use kabuki_model::view::{Index, Objects, View, index_entries};
use kabuki_model::{ObjectKey, Resource, Stored};
use std::ops::Bound;
use std::sync::Arc;

/// Where in the log a state is: the last entry that it includes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The index of the entry.
    pub index: u64,
    /// The term of the entry.
    pub term: u64,
}

/// Under which index values an object is found.
pub(crate) type FoundBy = Option<Arc<[(Index, Arc<str>)]>>;

/// An object and its index entries, which are kept so that neither a replacement nor a restart
/// has to read JSON for them again.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) object: Arc<Stored>,
    pub(crate) found_by: FoundBy,
}

type IndexKey = (Index, Arc<str>, ObjectKey);

/// The whole state at one revision; cheap to clone.
#[derive(Clone, Default)]
pub struct Snapshot {
    objects: OrdMap<ObjectKey, Held>,
    index: OrdSet<IndexKey>,
    pub(crate) revision: u64,
    pub(crate) position: Position,
}

impl Snapshot {
    /// An empty state.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The last log entry that the state includes.
    pub fn position(&self) -> Position {
        self.position
    }

    /// How many objects there are, of all resources.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is no object at all.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Every object, in key order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.objects.values().map(|held| &held.object)
    }

    pub(crate) fn held_after(&self, after: Option<&ObjectKey>) -> impl Iterator<Item = &Held> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.objects.range::<_, ObjectKey>((from, Bound::Unbounded));
        range.map(|(_, held)| held)
    }

    /// Puts `object` in its place and returns what was there.
    pub(crate) fn put(&mut self, object: Arc<Stored>) -> Option<Arc<Stored>> {
        let found_by = found_by(&object);
        self.insert(Held { object, found_by })
    }

    pub(crate) fn insert(&mut self, held: Held) -> Option<Arc<Stored>> {
        let key = held.object.key.clone();
        let new = held.found_by.clone();
        let previous = self.objects.insert(key.clone(), held);
        let old = previous.as_ref().and_then(|p| p.found_by.as_deref());
        if old != new.as_deref() {
            let old = previous.as_ref().and_then(|p| p.found_by.clone());
            self.unindex(&key, &old);
            for (index, value) in new.iter().flat_map(|n| n.iter()) {
                self.index.insert((*index, value.clone(), key.clone()));
            }
        }
        previous.map(|p| p.object)
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) -> Option<Arc<Stored>> {
        let held = self.objects.remove(key)?;
        self.unindex(key, &held.found_by);
        Some(held.object)
    }

    fn unindex(&mut self, key: &ObjectKey, found_by: &FoundBy) {
        for (index, value) in found_by.iter().flat_map(|n| n.iter()) {
            self.index.remove(&(*index, value.clone(), key.clone()));
        }
    }
}

fn found_by(object: &Stored) -> FoundBy {
    let entries = index_entries(&object.key, &object.json);
    if entries.is_empty() {
        return None;
    }
    Some(entries.into_iter().map(|(i, v)| (i, v.into())).collect())
}

impl View for Snapshot {
    fn revision(&self) -> u64 {
        self.revision
    }

    fn get(&self, key: &ObjectKey) -> Option<&Arc<Stored>> {
        self.objects.get(key).map(|held| &held.object)
    }

    fn scan<'a>(
        &'a self,
        resource: &Resource,
        namespace: Option<&str>,
        after: Option<&ObjectKey>,
    ) -> Objects<'a> {
        let first = ObjectKey::new(resource.clone(), namespace.unwrap_or_default(), "");
        let from = match after {
            Some(after) if *after >= first => Bound::Excluded(after),
            _ => Bound::Included(&first),
        };
        let resource = resource.clone();
        let namespace: Option<Arc<str>> = namespace.map(Into::into);
        let range = self.objects.range::<_, ObjectKey>((from, Bound::Unbounded));
        Box::new(
            range
                .take_while(move |(key, _)| {
                    key.resource == resource
                        && namespace.as_ref().is_none_or(|n| *n == key.namespace)
                })
                .map(|(_, held)| &held.object),
        )
    }

    fn indexed<'a>(&'a self, index: Index, value: &str) -> Objects<'a> {
        let value: Arc<str> = value.into();
        let first = (
            index,
            value.clone(),
            ObjectKey::new(Resource::named(""), "", ""),
        );
        let range = self
            .index
            .range::<_, IndexKey>((Bound::Included(&first), Bound::Unbounded));
        Box::new(
            range
                .take_while(move |(i, v, _)| *i == index && *v == value)
                .filter_map(|(_, _, key)| self.get(key)),
        )
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            revision, position, ..
        } = self;
        write!(
            f,
            "snapshot of {} objects at revision {revision}, {position:?}",
            self.len()
        )
    }
}

/// Two snapshots are equal when they hold the same objects and index entries at the same place.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision
            && self.position == other.position
            && self.index == other.index
            && self.len() == other.len()
            && self.iter().eq(other.iter())
    }
}
