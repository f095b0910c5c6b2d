//! Deletion: graceful, after finalizers, with dependents in the background, in the foreground or
//! orphaned (Kubernetes, "Garbage Collection" and "Finalizers").

use super::create::whole_second;
use super::{Written, decoded};
use crate::admit::{Context, Verdict};
use crate::commit::Commit;
use kabuki_model::command::{Expect, Op};
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kabuki_model::k8s_openapi::jiff::SignedDuration;
use kabuki_model::kind::AnyObject;
use kabuki_model::object::with_managed_fields;
use kabuki_model::request::{
    Answer, Content, DeleteOptions, ListRequest, Propagation, Request, WriteOptions,
};
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, StatusError, Stored};
use std::sync::Arc;

/// The finalizer that waits for dependents to go first.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer that waits for dependents to lose their owner.
const ORPHAN: &str = "orphan";

pub(crate) fn delete(
    view: &dyn View,
    key: &ObjectKey,
    options: &DeleteOptions,
    cx: &Context,
) -> Result<Verdict, StatusError> {
    let current = view.get(key).ok_or_else(|| StatusError::not_found(key))?;
    check_preconditions(current, options)?;
    remove(current, decoded(current)?, options, cx)
}

/// Deletes `object`, which stands for `current`.
pub(super) fn remove(
    current: &Arc<Stored>,
    mut object: Box<dyn AnyObject>,
    options: &DeleteOptions,
    cx: &Context,
) -> Result<Verdict, StatusError> {
    if !mark(&mut *object, options, cx) {
        return Ok(Verdict::Answer(Answer::object(current.clone())));
    }
    let expect = Expect::Revision(current.revision);
    let op = match nothing_keeps(&*object) {
        true => Op::Delete {
            key: current.key.clone(),
            expect,
        },
        false => Op::Put {
            key: current.key.clone(),
            uid: current.uid.clone(),
            json: with_managed_fields(object.to_json(), current.managed_fields()),
            expect,
        },
    };
    if options.dry_run {
        return Ok(Verdict::Answer(Answer::object(current.clone())));
    }
    let written = Written {
        ops: vec![op],
        warnings: Vec::new(),
        retry: options.revision.is_none(),
        creates: false,
        scale: false,
    };
    written.verdict(&WriteOptions::default(), cx, current.revision)
}

pub(crate) fn delete_collection(
    view: &dyn View,
    selection: &ListRequest,
    options: &DeleteOptions,
    cx: &Context,
) -> Result<Verdict, StatusError> {
    let listed = crate::read(view, &Request::List(selection.clone()))?;
    let Content::List(list) = listed.content else {
        return Err(StatusError::internal(
            "a list was answered with something else",
        ));
    };
    let each = list.items.iter().map(|o| delete(view, &o.key, options, cx));
    Ok(Verdict::Each(each.filter_map(commit_of).collect()))
}

/// The write of one object's deletion; nothing when it is already being deleted.
fn commit_of(verdict: Result<Verdict, StatusError>) -> Option<Result<Commit, StatusError>> {
    match verdict {
        Ok(Verdict::Commit(commit)) => Some(Ok(commit)),
        Ok(Verdict::Answer(_) | Verdict::Each(_)) => None,
        Err(error) => Some(Err(error)),
    }
}

pub(super) fn check_preconditions(
    current: &Arc<Stored>,
    options: &DeleteOptions,
) -> Result<(), StatusError> {
    if let Some(uid) = options.uid.as_ref().filter(|uid| **uid != current.uid) {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            current.uid
        );
        return Err(StatusError::conflict(&current.key, &why));
    }
    if let Some(revision) = options.revision.filter(|r| *r != current.revision) {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {revision}, ResourceVersion \
             in object meta: {}",
            current.revision
        );
        return Err(StatusError::conflict(&current.key, &why));
    }
    Ok(())
}

/// Marks the object as being deleted. Says whether anything changed: a second deletion only
/// counts when it shortens the grace period or adds a finalizer.
fn mark(object: &mut dyn AnyObject, options: &DeleteOptions, cx: &Context) -> bool {
    let grace = object.grace_period_s(options.grace_period_s).max(0);
    let first = object.meta().deletion_timestamp.is_none();
    let before = object.meta().clone();
    propagate(object, options.propagation, first);
    let meta = object.meta_mut();
    let shorter = meta
        .deletion_grace_period_seconds
        .is_some_and(|g| grace < g);
    if first || shorter {
        let end = whole_second(cx).checked_add(SignedDuration::from_secs(grace));
        meta.deletion_timestamp = Some(Time(end.unwrap_or(cx.now)));
        meta.deletion_grace_period_seconds = Some(grace);
    }
    if first {
        if let Some(generation) = meta.generation.as_mut() {
            *generation += 1;
        }
        object.mark_deleting();
    }
    *object.meta() != before || nothing_keeps(object)
}

fn propagate(object: &mut dyn AnyObject, policy: Option<Propagation>, first: bool) {
    let Some(policy) = policy else { return };
    if !first && policy == Propagation::Background {
        return;
    }
    let finalizers = object.meta_mut().finalizers.get_or_insert_default();
    finalizers.retain(|f| f != FOREGROUND && f != ORPHAN);
    match policy {
        Propagation::Background => {}
        Propagation::Foreground => finalizers.push(FOREGROUND.to_string()),
        Propagation::Orphan => finalizers.push(ORPHAN.to_string()),
    }
    if finalizers.is_empty() {
        object.meta_mut().finalizers = None;
    }
}

/// Whether a deleted object may go: its grace is over, and no finalizer is left.
pub(super) fn nothing_keeps(object: &dyn AnyObject) -> bool {
    let meta = object.meta();
    meta.deletion_timestamp.is_some()
        && meta.deletion_grace_period_seconds.unwrap_or(0) == 0
        && meta.finalizers.as_ref().is_none_or(Vec::is_empty)
        && !object.deletion_blocked()
}
