//! From a request's JSON to a checked object: what is the same for every write of every kind.

use crate::admit::Context;
use kabuki_model::kind::{AnyObject, Form, Kind};
use kabuki_model::request::{FieldValidation, WriteOptions};
use kabuki_model::{Resource, StatusError};
use serde_json::{Map, Value};

mod strict;

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
/// has twice are refused, or warned of, as asked.
pub(crate) fn parse(
    json: &[u8],
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Map<String, Value>, StatusError> {
    match parse_any(json, options, warnings)? {
        Value::Object(object) => Ok(object),
        _ => Err(StatusError::bad_request(
            "the body of the request is not a JSON object",
        )),
    }
}

/// The same of any JSON.
pub(crate) fn parse_any(
    json: &[u8],
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Value, StatusError> {
    if json.len() > MAX_OBJECT_BYTES {
        return Err(too_large(json.len()));
    }
    let (value, duplicates) = strict::read(json).map_err(|error| {
        StatusError::bad_request(format!(
            "the body of the request is not valid JSON: {error}"
        ))
    })?;
    let twice = duplicates
        .iter()
        .map(|path| format!("duplicate field {path:?}"));
    judge(twice.collect(), options, warnings)?;
    Ok(value)
}

/// Refuses faults of form, or warns of them, or neither, as asked.
fn judge(
    faults: Vec<String>,
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<(), StatusError> {
    match options.validation {
        FieldValidation::Strict if !faults.is_empty() => Err(StatusError::bad_request(format!(
            "strict decoding error: {}",
            faults.join(", ")
        ))),
        FieldValidation::Warn => {
            warnings.extend(faults);
            Ok(())
        }
        FieldValidation::Strict | FieldValidation::Ignore => Ok(()),
    }
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
/// does not have are refused, or warned of, as asked.
pub(crate) fn store(
    kind: &Kind,
    object: &mut Map<String, Value>,
    options: &WriteOptions,
    warnings: &mut Vec<String>,
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
    let unknown = (form.store)(object);
    let unknown = unknown.iter().map(|f| format!("unknown field {f:?}"));
    judge(unknown.collect(), options, warnings)
}

/// Decodes a whole object of `kind`. Unknown fields are refused, or warned of, as asked.
pub(crate) fn decode(
    kind: &Kind,
    object: Map<String, Value>,
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Box<dyn AnyObject>, StatusError> {
    let api_version = kind.api_version();
    for (field, want) in [("apiVersion", &*api_version), ("kind", kind.names.kind)] {
        if let Some(given) = object.get(field).filter(|v| v.as_str() != Some(want)) {
            return Err(StatusError::bad_request(format!(
                "the {field} in the data ({given}) does not match the expected {field} ({want:?})"
            )));
        }
    }
    let mut object = object;
    object.insert("apiVersion".to_string(), api_version.into());
    object.insert("kind".to_string(), kind.names.kind.into());
    let decoded = kind.decode(Value::Object(object)).map_err(|cause| {
        let mut error = StatusError::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {}: {}",
            kind.names.kind, kind.names.version, kind.names.kind, cause.field, cause.message
        ));
        error.causes.push(cause);
        error
    })?;
    let unknown: Vec<String> = decoded
        .unknown
        .iter()
        .map(|path| format!("unknown field {path:?}"))
        .collect();
    judge(unknown, options, warnings)?;
    Ok(decoded.object)
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
