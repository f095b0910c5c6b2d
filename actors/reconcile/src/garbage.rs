//! Garbage collection (Kubernetes, "Garbage Collection"): dependents whose owners are gone are
//! deleted; owners that wait for their dependents, or for them to be orphaned, are let go when
//! that is done.
//!
//! The view is the newest state and has an index by owner, so that there is no graph to keep: an
//! owner is absent when it is not in the view, and present only with the uid that is named.

use crate::ownership::without_owners;
use crate::reconciler::{Outcome, Reconciler};
use crate::requests;
use jiff::Timestamp;
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kabuki_model::kind::{self, Kind, Scope};
use kabuki_model::request::{DeleteOptions, Propagation};
use kabuki_model::view::{Index, View};
use kabuki_model::{ObjectKey, Resource, Stored};
use serde_json::json;
use std::sync::Arc;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// The core of the garbage collector.
pub(crate) struct GarbageCollector;

impl Reconciler for GarbageCollector {
    fn name(&self) -> &'static str {
        "garbage-collector-controller"
    }

    /// Everything but events, which neither own nor are owned.
    fn watches(&self) -> Vec<Resource> {
        let kinds = kind::all().iter().map(|k| k.resource.clone());
        kinds.filter(|r| *r != Resource::EVENTS).collect()
    }

    fn keys(
        &self,
        view: &dyn View,
        object: &Stored,
        previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        let mut keys = Vec::new();
        // Most objects: nothing of them needs to be decoded.
        if !removed && !may_be_tied(object) && previous.is_none_or(|p| !may_be_tied(p)) {
            return keys;
        }
        let meta = object.meta();
        if removed {
            keys.extend(dependents(view, &object.uid).map(|d| d.key.clone()));
        } else if previous.is_none_or(|p| !same_for_us(p.meta(), meta)) {
            let concerned = meta
                .owner_references
                .as_ref()
                .is_some_and(|o| !o.is_empty())
                || waits_for(meta, FOREGROUND)
                || waits_for(meta, ORPHAN);
            if concerned {
                keys.push(object.key.clone());
            }
            if waits_for(meta, FOREGROUND) {
                keys.extend(dependents(view, &object.uid).map(|d| d.key.clone()));
            }
        } else {
            return keys;
        }
        // Owners may be waiting for exactly this.
        let before = previous.and_then(|p| p.meta().owner_references.as_ref());
        for owner in meta
            .owner_references
            .iter()
            .flatten()
            .chain(before.into_iter().flatten())
        {
            if let Owner::Going(owner) = find(view, object, owner)
                && !keys.contains(&owner.key)
            {
                keys.push(owner.key.clone());
            }
        }
        keys
    }

    /// An owner that came and went leaves dependents that were looked at while it was there; a
    /// dependent that did may leave an owner that still waits for it.
    fn relisted(&self, view: &dyn View, resource: &Resource) -> Vec<ObjectKey> {
        let may_have_been_left = |object: &Stored| {
            if !may_be_tied(object) {
                return false;
            }
            let meta = object.meta();
            let mut owners = meta.owner_references.iter().flatten();
            waits_for(meta, FOREGROUND)
                || waits_for(meta, ORPHAN)
                || owners.any(|o| names(o, resource) && is_absent(view, object, o))
        };
        let mut keys = Vec::new();
        for resource in self.watches() {
            let objects = view.scan(&resource, None, None);
            let left = objects.filter(|o| may_have_been_left(o));
            keys.extend(left.map(|o| o.key.clone()));
        }
        keys
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, _now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        let Some(object) = view.get(key) else {
            return outcome;
        };
        let meta = object.meta();
        if waits_for(meta, ORPHAN) {
            orphan(view, object, &mut outcome);
        } else if waits_for(meta, FOREGROUND) {
            let blocking = dependents(view, &object.uid).any(|d| blocks(d, &object.uid));
            if !blocking {
                outcome.request(without_finalizer(object, FOREGROUND));
            }
        } else if meta.deletion_timestamp.is_none() {
            collect(view, object, &mut outcome);
        }
        outcome
    }
}

/// Whether the object may have owners, or finalizers.
fn may_be_tied(object: &Stored) -> bool {
    object.may_have_owners() || object.may_have_finalizers()
}

/// Whether nothing that matters here is different.
fn same_for_us(before: &ObjectMeta, after: &ObjectMeta) -> bool {
    before.owner_references == after.owner_references
        && before.finalizers == after.finalizers
        && before.deletion_timestamp == after.deletion_timestamp
}

