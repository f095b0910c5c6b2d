//! Messages to JSON values.

use super::wire::{Fields, Piece};
use super::{Form, MAGIC, ProtobufError, form, meta};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use kabuki_model::duration;
use kabuki_model::schema::{self, Arity, Field, FieldType, Message, Presence};
use serde_json::{Map, Value, json};

/// Messages do not nest deeper than objects do.
const MAX_DEPTH: usize = 100;

type Read<T> = Result<T, ProtobufError>;

/// A whole object out of its envelope.
pub(in crate::representation) fn decode(bytes: &[u8]) -> Read<Value> {
    let rest = bytes.strip_prefix(MAGIC);
    let mut fields = Fields(rest.ok_or(ProtobufError::Malformed(
        "it does not begin with Kubernetes' magic bytes",
    ))?);
    let (mut api_version, mut kind) = (String::new(), String::new());
    let mut raw: &[u8] = &[];
    while let Some((number, piece)) = fields.next()? {
        match (number, piece) {
            (1, Piece::Bytes(inner)) => {
                let mut inner = Fields(inner);
                while let Some((number, piece)) = inner.next()? {
                    match number {
                        1 => api_version = text(piece)?,
                        2 => kind = text(piece)?,
                        _ => {}
                    }
                }
            }
            (2, Piece::Bytes(inner)) => raw = inner,
            (3, Piece::Bytes(coding)) if !coding.is_empty() => {
                return Err(ProtobufError::Malformed("it has a content encoding"));
            }
            _ => {}
        }
    }
    if api_version.is_empty() || kind.is_empty() {
        return Err(ProtobufError::Untyped);
    }
    let mut object = match form(&api_version, &kind)? {
        Form::One(message) => structure(raw, message, 0)?,
        Form::List(item) => list(raw, |raw| structure(raw, item, 1))?,
        Form::Partial => partial(raw)?,
        Form::PartialList => list(raw, partial)?,
    };
    object.insert("apiVersion".to_string(), api_version.into());
    object.insert("kind".to_string(), kind.into());
    Ok(Value::Object(object))
}

fn list(raw: &[u8], item: impl Fn(&[u8]) -> Read<Map<String, Value>>) -> Read<Map<String, Value>> {
    let mut fields = Fields(raw);
    let mut object = Map::new();
    let mut items = Vec::new();
    while let Some((number, piece)) = fields.next()? {
        match (number, piece) {
            (1, Piece::Bytes(inner)) => {
                let metadata = structure(inner, meta("ListMeta")?, 1)?;
                object.insert("metadata".to_string(), metadata.into());
            }
            (2, Piece::Bytes(inner)) => items.push(Value::Object(item(inner)?)),
            _ => {}
        }
    }
    object.insert("items".to_string(), items.into());
    Ok(object)
}

fn partial(raw: &[u8]) -> Read<Map<String, Value>> {
    let mut fields = Fields(raw);
    let mut object = Map::new();
    while let Some((number, piece)) = fields.next()? {
        if let (1, Piece::Bytes(inner)) = (number, piece) {
            let metadata = structure(inner, meta("ObjectMeta")?, 1)?;
            object.insert("metadata".to_string(), metadata.into());
        }
    }
    Ok(object)
}

fn structure(raw: &[u8], message: &Message, depth: usize) -> Read<Map<String, Value>> {
    let mut object = Map::new();
    fill(&mut object, raw, message, depth)?;
    Ok(object)
}

fn fill(object: &mut Map<String, Value>, raw: &[u8], message: &Message, depth: usize) -> Read<()> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::Malformed("it nests too deeply"));
    }
    let mut fields = Fields(raw);
    while let Some((number, piece)) = fields.next()? {
        // Fields that are not known are of a newer version.
        let Some(field) = message.fields.iter().find(|f| f.number == number) else {
            continue;
        };
        match (field.kind, piece) {
            (FieldType::Message(inner), Piece::Bytes(raw)) if field.name.is_empty() => {
                fill(object, raw, schema::message(inner), depth + 1)?;
            }
            _ => put(object, field, piece, depth)?,
        }
    }
    Ok(())
}

