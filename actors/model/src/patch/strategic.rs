//! Applying strategic merge patches (Kubernetes, "Update API Objects in Place Using kubectl
//! patch").

use super::PatchError;
use super::lists::{ListRule, Place};
use serde_json::{Map, Value};

pub(super) const DIRECTIVE: &str = "$patch";
pub(super) const RETAIN_KEYS: &str = "$retainKeys";
pub(super) const SET_ORDER: &str = "$setElementOrder/";
pub(super) const DELETE_ITEMS: &str = "$deleteFromPrimitiveList/";

/// Applies a strategic merge patch to a whole object.
pub fn strategic_patch(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let place = Place::root(&[target, patch]);
    let (Value::Object(target), Value::Object(patch)) = (target, patch) else {
        return Err(PatchError::Malformed(
            "a strategic merge patch of an object is an object".to_string(),
        ));
    };
    let merged = merge_object(target.clone(), patch, &place)?;
    Ok(Value::Object(merged))
}

fn fault<T>(place: &Place, why: impl Into<String>) -> Result<T, PatchError> {
    Err(PatchError::Strategic {
        path: place.path(),
        why: why.into(),
    })
}

#[derive(PartialEq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

fn directive(patch: &Map<String, Value>, place: &Place) -> Result<Directive, PatchError> {
    match patch.get(DIRECTIVE) {
        None => Ok(Directive::Merge),
        Some(Value::String(word)) if word == "merge" => Ok(Directive::Merge),
        Some(Value::String(word)) if word == "replace" => Ok(Directive::Replace),
        Some(Value::String(word)) if word == "delete" => Ok(Directive::Delete),
        Some(other) => fault(
            place,
            format!("unknown $patch directive {other}; known are merge, replace, delete"),
        ),
    }
}

fn without_directive(mut object: Map<String, Value>) -> Map<String, Value> {
    object.remove(DIRECTIVE);
    object
}

