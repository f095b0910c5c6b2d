//! How a value is owned: whole, by field, by entry or by item, from the table of types.

use super::path::PathElement;
use crate::schema::{self, Arity, Field, FieldType, ListType, Message, Presence};
use serde_json::{Map, Value};
use std::fmt;

/// How a value is owned.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// As a whole.
    Leaf,
    /// By field.
    Struct(&'static Message),
    /// By entry.
    Map(FieldType),
    /// By value.
    Set,
    /// By item, told apart by keys.
    Keyed(&'static Message, &'static [&'static str]),
}

/// A value that does not have the shape of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misshapen {
    path: String,
    why: String,
}

impl Misshapen {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            why: why.into(),
        }
    }

    pub(super) fn below(mut self, element: &PathElement) -> Self {
        self.path.insert_str(0, &element.to_string());
        self
    }
}

impl fmt::Display for Misshapen {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.why)
    }
}

fn plain(kind: FieldType) -> Shape {
    match kind {
        FieldType::Message(index) if !schema::message(index).atomic => {
            Shape::Struct(schema::message(index))
        }
        _ => Shape::Leaf,
    }
}

impl Shape {
    pub(super) fn of(field: &'static Field) -> Self {
        match (field.arity, &field.list, field.kind) {
            _ if field.atomic => Self::Leaf,
            (Arity::One, _, kind) => plain(kind),
            (Arity::Map, _, kind) => Self::Map(kind),
            (Arity::List, ListType::Set, _) => Self::Set,
            (Arity::List, ListType::Map(keys), FieldType::Message(index)) => {
                Self::Keyed(schema::message(index), keys)
            }
            (Arity::List, _, _) => Self::Leaf,
        }
    }

    /// The shape of a field or entry; `None` when the structure has no such field.
    pub(super) fn child(self, name: &str) -> Option<Self> {
        match self {
            Self::Struct(message) => match message.field(name) {
                Some(field) => Some(Self::of(field)),
                // Of every object, whatever its message.
                None if is_type_meta(name) && message.has_metadata() => Some(Self::Leaf),
                None => None,
            },
            Self::Map(kind) => Some(plain(kind)),
            _ => None,
        }
    }

    /// The shape of the items of a list.
    pub(super) fn item(self) -> Self {
        match self {
            Self::Keyed(message, _) if !message.atomic => Self::Struct(message),
            _ => Self::Leaf,
        }
    }

    /// Whether a field is there even when JSON does not have it, because its type has no way to
    /// say that it is not.
    pub(super) fn always_there(self, name: &str) -> bool {
        let Self::Struct(message) = self else {
            return false;
        };
        let structure = |f: &Field| {
            let message = matches!(f.kind, FieldType::Message(_));
            f.arity == Arity::One && message && f.presence != Presence::Pointer
        };
        message
            .field(name)
            .is_some_and(|f| f.presence == Presence::Always || structure(f))
    }

    /// By what an item of a list is known.
    pub(super) fn element_of(self, item: &Value) -> Result<PathElement, Misshapen> {
        let Self::Keyed(message, keys) = self else {
            return match item {
                Value::Array(_) | Value::Object(_) | Value::Null => {
                    Err(Misshapen::new("an item of a set is a plain value"))
                }
                plain => Ok(PathElement::Value(plain.to_string())),
            };
        };
        let Some(fields) = item.as_object() else {
            let why = "associative list with keys may not have non-map elements";
            return Err(Misshapen::new(why));
        };
        let mut key = Map::new();
        for name in keys {
            let default = message.field(name).and_then(|f| f.default);
            let value = match (fields.get(*name), default) {
                (Some(value), _) if !value.is_null() => value.clone(),
                (_, Some(default)) => default.into(),
                _ => {
                    return Err(Misshapen::new(format!(
                        "element 0: associative list with keys has an element that omits key \
                         field {name:?} (and doesn't have default value)"
                    )));
                }
            };
            key.insert((*name).to_string(), value);
        }
        Ok(PathElement::Key(Value::Object(key).to_string()))
    }
}

fn is_type_meta(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind")
}

/// The fields of a structure or map; `null` has none.
pub(super) fn fields(value: &Value) -> Result<Option<&Map<String, Value>>, Misshapen> {
    match value {
        Value::Object(fields) => Ok(Some(fields)),
        Value::Null => Ok(None),
        other => Err(Misshapen::new(format!("expected map, got {other}"))),
    }
}

/// The items of a list; `null` has none.
pub(super) fn items(value: &Value) -> Result<&[Value], Misshapen> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Null => Ok(&[]),
        other => Err(Misshapen::new(format!("expected list, got {other}"))),
    }
}