/// Whether the object is being deleted and has this finalizer.
fn waits_for(meta: &ObjectMeta, finalizer: &str) -> bool {
    let mut finalizers = meta.finalizers.iter().flatten();
    meta.deletion_timestamp.is_some() && finalizers.any(|f| f == finalizer)
}

fn dependents<'a>(view: &'a dyn View, uid: &str) -> impl Iterator<Item = &'a Arc<Stored>> {
    view.indexed(Index::Owner, uid)
}

fn reference<'a>(object: &'a Stored, uid: &str) -> Option<&'a OwnerReference> {
    let owners = object.meta().owner_references.as_ref()?;
    owners.iter().find(|o| o.uid == uid)
}

/// Whether a dependent keeps its owner from going in the foreground.
fn blocks(dependent: &Stored, uid: &str) -> bool {
    reference(dependent, uid).is_some_and(|o| o.block_owner_deletion == Some(true))
}

/// What became of an owner.
enum Owner<'a> {
    /// It is there to stay, or cannot be looked up.
    Solid,
    /// It waits for its dependents to go first.
    Going(&'a Arc<Stored>),
    /// It is not there, or something else has its name.
    Absent,
}

fn kind_of(owner: &OwnerReference) -> Option<&'static Kind> {
    kind::all()
        .iter()
        .find(|k| k.names.kind == owner.kind && k.names.group == group(&owner.api_version))
}

/// Whether the owner is of this resource.
fn names(owner: &OwnerReference, resource: &Resource) -> bool {
    kind_of(owner).is_some_and(|k| k.resource == *resource)
}

fn is_absent(view: &dyn View, dependent: &Stored, owner: &OwnerReference) -> bool {
    matches!(find(view, dependent, owner), Owner::Absent)
}

fn find<'a>(view: &'a dyn View, dependent: &Stored, owner: &OwnerReference) -> Owner<'a> {
    let Some(kind) = kind_of(owner) else {
        return Owner::Solid;
    };
    let namespace = match kind.scope() {
        Scope::Cluster => "",
        // An object of the whole cluster cannot depend on one of some namespace.
        Scope::Namespaced if dependent.key.namespace.is_empty() => return Owner::Solid,
        Scope::Namespaced => &dependent.key.namespace,
    };
    let key = ObjectKey::new(kind.resource.clone(), namespace, &owner.name);
    match view.get(&key).filter(|found| *found.uid == *owner.uid) {
        None => Owner::Absent,
        Some(found) if waits_for(found.meta(), FOREGROUND) => Owner::Going(found),
        Some(_) => Owner::Solid,
    }
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |p| p.0)
}

/// Deletes an object whose owners are all gone or going; takes those out that are when there are
/// others.
fn collect(view: &dyn View, object: &Arc<Stored>, outcome: &mut Outcome) {
    let owners = object
        .meta()
        .owner_references
        .as_deref()
        .unwrap_or_default();
    let (mut solid, mut going, mut lost) = (0, 0, Vec::new());
    for owner in owners {
        match find(view, object, owner) {
            Owner::Solid => solid += 1,
            Owner::Going(_) => {
                going += 1;
                lost.push(owner.uid.as_str());
            }
            Owner::Absent => lost.push(owner.uid.as_str()),
        }
    }
    if lost.is_empty() {
        return;
    }
    if solid > 0 {
        outcome.request(without_owners(object, |o| lost.contains(&o.uid.as_str())));
        return;
    }
    let finalizers = object.meta().finalizers.as_deref().unwrap_or_default();
    let has = |name: &str| finalizers.iter().any(|f| f == name);
    let foreground = going > 0 && dependents(view, &object.uid).next().is_some();
    let propagation = match () {
        () if has(ORPHAN) => Propagation::Orphan,
        () if foreground || has(FOREGROUND) => Propagation::Foreground,
        () => Propagation::Background,
    };
    let options = DeleteOptions {
        propagation: Some(propagation),
        // An owner that came in the meantime, or was exchanged, must not be overlooked.
        revision: Some(object.revision),
        ..DeleteOptions::default()
    };
    outcome.request(requests::delete_with(object, options));
}

/// Takes the owner out of its dependents, then lets it go.
fn orphan(view: &dyn View, owner: &Arc<Stored>, outcome: &mut Outcome) {
    for dependent in dependents(view, &owner.uid) {
        outcome.request(without_owners(dependent, |o| *o.uid == *owner.uid));
    }
    outcome.request(without_finalizer(owner, ORPHAN));
}

fn without_finalizer(object: &Stored, gone: &str) -> kabuki_model::request::Request {
    let mut left = object.meta().finalizers.clone().unwrap_or_default();
    left.retain(|f| f != gone);
    requests::patch(object, json!({ "finalizers": left }), None)
}

#[cfg(test)]
mod tests;
