//! What differs between two objects, field by field.

use super::path::PathElement;
use super::set::FieldSet;
use super::shape::Shape;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What differs.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Only in the old one.
    pub removed: FieldSet,
    /// In both, and different.
    pub modified: FieldSet,
    /// Only in the new one.
    pub added: FieldSet,
}

impl Comparison {
    /// What the new one sets.
    pub(super) fn set(&self) -> FieldSet {
        self.modified.clone().union(&self.added)
    }

    /// What the new one sets, and what it removes.
    pub fn into_parts(self) -> (FieldSet, FieldSet) {
        let mut set = self.modified;
        set.absorb(self.added);
        (set, self.removed)
    }

    fn insert_below(&mut self, element: &PathElement, below: Self) {
        for (mine, theirs) in [
            (&mut self.removed, below.removed),
            (&mut self.modified, below.modified),
            (&mut self.added, below.added),
        ] {
            if !theirs.is_empty() {
                mine.insert_below(element.clone(), theirs);
            }
        }
    }

    fn leaf(&mut self, element: PathElement, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, None) => {}
            (None, Some(_)) => self.added.insert(element),
            (Some(_), None) => self.removed.insert(element),
            (Some(old), Some(new)) if old != new => self.modified.insert(element),
            _ => {}
        }
    }
}

/// Compares two whole objects, or parts of them of the same shape.
pub(super) fn compare(old: Option<&Value>, new: Option<&Value>, shape: Shape) -> Comparison {
    let mut found = Comparison::default();
    match shape {
        Shape::Leaf => {}
        Shape::Struct(_) | Shape::Map(_) => structures(old, new, shape, &mut found),
        Shape::Set | Shape::Keyed(..) => lists(old, new, shape, &mut found),
    }
    found
}

/// What stands for a field that is always there.
const NOTHING: Value = Value::Null;

fn structures(old: Option<&Value>, new: Option<&Value>, shape: Shape, found: &mut Comparison) {
    let none = Map::new();
    let left = old.and_then(Value::as_object).unwrap_or(&none);
    let right = new.and_then(Value::as_object).unwrap_or(&none);
    let only_right = right.keys().filter(|k| !left.contains_key(*k));
    for name in left.keys().chain(only_right) {
        let Some(inner) = shape.child(name) else {
            continue;
        };
        let there = shape.always_there(name);
        let old_there = (there && old.is_some()).then_some(&NOTHING);
        let new_there = (there && new.is_some()).then_some(&NOTHING);
        let (old_value, new_value) = (left.get(name).or(old_there), right.get(name).or(new_there));
        if old_value == new_value {
            continue;
        }
        one(
            PathElement::Field(name.clone()),
            old_value,
            new_value,
            inner,
            found,
        );
    }
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    }
}

fn one(
    element: PathElement,
    old: Option<&Value>,
    new: Option<&Value>,
    shape: Shape,
    found: &mut Comparison,
) {
    if matches!(shape, Shape::Leaf) {
        return found.leaf(element, old, new);
    }
    if is_empty(old) && is_empty(new) {
        // Two ways to say that a structure is empty are the same.
        if old.is_none() || new.is_none() {
            found.leaf(element, old, new);
        }
        return;
    }
    if old == new {
        return;
    }
    found.insert_below(&element, compare(old, new, shape));
    if old.is_none() {
        found.added.insert(element);
    } else if new.is_none() {
        found.removed.insert(element);
    }
}

fn lists(old: Option<&Value>, new: Option<&Value>, shape: Shape, found: &mut Comparison) {
    let mut sides: BTreeMap<PathElement, [Vec<&Value>; 2]> = BTreeMap::new();
    for (side, list) in [old, new].into_iter().enumerate() {
        for item in list.and_then(Value::as_array).into_iter().flatten() {
            // Stored items have their keys; what has none belongs to nobody.
            if let Ok(element) = shape.element_of(item) {
                sides.entry(element).or_default()[side].push(item);
            }
        }
    }
    for (element, [old, new]) in sides {
        if old.len() <= 1 && new.len() <= 1 {
            let (old, new) = (old.first().copied(), new.first().copied());
            one(element, old, new, shape.item(), found);
        } else if old != new {
            // One key twice: nobody can own a part of either.
            match (old.is_empty(), new.is_empty()) {
                (true, _) => found.added.insert(element),
                (_, true) => found.removed.insert(element),
                _ => found.modified.insert(element),
            }
        }
    }
}
