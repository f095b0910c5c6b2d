//! Objects are written in parts: an ordinary update leaves the status alone, and each subresource
//! writes nothing but its own part. What is sent along must be right all the same.

use super::{ephemeral, resize};
use crate::draft::{self, Faults};
use kabuki_model::kind::{AnyObject, Kind};
use kabuki_model::request::{Subresource, WriteOptions};
use kabuki_model::{StatusError, Stored};
use serde_json::{Map, Value};

/// The whole object, but `status` stays when it is a subresource.
pub(super) fn whole(
    kind: &Kind,
    current: &Stored,
    mut object: Map<String, Value>,
    options: &WriteOptions,
    faults: &mut Faults,
) -> Result<Box<dyn AnyObject>, StatusError> {
    if kind.has_status {
        let given = object.remove("status");
        let held = field_of(current, "status")?;
        if given != held {
            let unwritten = given.map(|s| ("status".to_string(), s));
            draft::look_at(kind, unwritten.into_iter().collect(), options, faults)?;
        }
        if let Some(status) = held {
            object.insert("status".to_string(), status);
        }
    }
    draft::decode(kind, object, options, faults)
}

/// Only `status`, or only the namespace's `spec.finalizers`; all else stays.
pub(super) fn one_part(
    kind: &Kind,
    current: &Stored,
    part: Option<Subresource>,
    mut object: Map<String, Value>,
    options: &WriteOptions,
    faults: &mut Faults,
) -> Result<Box<dyn AnyObject>, StatusError> {
    if part == Some(Subresource::Status) && !kind.has_status {
        return Err(no_subresource(kind, "status"));
    }
    if part == Some(Subresource::Finalize) && kind.names.kind != "Namespace" {
        return Err(no_subresource(kind, "finalize"));
    }
    let mut base = whole_value(current)?;
    look_at_others(kind, (&base, &object), part, options, faults)?;
    if part == Some(Subresource::EphemeralContainers) {
        ephemeral::take(kind, &mut base, object)?;
        return draft::decode(kind, base, options, faults);
    }
    if part == Some(Subresource::Resize) {
        resize::take(kind, &mut base, object)?;
        return draft::decode(kind, base, options, faults);
    }
    let field = match part {
        Some(Subresource::Finalize) => "spec",
        _ => "status",
    };
    match object.remove(field) {
        Some(value) => base.insert(field.to_string(), value),
        None => base.remove(field),
    };
    for field in ["apiVersion", "kind"] {
        if let Some(given) = object.remove(field) {
            base.insert(field.to_string(), given);
        }
    }
    draft::decode(kind, base, options, faults)
}

/// What is sent to a part of an object and belongs to another one is not written, but its faults
/// are faults. What is as it was has none.
fn look_at_others(
    kind: &Kind,
    (base, object): (&Map<String, Value>, &Map<String, Value>),
    part: Option<Subresource>,
    options: &WriteOptions,
    faults: &mut Faults,
) -> Result<(), StatusError> {
    let written = match part {
        Some(Subresource::Status) => "status",
        Some(Subresource::Finalize) => "spec",
        // Only some fields of the `spec` are taken.
        _ => "",
    };
    let differs =
        |name: &str, value: &Value| name != written && base.get(name).is_none_or(|b| b != value);
    let others = object.iter().filter(|(name, value)| differs(name, value));
    let others = others.map(|(n, v)| (n.clone(), v.clone())).collect();
    draft::look_at(kind, others, options, faults)
}

pub(super) fn no_subresource(kind: &Kind, part: &str) -> StatusError {
    StatusError::new(
        kabuki_model::status::Reason::NotFound,
        format!("{} have no subresource {part:?}", kind.resource),
    )
}

fn whole_value(stored: &Stored) -> Result<Map<String, Value>, StatusError> {
    match stored.to_plain_value() {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(StatusError::internal(format!(
            "stored {} is no object",
            stored.key
        ))),
        Err(e) => Err(StatusError::internal(format!("{e}: {}", e.source))),
    }
}

fn field_of(stored: &Stored, field: &str) -> Result<Option<Value>, StatusError> {
    Ok(whole_value(stored)?.remove(field))
}
