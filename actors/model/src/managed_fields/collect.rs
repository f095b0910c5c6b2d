//! Which fields an object has: those that its applier owns.

use super::path::PathElement;
use super::set::FieldSet;
use super::shape::{Misshapen, Shape, fields, items};
use serde_json::{Map, Value};

/// The set of an object's fields.
///
/// # Errors
/// What does not have the shape of its type: unknown fields, items that cannot be told apart.
pub(super) fn fields_of(value: &Value, shape: Shape) -> Result<FieldSet, Misshapen> {
    match (fields(value)?, shape) {
        (Some(fields), Shape::Struct(_) | Shape::Map(_)) => structure(fields, shape),
        _ => Ok(FieldSet::default()),
    }
}

fn structure(fields: &Map<String, Value>, shape: Shape) -> Result<FieldSet, Misshapen> {
    let mut set = FieldSet::default();
    for (name, value) in fields {
        let element = PathElement::Field(name.clone());
        let Some(inner) = shape.child(name) else {
            return Err(Misshapen::new("field not declared in schema").below(&element));
        };
        let entry = matches!(shape, Shape::Map(_));
        add(&mut set, &element, value, inner, entry).map_err(|e| e.below(&element))?;
    }
    Ok(set)
}

/// Adds a value to the set that holds it. Entries and items are members themselves, fields only
/// when nothing is below them.
fn add(
    set: &mut FieldSet,
    element: &PathElement,
    value: &Value,
    shape: Shape,
    entry: bool,
) -> Result<(), Misshapen> {
    let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
    if entry || empty || matches!(shape, Shape::Leaf) {
        set.insert(element.clone());
    }
    let below = match shape {
        Shape::Leaf => return Ok(()),
        Shape::Struct(_) | Shape::Map(_) => fields_of(value, shape)?,
        Shape::Set | Shape::Keyed(..) => list(items(value)?, shape)?,
    };
    set.insert_below(element.clone(), below);
    Ok(())
}

fn list(items: &[Value], shape: Shape) -> Result<FieldSet, Misshapen> {
    let mut set = FieldSet::default();
    for item in items {
        let element = shape.element_of(item)?;
        if set.has(&element) {
            let why = match &element {
                PathElement::Value(value) => format!("duplicate entries for key [={value}]"),
                key => format!("duplicate entries for key {key}"),
            };
            return Err(Misshapen::new(why));
        }
        add(&mut set, &element, item, shape.item(), true).map_err(|e| e.below(&element))?;
    }
    Ok(set)
}

/// The same of a stored object, which may hold items twice (they are one path).
pub(super) fn fields_of_stored(value: &Value, shape: Shape) -> FieldSet {
    let mut set = FieldSet::default();
    match (value, shape) {
        (Value::Object(fields), Shape::Struct(_) | Shape::Map(_)) => {
            for (name, value) in fields {
                let Some(inner) = shape.child(name) else {
                    continue;
                };
                let entry = matches!(shape, Shape::Map(_));
                add_stored(
                    &mut set,
                    PathElement::Field(name.clone()),
                    value,
                    inner,
                    entry,
                );
            }
        }
        (Value::Array(items), Shape::Set | Shape::Keyed(..)) => {
            for item in items {
                if let Ok(element) = shape.element_of(item) {
                    add_stored(&mut set, element, item, shape.item(), true);
                }
            }
        }
        _ => {}
    }
    set
}

fn add_stored(set: &mut FieldSet, element: PathElement, value: &Value, shape: Shape, entry: bool) {
    let below = fields_of_stored(value, shape);
    let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
    if entry || empty || matches!(shape, Shape::Leaf) {
        set.insert(element.clone());
    }
    set.insert_below(element, below);
}
