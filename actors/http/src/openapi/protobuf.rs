//! The documents as protobuf: the messages of `gnostic`, in which client-go asks for OpenAPI
//! (`application/com.github.proto-openapi.spec.v2@v1.0+protobuf`, and the same for v3). Made from
//! the JSON, by tables of the fields that documents of ours have; the rest is `x-` extensions.
//!
//! Facts taken from `openapiv2/OpenAPIv2.proto` and `openapiv3/OpenAPIv3.proto` of `google/gnostic`.

mod version2;
mod version3;

use super::document::Dialect;
use crate::representation::wire;
use serde_json::{Map, Value};

/// A document as protobuf.
pub(super) fn encode(dialect: Dialect, document: &Value) -> Vec<u8> {
    match dialect {
        Dialect::V2 => version2::document(document),
        Dialect::V3 => version3::document(document),
    }
}

/// How a field is written.
#[derive(Clone, Copy)]
enum How {
    Text,
    Texts,
    Flag,
    Number,
    Double,
    /// Any JSON, as the text of YAML, of which JSON is a part.
    Any,
    Anys,
    /// A message.
    One(Make),
    /// A message for each item.
    Each(Make),
}

type Make = fn(&Value) -> Vec<u8>;
/// The JSON name, the number, the form.
type Fields = [(&'static str, u32, How)];

/// A message of these fields; those whose names begin with `x-` go to `extensions`.
fn message(value: &Value, fields: &Fields, extensions: u32) -> Vec<u8> {
    let mut message = Vec::new();
    for (name, number, how) in fields {
        if let Some(value) = value.get(*name) {
            field(&mut message, *number, *how, value);
        }
    }
    for (name, value) in entries(value).filter(|(name, _)| name.starts_with("x-")) {
        wire::push_bytes(&mut message, extensions, &named(name, &any(value)));
    }
    message
}

fn field(message: &mut Vec<u8>, number: u32, how: How, value: &Value) {
    let items = || value.as_array().into_iter().flatten();
    match how {
        How::Text => {
            let text = value.as_str().unwrap_or_default();
            wire::push_bytes(message, number, text.as_bytes());
        }
        How::Texts => {
            for text in items().filter_map(Value::as_str) {
                wire::push_bytes(message, number, text.as_bytes());
            }
        }
        How::Flag => {
            let set = value.as_bool().unwrap_or_default();
            wire::push_number(message, number, i64::from(set));
        }
        How::Number => {
            wire::push_number(message, number, value.as_i64().unwrap_or_default());
        }
        How::Double => {
            wire::push_double(message, number, value.as_f64().unwrap_or_default());
        }
        How::Any => wire::push_bytes(message, number, &any(value)),
        How::Anys => items().for_each(|item| wire::push_bytes(message, number, &any(item))),
        How::One(make) => wire::push_bytes(message, number, &make(value)),
        How::Each(make) => {
            items().for_each(|item| wire::push_bytes(message, number, &make(item)));
        }
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// `Any { yaml }`
fn any(value: &Value) -> Vec<u8> {
    let mut any = Vec::new();
    wire::push_bytes(&mut any, 2, value.to_string().as_bytes());
    any
}

/// A message with one field.
fn within(number: u32, inner: &[u8]) -> Vec<u8> {
    let mut outer = Vec::with_capacity(inner.len() + 6);
    wire::push_bytes(&mut outer, number, inner);
    outer
}

/// A name with its value, as which maps are written.
fn named(name: &str, value: &[u8]) -> Vec<u8> {
    let mut pair = Vec::with_capacity(name.len() + value.len() + 12);
    wire::push_bytes(&mut pair, 1, name.as_bytes());
    wire::push_bytes(&mut pair, 2, value);
    pair
}

/// A message of names with values in one of its fields.
fn pairs(value: &Value, number: u32, make: Make) -> Vec<u8> {
    let mut message = Vec::new();
    for (name, value) in entries(value).filter(|(name, _)| !name.starts_with("x-")) {
        wire::push_bytes(&mut message, number, &named(name, &make(value)));
    }
    message
}

#[cfg(test)]
mod tests;
