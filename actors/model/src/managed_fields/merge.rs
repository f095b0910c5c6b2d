//! Merging an applied configuration into an object, and taking fields out of one.

use super::path::PathElement;
use super::set::FieldSet;
use super::shape::{Misshapen, Shape, items};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The object with everything that the configuration says. The configuration must have its shape
/// ([`fields_of`](super::collect::fields_of) has read it).
pub(super) fn merge(live: &Value, config: &Value, shape: Shape) -> Result<Value, Misshapen> {
    match (shape, live, config) {
        (Shape::Struct(_) | Shape::Map(_), Value::Object(live), Value::Object(config)) => {
            let mut merged = live.clone();
            for (name, wanted) in config {
                let element = || PathElement::Field(name.clone());
                let Some(inner) = shape.child(name) else {
                    return Err(Misshapen::new("field not declared in schema").below(&element()));
                };
                let value = match live.get(name) {
                    Some(live) => merge(live, wanted, inner).map_err(|e| e.below(&element()))?,
                    None => wanted.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Ok(Value::Object(merged))
        }
        (Shape::Set | Shape::Keyed(..), Value::Array(live), Value::Array(config)) => {
            lists(live, config, shape).map(Value::Array)
        }
        (_, _, config) => Ok(config.clone()),
    }
}

/// Items of both, in the order of the configuration; those that only the object has keep their
/// place between the others.
fn lists(live: &[Value], config: &[Value], shape: Shape) -> Result<Vec<Value>, Misshapen> {
    // Items without keys cannot be told apart from any other: they stay where they are.
    let left: Vec<Option<PathElement>> = live.iter().map(|i| shape.element_of(i).ok()).collect();
    let mut first_live: BTreeMap<&PathElement, &Value> = BTreeMap::new();
    for (element, item) in left.iter().zip(live) {
        if let Some(element) = element {
            first_live.entry(element).or_insert(item);
        }
    }
    let right: Vec<PathElement> = config
        .iter()
        .map(|item| shape.element_of(item))
        .collect::<Result<_, _>>()?;
    let mut shared = right.iter().filter(|e| first_live.contains_key(e));
    let mut next_shared = shared.next();
    let mut done: Vec<&PathElement> = Vec::new();
    let mut merged = Vec::with_capacity(live.len() + config.len());
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        let theirs = left.get(l);
        let ours = right.get(r);
        if let Some(theirs) = theirs {
            let wanted = theirs.as_ref().is_some_and(|t| right.contains(t));
            if !wanted {
                merged.extend(live.get(l).cloned());
                l += 1;
                continue;
            }
            let same = theirs.as_ref() == ours;
            let merged_already = theirs.as_ref().is_some_and(|t| done.contains(&t));
            let later = next_shared.is_some() && next_shared != theirs.as_ref();
            if !same && (merged_already || later) {
                l += 1;
                continue;
            }
            if same {
                l += 1;
            }
        }
        let (Some(element), Some(wanted)) = (ours, config.get(r)) else {
            // What is left of the object's items has been merged before.
            l += 1;
            continue;
        };
        let item = match first_live.get(element) {
            Some(live) => merge(live, wanted, shape.item()).map_err(|e| e.below(element))?,
            None => wanted.clone(),
        };
        merged.push(item);
        done.push(element);
        if next_shared == Some(element) {
            next_shared = shared.next();
        }
        r += 1;
    }
    Ok(merged)
}

/// The value without the members of `gone`, and without what becomes empty by that.
pub(super) fn without(value: &Value, gone: &FieldSet, shape: Shape) -> Value {
    match (shape, value) {
        (Shape::Struct(_) | Shape::Map(_), Value::Object(fields)) => {
            let mut kept = Map::new();
            for (name, inner) in fields {
                let element = PathElement::Field(name.clone());
                let left = remains(inner, gone, &element, shape.child(name));
                kept.extend(left.map(|left| (name.clone(), left)));
            }
            Value::Object(kept)
        }
        (Shape::Set | Shape::Keyed(..), Value::Array(list)) => {
            let kept = list.iter().filter_map(|item| match shape.element_of(item) {
                Ok(element) => remains(item, gone, &element, Some(shape.item())),
                Err(_) => Some(item.clone()),
            });
            Value::Array(kept.collect())
        }
        (_, value) => value.clone(),
    }
}

fn remains(
    value: &Value,
    gone: &FieldSet,
    element: &PathElement,
    shape: Option<Shape>,
) -> Option<Value> {
    if gone.has(element) {
        return None;
    }
    let (Some(below), Some(shape)) = (gone.below(element), shape) else {
        return Some(value.clone());
    };
    let left = without(value, below, shape);
    let emptied = match &left {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(_) => items(&left).is_ok_and(<[Value]>::is_empty),
        _ => false,
    };
    (!emptied).then_some(left)
}
