//! JSON values to messages.

use super::wire::{push_bytes, push_double, push_number};
use super::{Form, ProtobufError, envelope, form, meta, type_of};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use kabuki_model::duration;
use kabuki_model::schema::{self, Arity, Field, FieldType, Message};
use serde_json::{Map, Value};

/// A whole object, list or `Status` in its envelope.
pub(in crate::representation) fn encode(value: &Value) -> Result<Vec<u8>, ProtobufError> {
    let (api_version, kind) = type_of(value)?;
    let raw = match form(api_version, kind)? {
        Form::One(message) => structure(value, message)?,
        Form::List(item) => list(value, item, false)?,
        Form::Partial => partial(value)?,
        Form::PartialList => list(value, meta("ObjectMeta")?, true)?,
    };
    Ok(envelope(api_version, kind, &raw))
}

fn list(value: &Value, item: &Message, partial_items: bool) -> Result<Vec<u8>, ProtobufError> {
    let mut buffer = Vec::new();
    if let Some(list_meta) = value.get("metadata") {
        push_bytes(&mut buffer, 1, &structure(list_meta, meta("ListMeta")?)?);
    }
    let items = value.get("items").and_then(Value::as_array);
    for (index, one) in items.into_iter().flatten().enumerate() {
        let bytes = match partial_items {
            true => partial(one),
            false => structure(one, item),
        };
        push_bytes(
            &mut buffer,
            2,
            &bytes.map_err(|e| e.below(&format!("items[{index}]")))?,
        );
    }
    Ok(buffer)
}

fn partial(value: &Value) -> Result<Vec<u8>, ProtobufError> {
    let mut buffer = Vec::new();
    if let Some(metadata) = value.get("metadata") {
        push_bytes(&mut buffer, 1, &structure(metadata, meta("ObjectMeta")?)?);
    }
    Ok(buffer)
}

impl ProtobufError {
    fn value(why: impl Into<String>) -> Self {
        Self::Value {
            path: String::new(),
            why: why.into(),
        }
    }

    fn below(self, part: &str) -> Self {
        match self {
            Self::Value { path, why } => {
                let path = match path.as_str() {
                    "" => part.to_string(),
                    path if path.starts_with('[') => format!("{part}{path}"),
                    path => format!("{part}.{path}"),
                };
                Self::Value { path, why }
            }
            other => other,
        }
    }
}

fn structure(value: &Value, message: &Message) -> Result<Vec<u8>, ProtobufError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Object(fields) => {
            let mut buffer = Vec::new();
            push_fields(&mut buffer, fields, message)?;
            Ok(buffer)
        }
        other => Err(ProtobufError::value(format!("{other} is no object"))),
    }
}

fn push_fields(
    buffer: &mut Vec<u8>,
    fields: &Map<String, Value>,
    message: &Message,
) -> Result<(), ProtobufError> {
    for field in &message.fields {
        if field.name.is_empty() {
            // Inline in JSON, a message of its own here.
            if let FieldType::Message(inner) = field.kind {
                let mut inline = Vec::new();
                push_fields(&mut inline, fields, schema::message(inner))?;
                push_bytes(buffer, field.number, &inline);
            }
            continue;
        }
        match fields.get(field.name) {
            None | Some(Value::Null) => {}
            Some(value) => push_field(buffer, value, field).map_err(|e| e.below(field.name))?,
        }
    }
    Ok(())
}

fn push_field(buffer: &mut Vec<u8>, value: &Value, field: &Field) -> Result<(), ProtobufError> {
    match (field.arity, value) {
        (Arity::One, value) => push_one(buffer, field.number, value, field.kind),
        (Arity::List, Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                push_one(buffer, field.number, item, field.kind)
                    .map_err(|e| e.below(&format!("[{index}]")))?;
            }
            Ok(())
        }
        (Arity::Map, Value::Object(entries)) => {
            for (key, value) in entries {
                let mut entry = Vec::new();
                push_bytes(&mut entry, 1, key.as_bytes());
                push_one(&mut entry, 2, value, field.kind)
                    .map_err(|e| e.below(&format!("[{key}]")))?;
                push_bytes(buffer, field.number, &entry);
            }
            Ok(())
        }
        (_, other) => Err(ProtobufError::value(format!("{other} has the wrong type"))),
    }
}

