//! How ownership changes with each write (Kubernetes, "Field management").

use super::collect::{fields_of, fields_of_stored};
use super::compare::{Comparison, compare};
use super::entries::{Entry, Operation};
use super::merge::{merge, without};
use super::path::PathElement;
use super::set::FieldSet;
use super::shape::Shape;
use super::{ApplyError, Conflict, Writer};
use serde_json::Value;
use std::sync::LazyLock;

/// More managers than this that wrote without applying are not told apart: the oldest become one.
const MAX_UPDATERS: usize = 10;
/// The name of that one.
const ANCIENT: &str = "ancient-changes";
/// The owner of what an object had before anything was applied to it.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

fn field(name: &str) -> PathElement {
    PathElement::Field(name.to_string())
}

/// Fields that nobody owns: what names the object, and what the server sets.
static NOBODYS: LazyLock<[PathElement; 2]> = LazyLock::new(|| ["apiVersion", "kind"].map(field));
static METADATA: LazyLock<PathElement> = LazyLock::new(|| field("metadata"));
static NOBODYS_METADATA: LazyLock<[PathElement; 9]> = LazyLock::new(|| {
    let names = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    names.map(field)
});

/// Takes away what nobody owns.
fn strip(set: &mut FieldSet, writer: &Writer) {
    NOBODYS.iter().for_each(|f| set.remove(f));
    set.change_below(&METADATA, |metadata| {
        NOBODYS_METADATA.iter().for_each(|f| metadata.remove(f));
    });
    // What the endpoint does not write is not owned through it.
    match writer.subresource {
        "status" => {
            let status = set.below(&field("status")).cloned().unwrap_or_default();
            let whole = set.has(&field("status"));
            *set = FieldSet::default();
            set.insert_below(field("status"), status);
            if whole {
                set.insert(field("status"));
            }
        }
        _ if writer.has_status => set.remove_all(&field("status")),
        _ => {}
    }
}

/// Entries that own a whole part of the object (those of the cluster's own parts) in full: all of
/// the part's fields that nobody else owns.
fn expand(entries: &mut [Entry], live: &Value, shape: Shape, writer: &Writer) {
    for at in 0..entries.len() {
        if !super::part::is_own(&entries[at].manager) {
            continue;
        }
        let coarse: Vec<PathElement> = entries[at]
            .fields
            .iter()
            .filter(|(_, member, below)| *member && below.is_empty())
            .map(|(element, _, _)| element.clone())
            .collect();
        for element in coarse {
            let PathElement::Field(name) = &element else {
                continue;
            };
            let Some(inner) = shape.child(name) else {
                continue;
            };
            let part = fields_of_stored(live.get(name).unwrap_or(&Value::Null), inner);
            if part.is_empty() {
                continue;
            }
            let mut all = FieldSet::default();
            all.insert_below(element.clone(), part);
            let object = Writer {
                subresource: "",
                has_status: false,
                ..*writer
            };
            strip(&mut all, &object);
            for (other, entry) in entries.iter().enumerate() {
                if other != at {
                    all = all.difference(&entry.fields);
                }
            }
            let mut fields = std::mem::take(&mut entries[at].fields);
            fields.remove(&element);
            entries[at].fields = fields.union(&all);
        }
    }
}

/// Everyone but `mine` loses what was set or removed.
fn take_from_others(
    entries: &mut [Entry],
    (set, removed): (&FieldSet, &FieldSet),
    mine: Option<usize>,
) {
    for (at, entry) in entries.iter_mut().enumerate() {
        if Some(at) != mine {
            entry.fields.subtract(set);
            entry.fields.subtract(removed);
        }
    }
}

/// Ownership after an ordinary write of `new` over `live`.
pub(super) fn update(
    writer: &Writer,
    live: &Value,
    new: &Value,
    mut entries: Vec<Entry>,
) -> Vec<Entry> {
    let shape = Shape::Struct(writer.message);
    expand(&mut entries, live, shape, writer);
    let (mut mine, removed) = compare(Some(live), Some(new), shape).into_parts();
    take_from_others(&mut entries, (&mine, &removed), None);
    strip(&mut mine, writer);
    if !mine.is_empty() {
        let entry = writer.entry(Operation::Update, mine);
        match entries.iter_mut().find(|e| e.same_manager(&entry)) {
            Some(old) => {
                old.fields.absorb(entry.fields);
                old.time = entry.time;
            }
            None => entries.push(entry),
        }
    }
    entries.retain(|e| !e.fields.is_empty());
    cap(&mut entries);
    entries
}

