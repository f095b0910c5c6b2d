//! JSON Merge Patch (RFC 7386).

use serde_json::{Map, Value};

/// Applies a merge patch: `null` removes, objects merge, all else replaces.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else {
        return;
    };
    for (field, change) in changes {
        match change {
            Value::Null => {
                fields.remove(field);
            }
            change => merge_patch(fields.entry(field).or_insert(Value::Null), change),
        }
    }
}

/// The merge patch that turns `current` into `wanted`. A `null` inside of `wanted` cannot be
/// expressed: it counts as absent.
pub fn create_merge_patch(current: &Value, wanted: &Value) -> Value {
    let (Value::Object(current), Value::Object(wanted)) = (current, wanted) else {
        return wanted.clone();
    };
    let mut patch = Map::new();
    for (field, value) in wanted.iter().filter(|(_, v)| !v.is_null()) {
        match current.get(field) {
            Some(found) if found == value => {}
            Some(found @ Value::Object(_)) if value.is_object() => {
                let inner = create_merge_patch(found, value);
                if inner.as_object().is_some_and(|i| !i.is_empty()) {
                    patch.insert(field.clone(), inner);
                }
            }
            _ => {
                patch.insert(field.clone(), value.clone());
            }
        }
    }
    for field in current.keys() {
        if wanted.get(field).is_none_or(Value::is_null) {
            patch.insert(field.clone(), Value::Null);
        }
    }
    Value::Object(patch)
}
