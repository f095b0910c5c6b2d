//! From a request's JSON to a checked object: what is the same for every write of every kind.

use crate::admit::Context;
use kabuki_model::kind::{AnyObject, Form, Kind};
use kabuki_model::request::{PatchType, WriteOptions};
use kabuki_model::schema::{self, Message};
use kabuki_model::status::{Cause, CauseReason};
use kabuki_model::{Resource, StatusError};
use serde_json::{Map, Value};

mod faults;
mod strict;

pub(crate) use faults::{Faults, Patched};

/// The largest object, in bytes of JSON; the same as etcd's default request limit.
pub(crate) const MAX_OBJECT_BYTES: usize = 1536 << 10;

/// The kind of a resource.
pub(crate) fn kind_of(resource: &Resource) -> Result<&'static Kind, StatusError> {
    kabuki_model::kind::of(resource).ok_or_else(|| {
        StatusError::new(
            kabuki_model::status::Reason::NotFound,
            format!(
                "the server doesn't have a resource type {:?}",
                resource.as_str()
            ),
        )
    })
}

/// Parses a request's JSON, which must be an object of at most [`MAX_OBJECT_BYTES`]. Fields that it
/// has twice are faults.
pub(crate) fn parse(
    json: &[u8],
    options: &WriteOptions,
    faults: &mut Faults,
) -> Result<Map<String, Value>, StatusError> {
    let (value, found) = read(json, strict::Shape::Any)?;
    faults.note(options, found.into_iter());
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(StatusError::bad_request(
            "the body of the request is not a JSON object",
        )),
    }
}

/// The same of a patch, which need be no object: one of JSON patches has operations, which have
/// fields of their own.
pub(crate) fn parse_patch(
    json: &[u8],
    how: PatchType,
    options: &WriteOptions,
    faults: &mut Faults,
) -> Result<Value, StatusError> {
    let operations = how == PatchType::Json;
    let shape = match operations {
        true => strict::Shape::Operations,
        false => strict::Shape::Any,
    };
    let (value, found) = read(json, shape)?;
    let told = |fault| match operations {
        true => format!("json patch {fault}"),
        false => fault,
    };
    faults.note(options, found.into_iter().map(told));
    Ok(value)
}

fn read(json: &[u8], shape: strict::Shape) -> Result<(Value, Vec<String>), StatusError> {
    if json.len() > MAX_OBJECT_BYTES {
        return Err(too_large(json.len()));
    }
    strict::read(json, shape).map_err(|error| {
        StatusError::bad_request(format!(
            "the body of the request is not valid JSON: {error}"
        ))
    })
}

pub(crate) fn too_large(length: usize) -> StatusError {
    StatusError::new(
        kabuki_model::status::Reason::RequestEntityTooLarge,
        format!("the object has {length} bytes; the limit is {MAX_OBJECT_BYTES}"),
    )
}

/// The form that a request is written in; `None` for the stored one.
pub(crate) fn form(
    kind: &Kind,
    options: &WriteOptions,
) -> Result<Option<&'static Form>, StatusError> {
    let asked = &*options.api_version;
    if asked.is_empty() || asked == kind.api_version() {
        return Ok(None);
    }
    kind.form(asked).map(Some).ok_or_else(|| {
        let kind = kind.names.kind;
        StatusError::bad_request(format!("{kind} is not served in version {asked:?}"))
    })
}

/// Turns an object from the form that it is written in into the stored one. Fields that the form
/// does not have are faults.
pub(crate) fn store(
    kind: &Kind,
    object: &mut Map<String, Value>,
    options: &WriteOptions,
    faults: &mut Faults,
) -> Result<(), StatusError> {
    let given = object.get("apiVersion").and_then(Value::as_str);
    let form = match options.api_version.as_str() {
        "" => given.and_then(|given| kind.form(given)),
        _ => form(kind, options)?,
    };
    let Some(form) = form else {
        return Ok(());
    };
    let want = form.api_version();
    if let Some(given) = given {
        if given != want {
            return Err(StatusError::bad_request(format!(
                "the API version in the data ({given}) does not match the expected API version \
                 ({want})"
            )));
        }
        object.insert("apiVersion".to_string(), kind.api_version().into());
    }
    faults.unknown(options, &(form.store)(object));
    Ok(())
}