/// Makes the oldest of too many updaters one.
fn cap(entries: &mut Vec<Entry>) {
    let updater = |e: &Entry| e.operation == Operation::Update;
    let mut count = entries.iter().filter(|e| updater(e)).count();
    while count > MAX_UPDATERS {
        let mut oldest: Vec<usize> = (0..entries.len())
            .filter(|e| updater(&entries[*e]))
            .collect();
        oldest.sort_by_key(|e| (entries[*e].time.clone(), entries[*e].manager.clone()));
        let version = entries[oldest[0]].api_version.clone();
        let mut same = oldest
            .into_iter()
            .filter(|e| entries[*e].api_version == version);
        let (Some(first), Some(second)) = (same.next(), same.next()) else {
            return;
        };
        let newer = entries[second].clone();
        let bucket = &mut entries[first];
        bucket.manager = ANCIENT.to_string();
        bucket.subresource.clear();
        let fields = std::mem::take(&mut bucket.fields);
        bucket.fields = fields.union(&newer.fields);
        bucket.time = newer.time;
        entries.remove(second);
        count -= 1;
    }
}

/// What applying comes to.
pub(super) struct Merged {
    pub object: Value,
    pub entries: Vec<Entry>,
}

/// Applies a configuration. `None` when nothing changes.
pub(super) fn apply(
    writer: &Writer,
    live: Option<&Value>,
    config: &Value,
    mut entries: Vec<Entry>,
    force: bool,
) -> Result<Option<Merged>, ApplyError> {
    let shape = Shape::Struct(writer.message);
    let invalid = |e: super::shape::Misshapen| ApplyError::Invalid(e.to_string());
    let wanted = fields_of(config, shape).map_err(invalid)?;
    let nothing = Value::Object(serde_json::Map::new());
    let base = live.unwrap_or(&nothing);
    if live.is_some() && entries.is_empty() {
        let before = Writer {
            manager: BEFORE_FIRST_APPLY,
            ..*writer
        };
        entries = update(&before, &nothing, base, entries);
    }
    expand(&mut entries, base, shape, writer);
    let before = entries.clone();
    let mut entry = writer.entry(Operation::Apply, wanted);
    let place = entries.iter().position(|e| e.same_manager(&entry));
    let last = place.map(|p| entries[p].fields.clone()).unwrap_or_default();
    let mine = match place {
        Some(place) => {
            // The time is that of the last change.
            entry.time.clone_from(&entries[place].time);
            entries[place] = entry;
            place
        }
        None => {
            entry.time = None;
            entries.push(entry);
            entries.len() - 1
        }
    };
    let merged = merge(base, config, shape).map_err(invalid)?;
    let merged = prune(merged, shape, &entries, &last);
    let changes = compare(Some(base), Some(&merged), shape);
    let conflicts = conflicts(&entries, &changes, mine);
    if !force && !conflicts.is_empty() {
        return Err(ApplyError::Conflicts(conflicts));
    }
    let (set, removed) = changes.into_parts();
    take_from_others(&mut entries, (&set, &removed), Some(mine));
    // Only now: what names the object also keeps it together while fields are removed.
    strip(&mut entries[mine].fields, writer);
    let stays = entries[mine].time.clone();
    entries[mine].time = Some(writer.time());
    let mut alike = entries.clone();
    alike[mine].time = stays;
    entries.retain(|e| !e.fields.is_empty());
    alike.retain(|e| !e.fields.is_empty());
    if live.is_some() && merged == *base && alike == before {
        return Ok(None);
    }
    Ok(Some(Merged {
        object: merged,
        entries,
    }))
}

fn conflicts(entries: &[Entry], changes: &Comparison, mine: usize) -> Vec<Conflict> {
    let set = changes.set();
    let others = entries.iter().enumerate().filter(|(at, _)| *at != mine);
    others
        .flat_map(|(_, entry)| {
            let manager = entry.shown();
            let paths = entry.fields.intersection(&set).paths();
            paths.into_iter().map(move |path| Conflict {
                manager: manager.clone(),
                path,
            })
        })
        .collect()
}

/// Removes what the applier owned before, and nobody owns any more.
fn prune(merged: Value, shape: Shape, entries: &[Entry], last: &FieldSet) -> Value {
    if last.is_empty() {
        return merged;
    }
    let last = with_named(last, shape);
    let pruned = without(&merged, &last, shape);
    // Whatever somebody owns stays, with all that it stands in.
    let all = with_named(&fields_of_stored(&merged, shape), shape);
    let left = with_named(&fields_of_stored(&pruned, shape), shape);
    let owned = entries
        .iter()
        .fold(FieldSet::default(), |all, e| all.union(&e.fields));
    let owned = with_named(&owned, shape);
    let kept = without(&merged, &all.difference(&left.union(&owned)), shape);
    // And only what the applier once owned goes.
    let left = with_named(&fields_of_stored(&kept, shape), shape);
    without(&merged, &all.difference(&left).intersection(&last), shape)
}

/// The set with every field of a structure that something below is owned of.
fn with_named(set: &FieldSet, shape: Shape) -> FieldSet {
    let mut named = FieldSet::default();
    for (element, member, below) in set.iter() {
        let inner = match element {
            PathElement::Field(name) => shape.child(name),
            _ => Some(shape.item()),
        };
        let structure = matches!((element, shape), (PathElement::Field(_), Shape::Struct(_)));
        if member || (structure && !below.is_empty()) {
            named.insert(element.clone());
        }
        if let Some(inner) = inner {
            named.insert_below(element.clone(), with_named(below, inner));
        }
    }
    named
}
