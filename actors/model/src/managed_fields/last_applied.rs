//! From `kubectl apply` to `kubectl apply --server-side`: what the annotation of the first says
//! was applied may be applied by the second without a conflict, and stays what was last applied.

use super::collect::fields_of_stored;
use super::compare::compare;
use super::shape::Shape;
use super::{ApplyError, Conflict, Writer};
use crate::patch::{LAST_APPLIED, last_applied, set_last_applied};
use serde_json::Value;

/// The manager that this is for. Any other name opts out.
const KUBECTL: &str = "kubectl";

/// Whether all conflicts are about fields that are still as the annotation says.
pub(super) fn allow(
    writer: &Writer,
    live: Option<&Value>,
    conflicts: Vec<Conflict>,
) -> Result<(), ApplyError> {
    let before = live.and_then(last_applied);
    let (Some(before), Some(live), KUBECTL) = (before, live, writer.manager) else {
        return Err(ApplyError::Conflicts(conflicts));
    };
    let shape = Shape::Struct(writer.message);
    // What was changed since then is no longer the client's.
    let changes = compare(Some(&before), Some(live), shape);
    let allowed = fields_of_stored(&before, shape)
        .difference(&changes.set())
        .difference(&changes.removed)
        .paths();
    let left: Vec<Conflict> = conflicts
        .into_iter()
        .filter(|c| !allowed.contains(&c.path))
        .collect();
    match left.is_empty() {
        true => Ok(()),
        false => Err(ApplyError::Conflicts(left)),
    }
}

/// Brings the annotation of an object that has one up to date.
pub(super) fn renew(writer: &Writer, object: &mut Value, config: &Value) {
    let held = object["metadata"]["annotations"].get(LAST_APPLIED);
    if writer.manager != KUBECTL || held.is_none() {
        return;
    }
    let mut config = config.clone();
    set_last_applied(&mut config);
    let text = config["metadata"]["annotations"][LAST_APPLIED].take();
    object["metadata"]["annotations"][LAST_APPLIED] = text;
}
