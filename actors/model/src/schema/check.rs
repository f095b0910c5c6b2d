//! Whether JSON is what a type's fields can hold, by the table alone: one walk serves every kind,
//! and says where something is wrong in the words of the decoder.

use super::{Arity, Field, FieldType, Message, message};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::jiff::Timestamp;
use serde::de::Unexpected;
use serde_json::{Map, Value};
use std::fmt;

/// A value that a field cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct WrongType {
    /// Where, for example `spec.containers[0].image`.
    pub field: String,
    /// What is there, and what was expected.
    pub message: String,
}

/// The paths of the fields that the type does not have, for example `spec.containers[0].imag`.
/// `apiVersion` and `kind` are nobody's fields and allowed at the top.
///
/// # Errors
/// The first value that its field cannot hold.
pub fn check(of: &Message, value: &Value) -> Result<Vec<String>, WrongType> {
    let mut unknown = Vec::new();
    let top = Path {
        parent: None,
        step: Step::Top,
    };
    let Value::Object(object) = value else {
        return Err(top.wrong(value, &format!("struct {}", of.name)));
    };
    fields(of, object, &top, &mut unknown)?;
    Ok(unknown)
}

/// Where the walk is: borrowed from the stack, and written out only where something is wrong.
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Top,
    Name(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    fn then(&'a self, step: Step<'a>) -> Path<'a> {
        Path {
            parent: Some(self),
            step,
        }
    }

    fn wrong(&self, value: &Value, expected: &str) -> WrongType {
        self.because(format!(
            "invalid type: {}, expected {expected}",
            shown(value)
        ))
    }

    fn because(&self, message: String) -> WrongType {
        WrongType {
            field: self.to_string(),
            message,
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else {
            return Ok(());
        };
        parent.fmt(f)?;
        match self.step {
            Step::Top => Ok(()),
            Step::Name(name) if parent.parent.is_none() => f.write_str(name),
            Step::Name(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A value as serde's errors call it.
fn shown(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Other("null"),
        Value::Bool(given) => Unexpected::Bool(*given),
        Value::Number(given) => match (given.as_i64(), given.as_u64()) {
            (Some(given), _) => Unexpected::Signed(given),
            (None, Some(given)) => Unexpected::Unsigned(given),
            (None, None) => Unexpected::Float(given.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(given) => Unexpected::Str(given),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    }
}

fn fields(
    of: &Message,
    object: &Map<String, Value>,
    at: &Path<'_>,
    unknown: &mut Vec<String>,
) -> Result<(), WrongType> {
    for (name, value) in object {
        let here = at.then(Step::Name(name));
        match of.field(name) {
            Some(field) => many(field, value, &here, unknown)?,
            None if at.parent.is_none() && matches!(name.as_str(), "apiVersion" | "kind") => {
                if !matches!(value, Value::String(_) | Value::Null) {
                    return Err(here.wrong(value, "a string"));
                }
            }
            None => unknown.push(here.to_string()),
        }
    }
    Ok(())
}

/// One value, or each of a list or map. A field that is null is one that is not there.
fn many(
    field: &Field,
    value: &Value,
    at: &Path<'_>,
    unknown: &mut Vec<String>,
) -> Result<(), WrongType> {
    match (field.arity, value) {
        (_, Value::Null) => Ok(()),
        (Arity::One, one) => single(field.kind, one, at, unknown),
        (Arity::List, Value::Array(items)) => {
            let mut items = items.iter().enumerate();
            items.try_for_each(|(n, v)| single(field.kind, v, &at.then(Step::Index(n)), unknown))
        }
        (Arity::Map, Value::Object(entries)) => {
            let mut entries = entries.iter();
            entries.try_for_each(|(k, v)| single(field.kind, v, &at.then(Step::Name(k)), unknown))
        }
        (Arity::List, other) => Err(at.wrong(other, "a sequence")),
        (Arity::Map, other) => Err(at.wrong(other, "a map")),
    }
}

fn single(
    kind: FieldType,
    value: &Value,
    at: &Path<'_>,
    unknown: &mut Vec<String>,
) -> Result<(), WrongType> {
    match (kind, value) {
        (FieldType::Message(index), Value::Object(object)) => {
            return fields(message(index), object, at, unknown);
        }
        (FieldType::Message(index), other) => {
            return Err(at.wrong(other, &format!("struct {}", message(index).name)));
        }
        (FieldType::StringList, Value::Array(items)) => {
            let wrong = items.iter().enumerate().find(|(_, v)| !v.is_string());
            return wrong.map_or(Ok(()), |(n, v)| {
                Err(at.then(Step::Index(n)).wrong(v, "a string"))
            });
        }
        (FieldType::Bytes, Value::String(text)) if STANDARD.decode(text).is_err() => {
            return Err(at.because("illegal base64 data".to_string()));
        }
        (FieldType::Time | FieldType::MicroTime, Value::String(text)) => {
            let read = text.parse::<Timestamp>();
            return read.map(|_| ()).map_err(|e| at.because(e.to_string()));
        }
        (FieldType::Int32 | FieldType::IntOrString, Value::Number(n))
            if n.as_i64().is_some_and(|n| i32::try_from(n).is_err()) =>
        {
            let value = shown(value);
            return Err(at.because(format!("invalid value: {value}, expected i32")));
        }
        _ => {}
    }
    if held(kind, value) {
        Ok(())
    } else {
        Err(at.wrong(value, expected(kind)))
    }
}

/// Whether JSON of this type stands for the field's.
fn held(kind: FieldType, value: &Value) -> bool {
    match kind {
        FieldType::String
        | FieldType::Bytes
        | FieldType::Quantity
        | FieldType::Time
        | FieldType::MicroTime
        | FieldType::Duration => value.is_string(),
        FieldType::Bool => value.is_boolean(),
        FieldType::Int32 | FieldType::Int64 => value.is_i64(),
        FieldType::Double => value.is_number(),
        FieldType::IntOrString => value.is_i64() || value.is_string(),
        FieldType::RawExtension => true,
        FieldType::FieldsV1 => value.is_object(),
        FieldType::StringList => value.is_array(),
        FieldType::Message(_) => value.is_object(),
    }
}

fn expected(kind: FieldType) -> &'static str {
    match kind {
        FieldType::String | FieldType::Bytes => "a string",
        FieldType::Quantity => "a quantity as a string",
        FieldType::Time | FieldType::MicroTime => "a time as an RFC 3339 string",
        FieldType::Duration => "a duration as a string",
        FieldType::Bool => "a boolean",
        FieldType::Int32 => "i32",
        FieldType::Int64 => "i64",
        FieldType::Double => "f64",
        FieldType::IntOrString => "a number or a string",
        FieldType::RawExtension | FieldType::FieldsV1 | FieldType::Message(_) => "a map",
        FieldType::StringList => "a sequence",
    }
}