/// Decodes a whole object of `kind`. Unknown fields are faults, and here all faults are judged.
pub(crate) fn decode(
    kind: &Kind,
    object: Map<String, Value>,
    options: &WriteOptions,
    faults: &mut Faults,
) -> Result<Box<dyn AnyObject>, StatusError> {
    let names = &kind.names;
    let api_version = kind.api_version();
    for (field, want) in [("apiVersion", &*api_version), ("kind", names.kind)] {
        if let Some(given) = object.get(field).filter(|v| v.as_str() != Some(want)) {
            return Err(StatusError::bad_request(format!(
                "the {field} in the data ({given}) does not match the expected {field} ({want:?})"
            )));
        }
    }
    let mut object = object;
    object.insert("apiVersion".to_string(), api_version.into());
    object.insert("kind".to_string(), names.kind.into());
    let decoded = kind.decode(Value::Object(object));
    let decoded = decoded.map_err(|c| faults.wrong_type(names.kind, names.version, c))?;
    faults.unknown(options, &decoded.unknown);
    faults.judge(kind, options)?;
    Ok(decoded.object)
}

/// Finds the faults of what is sent along and not written: it must be right all the same.
pub(crate) fn look_at(
    kind: &Kind,
    unwritten: Map<String, Value>,
    options: &WriteOptions,
    faults: &mut Faults,
) -> Result<(), StatusError> {
    if unwritten.is_empty() {
        return Ok(());
    }
    match kind.message() {
        Some(message) => {
            let names = (kind.names.kind, kind.names.version);
            look_at_message(message, names, unwritten, options, faults)
        }
        None => Ok(()),
    }
}

/// The same of any message, which has a kind and version.
pub(crate) fn look_at_message(
    message: &Message,
    (kind, version): (&str, &str),
    value: Map<String, Value>,
    options: &WriteOptions,
    faults: &mut Faults,
) -> Result<(), StatusError> {
    let unknown = schema::check(message, &Value::Object(value)).map_err(|wrong| {
        let cause = Cause {
            reason: CauseReason::FieldValueTypeInvalid,
            field: wrong.field,
            message: wrong.message,
        };
        faults.wrong_type(kind, version, cause)
    })?;
    faults.unknown(options, &unknown);
    Ok(())
}

/// Defaults and validates; every cause at once.
pub(crate) fn check(
    kind: &Kind,
    object: &mut dyn AnyObject,
    old: Option<&dyn AnyObject>,
) -> Result<(), StatusError> {
    object.default();
    match old {
        None => object.prepare_create(),
        Some(old) => object.prepare_update(old),
    }
    let mut causes = object.validate();
    if let Some(old) = old {
        causes.extend(object.validate_update(old));
    }
    refuse(kind, object, causes)
}

/// Refuses the object when anything is wrong with it.
pub(crate) fn refuse(
    kind: &Kind,
    object: &dyn AnyObject,
    causes: Vec<kabuki_model::status::Cause>,
) -> Result<(), StatusError> {
    if causes.is_empty() {
        return Ok(());
    }
    let name = object.meta().name.clone().unwrap_or_default();
    Err(StatusError::invalid(
        kind.names.kind,
        &kind.resource,
        &name,
        causes,
    ))
}

/// A uid (RFC 9562 version 4) from the request's entropy.
pub(crate) fn uid(cx: &Context) -> String {
    let bits = (cx.entropy & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// The suffix of a generated name: five characters that make no words.
pub(crate) fn name_suffix(cx: &Context) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    // A different mixture than the uid's, so that the two do not share digits.
    let mut bits = (cx.entropy ^ (cx.entropy >> 64)) as u64;
    bits = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut suffix = String::new();
    for _ in 0..5 {
        suffix.push(ALPHABET[(bits % 27) as usize] as char);
        bits /= 27;
    }
    suffix
}