fn merge_object(
    mut target: Map<String, Value>,
    patch: &Map<String, Value>,
    place: &Place,
) -> Result<Map<String, Value>, PatchError> {
    match directive(patch, place)? {
        Directive::Replace => return Ok(without_directive(patch.clone())),
        Directive::Delete => return Ok(Map::new()),
        Directive::Merge => {}
    }
    retain_keys(&mut target, patch, place)?;
    for (field, change) in patch {
        if field == DIRECTIVE || field == RETAIN_KEYS {
            continue;
        }
        if let Some(name) = field.strip_prefix(DELETE_ITEMS) {
            let Some(gone) = change.as_array() else {
                return fault(&place.child(name), "$deleteFromPrimitiveList needs a list");
            };
            if let Some(Value::Array(items)) = target.get_mut(name) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        // Orders are applied once all items are there.
        if field.starts_with(SET_ORDER) {
            continue;
        }
        let below = place.child(field);
        match (target.remove(field), change) {
            (_, Value::Null) => {}
            (Some(Value::Object(old)), Value::Object(new)) => {
                target.insert(field.clone(), merge_object(old, new, &below)?.into());
            }
            (_, Value::Object(new)) => {
                target.insert(field.clone(), merge_object(Map::new(), new, &below)?.into());
            }
            (old, Value::Array(new)) => {
                let old = match old {
                    Some(Value::Array(items)) => items,
                    _ => Vec::new(),
                };
                let order = patch.get(&format!("{SET_ORDER}{field}"));
                target.insert(field.clone(), merge_list(old, new, order, &below)?.into());
            }
            (_, scalar) => {
                target.insert(field.clone(), scalar.clone());
            }
        }
    }
    order_alone(&mut target, patch, place)?;
    Ok(target)
}

/// An order for a list that the patch does not change otherwise.
fn order_alone(
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    place: &Place,
) -> Result<(), PatchError> {
    for (field, order) in patch {
        let Some(name) = field
            .strip_prefix(SET_ORDER)
            .filter(|n| !patch.contains_key(*n))
        else {
            continue;
        };
        let below = place.child(name);
        if let Some(Value::Array(items)) = target.remove(name) {
            let ordered = merge_list(items, &[], Some(order), &below)?;
            target.insert(name.to_string(), ordered.into());
        }
    }
    Ok(())
}

fn retain_keys(
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    place: &Place,
) -> Result<(), PatchError> {
    let Some(keys) = patch.get(RETAIN_KEYS) else {
        return Ok(());
    };
    let Some(keys) = keys.as_array() else {
        return fault(place, "$retainKeys needs a list");
    };
    let kept = |field: &str| keys.iter().any(|k| k.as_str() == Some(field));
    let stray = patch
        .iter()
        .find(|(f, v)| !f.starts_with('$') && !v.is_null() && !kept(f));
    if let Some((field, _)) = stray {
        return fault(
            place,
            format!("{field:?} is set but not among the $retainKeys"),
        );
    }
    target.retain(|field, _| kept(field));
    Ok(())
}

fn merge_list(
    old: Vec<Value>,
    new: &[Value],
    order: Option<&Value>,
    place: &Place,
) -> Result<Vec<Value>, PatchError> {
    let Some(rule) = place.list() else {
        return Ok(new.to_vec());
    };
    let server_order = old.clone();
    let merged = match rule.key {
        Some(key) => merge_items(old, new, key, place)?,
        None => {
            let mut merged = old;
            for item in new {
                if !merged.contains(item) {
                    merged.push(item.clone());
                }
            }
            merged
        }
    };
    match order {
        None => Ok(merged),
        Some(Value::Array(order)) => Ok(ordered(merged, order, &server_order, rule)),
        Some(_) => fault(place, "$setElementOrder needs a list"),
    }
}

fn merge_items(
    mut old: Vec<Value>,
    new: &[Value],
    key: &str,
    place: &Place,
) -> Result<Vec<Value>, PatchError> {
    let mut changes = Vec::with_capacity(new.len());
    let mut replace = false;
    for item in new {
        let Some(item) = item.as_object() else {
            return fault(
                place,
                format!("items are told apart by {key:?}, so each must be an object"),
            );
        };
        match directive(item, place)? {
            Directive::Replace => replace = true,
            kind => changes.push((kind, item)),
        }
    }
    if replace {
        old.clear();
    }
    for (kind, item) in changes {
        let Some(id) = item.get(key) else {
            return fault(
                place,
                format!("an item has no {key:?}, by which items are told apart"),
            );
        };
        let found = old.iter().position(|o| o.get(key) == Some(id));
        match (kind, found) {
            (Directive::Delete, _) => old.retain(|o| o.get(key) != Some(id)),
            // A list that is replaced may hold one key twice.
            (_, Some(at)) if !replace => {
                let was = old[at].as_object().cloned().unwrap_or_default();
                old[at] = Value::Object(merge_object(was, item, place)?);
            }
            _ => old.push(Value::Object(merge_object(Map::new(), item, place)?)),
        }
    }
    Ok(old)
}

fn id_of(item: &Value, rule: ListRule) -> Option<&Value> {
    match rule.key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}

/// Items that `order` names come in that order; the others keep their place before the items
/// that they preceded on the server.
fn ordered(items: Vec<Value>, order: &[Value], server: &[Value], rule: ListRule) -> Vec<Value> {
    let rank = |item: &Value, list: &[Value]| {
        let id = id_of(item, rule)?;
        list.iter().position(|o| id_of(o, rule) == Some(id))
    };
    let (mut named, others): (Vec<Value>, Vec<Value>) = items
        .into_iter()
        .partition(|item| rank(item, order).is_some());
    named.sort_by_key(|item| rank(item, order));
    let mut others = others.into_iter().peekable();
    let mut merged = Vec::new();
    for item in named {
        let at = rank(&item, server);
        while let Some(other) = others.peek() {
            let before = match (rank(other, server), at) {
                (Some(other), Some(at)) => other < at,
                _ => false,
            };
            if !before {
                break;
            }
            merged.extend(others.next());
        }
        merged.push(item);
    }
    merged.extend(others);
    merged
}