fn put(object: &mut Map<String, Value>, field: &Field, piece: Piece, depth: usize) -> Read<()> {
    let name = field.name.to_string();
    match field.arity {
        Arity::One => {
            let value = one(piece, field.kind, depth)?;
            match value {
                Some(value) if field.presence != Presence::NotZero || !is_zero(&value) => {
                    object.insert(name, value);
                }
                // The last one counts, also when it says nothing.
                _ => drop(object.remove(&name)),
            }
        }
        Arity::List => {
            let items = object.entry(name).or_insert_with(|| json!([]));
            let Some(items) = items.as_array_mut() else {
                return Ok(());
            };
            let scalar = matches!(
                field.kind,
                FieldType::Int32 | FieldType::Int64 | FieldType::Bool
            );
            match piece {
                Piece::Bytes(packed) if scalar => {
                    let mut packed = Fields(packed);
                    while !packed.0.is_empty() {
                        let number = Piece::Varint(packed.varint()?);
                        items.extend(one(number, field.kind, depth)?);
                    }
                }
                piece => items.push(one(piece, field.kind, depth)?.unwrap_or(Value::Null)),
            }
        }
        Arity::Map => {
            let Piece::Bytes(entry) = piece else {
                return Err(ProtobufError::Malformed("the entry of a map is no message"));
            };
            let (mut key, mut value) = (String::new(), None);
            let mut entry = Fields(entry);
            while let Some((number, piece)) = entry.next()? {
                match number {
                    1 => key = text(piece)?,
                    2 => value = one(piece, field.kind, depth)?,
                    _ => {}
                }
            }
            let value = match value {
                Some(value) => value,
                None => one(Piece::Bytes(&[]), field.kind, depth)?.unwrap_or(Value::Null),
            };
            let entries = object.entry(name).or_insert_with(|| json!({}));
            if let Some(entries) = entries.as_object_mut() {
                entries.insert(key, value);
            }
        }
    }
    Ok(())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn text(piece: Piece) -> Read<String> {
    match piece {
        Piece::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_string()),
            Err(_) => Err(ProtobufError::Malformed("a text is not UTF-8")),
        },
        _ => Err(ProtobufError::Malformed("a text has the wrong wire type")),
    }
}

/// One value; `None` for one that says nothing (a time that is not set).
fn one(piece: Piece, kind: FieldType, depth: usize) -> Read<Option<Value>> {
    let wrong = || ProtobufError::Malformed("a field has the wrong wire type");
    let number = |piece: Piece| match piece {
        Piece::Varint(number) => Ok(number),
        // The value of a map's entry that is left out.
        Piece::Bytes([]) => Ok(0),
        _ => Err(wrong()),
    };
    let value = match kind {
        FieldType::String => text(piece)?.into(),
        FieldType::Bool => (number(piece)? != 0).into(),
        FieldType::Int32 => (number(piece)? as i32).into(),
        FieldType::Int64 => (number(piece)? as i64).into(),
        FieldType::Double => match piece {
            Piece::Fixed64(bits) => json!(f64::from_bits(bits)),
            _ => return Err(wrong()),
        },
        kind => {
            let Piece::Bytes(raw) = piece else {
                return Err(wrong());
            };
            return match kind {
                FieldType::Bytes => Ok(Some(STANDARD.encode(raw).into())),
                FieldType::Message(index) => {
                    let message = schema::message(index);
                    Ok(Some(structure(raw, message, depth + 1)?.into()))
                }
                special => special_value(raw, special),
            };
        }
    };
    Ok(Some(value))
}

/// Types with a form of their own in JSON.
fn special_value(raw: &[u8], kind: FieldType) -> Read<Option<Value>> {
    let mut fields = Fields(raw);
    let mut numbers = [0_i64; 4];
    let mut texts: Vec<&[u8]> = Vec::new();
    while let Some((number, piece)) = fields.next()? {
        match piece {
            Piece::Varint(value) => {
                if let Some(held) = numbers.get_mut(number as usize) {
                    *held = value as i64;
                }
            }
            Piece::Bytes(bytes) => texts.push(bytes),
            _ => {}
        }
    }
    let last = texts.last().copied().unwrap_or_default();
    Ok(match kind {
        FieldType::Quantity => match last {
            [] => Some("0".into()),
            bytes => Some(text(Piece::Bytes(bytes))?.into()),
        },
        FieldType::IntOrString => Some(match numbers[1] {
            0 => (numbers[2] as i32).into(),
            _ => text(Piece::Bytes(last))?.into(),
        }),
        FieldType::Time | FieldType::MicroTime => {
            if raw.is_empty() {
                return Ok(None);
            }
            let nanos = i32::try_from(numbers[2]).unwrap_or(0);
            let time = Timestamp::new(numbers[1], nanos)
                .map_err(|_| ProtobufError::Malformed("a time is out of range"))?;
            let form = match kind {
                FieldType::Time => "%Y-%m-%dT%H:%M:%SZ",
                _ => "%Y-%m-%dT%H:%M:%S.%6fZ",
            };
            Some(time.strftime(form).to_string().into())
        }
        FieldType::Duration => Some(duration::print(numbers[1]).into()),
        FieldType::StringList => {
            let items: Read<Vec<Value>> = texts
                .into_iter()
                .map(|t| Ok(text(Piece::Bytes(t))?.into()))
                .collect();
            Some(items?.into())
        }
        _ if last.is_empty() => None,
        _ => {
            let value = serde_json::from_slice(last)
                .map_err(|_| ProtobufError::Malformed("an extension is no JSON"))?;
            Some(value)
        }
    })
}