fn push_one(
    buffer: &mut Vec<u8>,
    number: u32,
    value: &Value,
    kind: FieldType,
) -> Result<(), ProtobufError> {
    let wrong = |what: &str| ProtobufError::value(format!("{value} is no {what}"));
    match kind {
        FieldType::String => {
            let text = value.as_str().ok_or_else(|| wrong("text"))?;
            push_bytes(buffer, number, text.as_bytes());
        }
        FieldType::Bool => {
            let truth = value.as_bool().ok_or_else(|| wrong("truth value"))?;
            push_number(buffer, number, truth.into());
        }
        FieldType::Int32 | FieldType::Int64 => {
            push_number(
                buffer,
                number,
                whole(value).ok_or_else(|| wrong("whole number"))?,
            );
        }
        FieldType::Double => {
            push_double(
                buffer,
                number,
                value.as_f64().ok_or_else(|| wrong("number"))?,
            );
        }
        FieldType::Bytes => {
            let text = value.as_str().ok_or_else(|| wrong("text"))?;
            let bytes = STANDARD.decode(text).map_err(|_| wrong("base64"))?;
            push_bytes(buffer, number, &bytes);
        }
        FieldType::Message(index) => {
            push_bytes(buffer, number, &structure(value, schema::message(index))?);
        }
        special => push_bytes(buffer, number, &special_message(value, special)?),
    }
    Ok(())
}

/// Types with a form of their own in JSON.
fn special_message(value: &Value, kind: FieldType) -> Result<Vec<u8>, ProtobufError> {
    let mut inner = Vec::new();
    let wrong = |what: &str| ProtobufError::value(format!("{value} is no {what}"));
    match kind {
        FieldType::Quantity => match value {
            Value::String(text) => push_bytes(&mut inner, 1, text.as_bytes()),
            Value::Number(number) => push_bytes(&mut inner, 1, number.to_string().as_bytes()),
            _ => return Err(wrong("quantity")),
        },
        FieldType::IntOrString => {
            let (is_text, number, text) = match value {
                Value::String(text) => (1, 0, text.as_str()),
                value => (0, whole(value).ok_or_else(|| wrong("number or text"))?, ""),
            };
            push_number(&mut inner, 1, is_text);
            push_number(&mut inner, 2, number);
            push_bytes(&mut inner, 3, text.as_bytes());
        }
        FieldType::Time | FieldType::MicroTime => {
            let time = value.as_str().and_then(|t| t.parse::<Timestamp>().ok());
            let time = time.ok_or_else(|| wrong("time"))?;
            let (seconds, nanos) = floor(time);
            push_number(&mut inner, 1, seconds);
            let nanos = if kind == FieldType::MicroTime {
                nanos
            } else {
                0
            };
            push_number(&mut inner, 2, nanos);
        }
        FieldType::Duration => {
            let nanos = value.as_str().and_then(duration::parse);
            push_number(&mut inner, 1, nanos.ok_or_else(|| wrong("duration"))?);
        }
        FieldType::StringList => {
            let items = value.as_array().ok_or_else(|| wrong("list"))?;
            for item in items {
                let text = item.as_str().ok_or_else(|| wrong("list of texts"))?;
                push_bytes(&mut inner, 1, text.as_bytes());
            }
        }
        // The JSON itself.
        _ => push_bytes(&mut inner, 1, value.to_string().as_bytes()),
    }
    Ok(inner)
}

/// Seconds and the nanoseconds after them, also before 1970.
fn floor(time: Timestamp) -> (i64, i64) {
    let (seconds, nanos) = (time.as_second(), i64::from(time.subsec_nanosecond()));
    match nanos {
        ..0 => (seconds - 1, nanos + 1_000_000_000),
        nanos => (seconds, nanos),
    }
}

fn whole(value: &Value) -> Option<i64> {
    let float = || {
        value
            .as_f64()
            .filter(|f| f.fract() == 0.0)
            .map(|f| f as i64)
    };
    value.as_i64().or_else(float)
}
