//! The annotation in which `apply` remembers what was applied.

use serde_json::{Map, Value};

/// The annotation's key.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What was last applied to an object; `None` when nothing was, or it cannot be read.
pub fn last_applied(object: &Value) -> Option<Value> {
    let text = object
        .get("metadata")?
        .get("annotations")?
        .get(LAST_APPLIED)?
        .as_str()?;
    serde_json::from_str(text).ok()
}

/// Writes into an object what is applied: the object itself, without this annotation. The text
/// ends with a newline, as `kubectl` writes it.
pub fn set_last_applied(object: &mut Value) {
    let mut plain = object.clone();
    remove(&mut plain);
    let text = format!("{plain}\n");
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    let empty = || Value::Object(Map::new());
    let metadata = fields.entry("metadata").or_insert_with(empty);
    if metadata.is_null() {
        *metadata = empty();
    }
    let Some(metadata) = metadata.as_object_mut() else {
        return;
    };
    let annotations = metadata.entry("annotations").or_insert_with(empty);
    if annotations.is_null() {
        *annotations = empty();
    }
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(LAST_APPLIED.to_string(), text.into());
    }
}

/// Removes the annotation. An empty map of annotations stays, as `kubectl` leaves it.
fn remove(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let annotations = metadata
        .entry("annotations")
        .or_insert_with(|| Value::Object(Map::new()));
    if annotations.is_null() {
        *annotations = Value::Object(Map::new());
    }
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove(LAST_APPLIED);
    }
}
