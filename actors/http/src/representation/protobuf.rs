//! Kubernetes' protobuf (`application/vnd.kubernetes.protobuf`): JSON values to and from messages,
//! by the table of types in `kabuki_model::schema`.
//!
//! A whole object is the magic bytes and a `runtime.Unknown` that names its type. The events of a
//! watch are bare messages, each after its length (four bytes, most significant first), with the
//! object in its envelope inside.

mod decode;
mod encode;
pub(crate) mod wire;

use kabuki_model::schema::{self, Message};
use serde_json::Value;

pub(super) use decode::decode;
pub(super) use encode::encode;

/// What every whole object begins with.
const MAGIC: &[u8] = b"k8s\0";
/// The section of types that belong to no group.
const META: &str = "meta.k8s.io/v1";
/// Those of them that are whole objects, whatever version they come under.
const SHARED: &[&str] = &[
    "Status",
    "DeleteOptions",
    "WatchEvent",
    "APIGroup",
    "APIGroupList",
    "APIResourceList",
    "APIVersions",
];

/// Why something has no form in protobuf, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// It does not say what it is.
    #[error("the object has no apiVersion and kind")]
    Untyped,
    /// Nothing is known of its type.
    #[error("{kind} in version {api_version:?} has no form in protobuf")]
    Unknown {
        /// `apps/v1`
        api_version: String,
        /// `Deployment`
        kind: String,
    },
    /// A value does not have the type of its field.
    #[error("{path} cannot be encoded: {why}")]
    Value {
        /// Where.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The bytes are no such message.
    #[error("the protobuf message cannot be decoded: {0}")]
    Malformed(&'static str),
}

/// What an object of this type is written as.
#[derive(Clone, Copy)]
enum Form {
    One(&'static Message),
    List(&'static Message),
    /// The metadata of objects alone.
    Partial,
    PartialList,
}

fn form(api_version: &str, kind: &str) -> Result<Form, ProtobufError> {
    let unknown = || ProtobufError::Unknown {
        api_version: api_version.to_string(),
        kind: kind.to_string(),
    };
    if api_version.starts_with("meta.k8s.io/") {
        match kind {
            "PartialObjectMetadata" => return Ok(Form::Partial),
            "PartialObjectMetadataList" => return Ok(Form::PartialList),
            _ => {}
        }
    }
    if SHARED.contains(&kind) {
        return schema::find(META, kind).map(Form::One).ok_or_else(unknown);
    }
    if let Some(message) = schema::find(api_version, kind) {
        return Ok(Form::One(message));
    }
    let item = kind.strip_suffix("List").ok_or_else(unknown)?;
    let item = schema::find(api_version, item).ok_or_else(unknown)?;
    Ok(Form::List(item))
}

fn meta(name: &str) -> Result<&'static Message, ProtobufError> {
    schema::find(META, name).ok_or_else(|| ProtobufError::Unknown {
        api_version: META.to_string(),
        kind: name.to_string(),
    })
}

/// The types that a value says it has.
fn type_of(value: &Value) -> Result<(&str, &str), ProtobufError> {
    let text = |field: &str| value.get(field).and_then(Value::as_str);
    match (text("apiVersion"), text("kind")) {
        (Some(api_version), Some(kind)) => Ok((api_version, kind)),
        _ => Err(ProtobufError::Untyped),
    }
}

/// One event of a watch, framed. `object` is a whole object in its envelope.
pub(super) fn event(name: &str, object: &[u8]) -> Vec<u8> {
    let mut extension = Vec::with_capacity(object.len() + 8);
    wire::push_bytes(&mut extension, 1, object);
    let mut event = Vec::with_capacity(extension.len() + 24);
    wire::push_bytes(&mut event, 1, name.as_bytes());
    wire::push_bytes(&mut event, 2, &extension);
    let length = u32::try_from(event.len()).unwrap_or(u32::MAX);
    let mut framed = Vec::with_capacity(event.len() + 4);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&event);
    framed
}

/// A message in its envelope.
pub(super) fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut type_meta = Vec::with_capacity(api_version.len() + kind.len() + 4);
    wire::push_bytes(&mut type_meta, 1, api_version.as_bytes());
    wire::push_bytes(&mut type_meta, 2, kind.as_bytes());
    let mut whole = Vec::with_capacity(raw.len() + type_meta.len() + 24);
    whole.extend_from_slice(MAGIC);
    wire::push_bytes(&mut whole, 1, &type_meta);
    wire::push_bytes(&mut whole, 2, raw);
    wire::push_bytes(&mut whole, 3, b"");
    wire::push_bytes(&mut whole, 4, b"");
    whole
}

#[cfg(test)]
mod tests;
