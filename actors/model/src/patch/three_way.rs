//! Making strategic patches: what a manifest says now (`modified`), what it said when it was last
//! applied (`original`), and what the object is (`current`).
//!
//! What `modified` says is set; what only `original` said is removed; what neither ever said
//! (defaults, status, other people's fields) is left alone.

use super::lists::{ListRule, Place};
use super::strategic::{DELETE_ITEMS, DIRECTIVE, RETAIN_KEYS, SET_ORDER};
use serde_json::{Map, Value, json};

/// The strategic patch that `apply` sends. Empty (`{}`) when there is nothing to change.
pub fn create_three_way_patch(
    original: Option<&Value>,
    modified: &Value,
    current: &Value,
) -> Value {
    let place = Place::root(&[current, modified]);
    let empty = Map::new();
    let fields = |value: &'_ Value| value.as_object().cloned();
    let original = original.and_then(fields).unwrap_or_default();
    let modified = modified.as_object().unwrap_or(&empty);
    let current = current.as_object().unwrap_or(&empty);
    Value::Object(diff_object(&original, modified, current, &place))
}

/// The strategic patch that turns `current` into `modified`.
pub fn create_two_way_patch(current: &Value, modified: &Value) -> Value {
    create_three_way_patch(Some(current), modified, current)
}

type Fields = Map<String, Value>;

fn diff_object(original: &Fields, modified: &Fields, current: &Fields, place: &Place) -> Fields {
    let mut patch = Map::new();
    for (field, wanted) in modified {
        let below = place.child(field);
        match (wanted, current.get(field)) {
            (Value::Null, None) => {}
            (Value::Null, Some(found)) => {
                if !found.is_null() {
                    patch.insert(field.clone(), Value::Null);
                }
            }
            (wanted, Some(found)) if wanted == found => {}
            (Value::Object(wanted), Some(Value::Object(found))) => {
                let none = Map::new();
                let before = original
                    .get(field)
                    .and_then(Value::as_object)
                    .unwrap_or(&none);
                let mut inner = diff_object(before, wanted, found, &below);
                if below.retains_keys() {
                    add_retain_keys(&mut inner, wanted);
                }
                if !inner.is_empty() {
                    patch.insert(field.clone(), inner.into());
                }
            }
            (Value::Array(wanted), Some(Value::Array(found))) => {
                let before = original.get(field).and_then(Value::as_array);
                let before = before.map_or(&[][..], Vec::as_slice);
                diff_list(field, before, wanted, found, &below, &mut patch);
            }
            (wanted, _) => {
                patch.insert(field.clone(), wanted.clone());
            }
        }
    }
    for field in original.keys() {
        if !modified.contains_key(field) && current.contains_key(field) {
            patch.insert(field.clone(), Value::Null);
        }
    }
    patch
}

fn add_retain_keys(patch: &mut Fields, wanted: &Fields) {
    if !patch.is_empty() {
        let mut keys: Vec<&String> = wanted
            .iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(k, _)| k)
            .collect();
        keys.sort();
        patch.insert(RETAIN_KEYS.to_string(), json!(keys));
    }
}

fn diff_list(
    field: &str,
    original: &[Value],
    modified: &[Value],
    current: &[Value],
    place: &Place,
    patch: &mut Fields,
) {
    let replaced = |patch: &mut Fields| {
        patch.insert(field.to_string(), modified.to_vec().into());
    };
    let Some(rule) = place.list() else {
        return replaced(patch);
    };
    let Some(key) = rule.key else {
        return diff_plain(field, original, modified, current, patch);
    };
    let unique = |items: &[Value]| {
        items.iter().enumerate().all(|(index, item)| {
            let id = item.get(key);
            id.is_some() && !items[..index].iter().any(|other| other.get(key) == id)
        })
    };
    if !unique(modified) || !unique(current) {
        // Items cannot be told apart (one port, two protocols): the list is given whole.
        replaced(patch);
        if let Some(Value::Array(items)) = patch.get_mut(field) {
            items.push(json!({DIRECTIVE: "replace"}));
        }
        return;
    }
    let changes = diff_items(key, rule, original, modified, current, place);
    let ids = |items: &[Value]| -> Vec<Value> {
        items.iter().filter_map(|i| i.get(key)).cloned().collect()
    };
    let order = ids(modified);
    let present: Vec<Value> = ids(current)
        .into_iter()
        .filter(|id| order.contains(id))
        .collect();
    let out_of_order = present
        .iter()
        .zip(order.iter().filter(|id| present.contains(id)))
        .any(|(a, b)| a != b);
    if !changes.is_empty() || out_of_order {
        let order: Vec<Value> = order.into_iter().map(|id| json!({key: id})).collect();
        patch.insert(format!("{SET_ORDER}{field}"), order.into());
    }
    if !changes.is_empty() {
        patch.insert(field.to_string(), changes.into());
    }
}

fn diff_items(
    key: &str,
    rule: ListRule,
    original: &[Value],
    modified: &[Value],
    current: &[Value],
    place: &Place,
) -> Vec<Value> {
    let none = Map::new();
    let with =
        |items: &[Value], id: Option<&Value>| items.iter().find(|i| i.get(key) == id).cloned();
    let mut changes = Vec::new();
    for item in modified {
        let id = item.get(key);
        let (Some(wanted), Some(found)) = (item.as_object(), with(current, id)) else {
            changes.push(item.clone());
            continue;
        };
        let before = with(original, id);
        let before = before.as_ref().and_then(Value::as_object).unwrap_or(&none);
        let found = found.as_object().unwrap_or(&none);
        let mut inner = diff_object(before, wanted, found, place);
        if rule.retain_keys {
            add_retain_keys(&mut inner, wanted);
        }
        if !inner.is_empty() {
            inner.insert(key.to_string(), id.cloned().unwrap_or_default());
            changes.push(inner.into());
        }
    }
    for item in original {
        let id = item.get(key);
        if id.is_some() && with(modified, id).is_none() && with(current, id).is_some() {
            changes.push(json!({key: id, DIRECTIVE: "delete"}));
        }
    }
    changes
}

fn diff_plain(
    field: &str,
    original: &[Value],
    modified: &[Value],
    current: &[Value],
    patch: &mut Fields,
) {
    let added: Vec<Value> = modified
        .iter()
        .filter(|v| !current.contains(v))
        .cloned()
        .collect();
    let gone: Vec<Value> = original
        .iter()
        .filter(|v| !modified.contains(v) && current.contains(v))
        .cloned()
        .collect();
    let kept: Vec<&Value> = current.iter().filter(|v| modified.contains(v)).collect();
    let out_of_order = kept
        .iter()
        .zip(modified.iter().filter(|v| kept.contains(v)))
        .any(|(a, b)| *a != b);
    if added.is_empty() && gone.is_empty() && !out_of_order {
        return;
    }
    patch.insert(format!("{SET_ORDER}{field}"), modified.to_vec().into());
    if !added.is_empty() {
        patch.insert(field.to_string(), added.into());
    }
    if !gone.is_empty() {
        patch.insert(format!("{DELETE_ITEMS}{field}"), gone.into());
    }
}
