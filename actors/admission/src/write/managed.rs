//! Who owns the fields that a write changes: around `kabuki_model::managed_fields`.

use crate::admit::Context;
use bytes::Bytes;
use kabuki_model::identity::Identity;
use kabuki_model::kind::{AnyObject, Kind};
use kabuki_model::managed_fields::{self as fields, Entry, Part, Writer};
use kabuki_model::object::with_managed_fields;
use kabuki_model::request::{Subresource, WriteOptions};
use kabuki_model::status::Cause;
use kabuki_model::{StatusError, Stored};
use serde_json::{Map, Value, json};

/// The name of a manager has at most so many bytes.
const MAX_MANAGER: usize = 128;

/// Where the entries of managers come from.
pub(super) enum Tracking {
    /// An ordinary write; with the entries that the client sent along, if it did.
    Write(Option<Value>),
    /// They are known: something was applied.
    Applied(Vec<Entry>),
}

/// The name of whoever writes.
pub(super) fn manager<'a>(who: &Identity, options: &'a WriteOptions) -> &'a str {
    match options.field_manager.as_str() {
        "" if who.node_name().is_some() => "kabuki-agent",
        "" if who.controller_name().is_some() => "kabuki-controller",
        "" if *who == Identity::scheduler() => "kabuki-scheduler",
        "" => "kabuki",
        given => given,
    }
}

/// Refuses a manager's name that cannot be one.
pub(super) fn check_manager(options: &WriteOptions, form: &str) -> Result<(), StatusError> {
    let name = &options.field_manager;
    let path = "fieldManager";
    let cause = if name.len() > MAX_MANAGER {
        Cause::too_long(path, MAX_MANAGER)
    } else if name.chars().any(char::is_control) {
        Cause::invalid(path, name, "should only contain printable characters")
    } else {
        return Ok(());
    };
    Err(StatusError::invalid_options(form, cause))
}

/// Takes the entries out of what a client sent.
pub(super) fn take_given(object: &mut Map<String, Value>) -> Option<Value> {
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    metadata.remove("managedFields")
}

/// A writer of an object of `kind`; `None` when the fields of the kind are not known.
pub(super) fn writer<'a>(
    kind: &Kind,
    manager: &'a str,
    api_version: &'a str,
    subresource: Option<Subresource>,
    cx: &Context,
) -> Option<Writer<'a>> {
    Some(Writer {
        message: kind.message()?,
        manager,
        api_version,
        subresource: match subresource {
            None => "",
            Some(Subresource::Status) => "status",
            Some(Subresource::Scale) => "scale",
            Some(Subresource::Finalize) => "finalize",
            Some(Subresource::EphemeralContainers) => "ephemeralcontainers",
            Some(Subresource::Resize) => "resize",
        },
        has_status: kind.has_status,
        now: cx.now,
    })
}

/// A part of the cluster itself, under its own name.
fn is_own(who: &Identity, writer: &Writer) -> bool {
    let own = who.node_name().is_some()
        || who.controller_name().is_some()
        || *who == Identity::scheduler();
    own && fields::is_own(writer.manager)
}

/// The entries of an object, decoded.
pub(super) fn held(stored: &Stored) -> Vec<Entry> {
    let entries = stored.managed_fields().map(fields::decode);
    entries.and_then(Result::ok).unwrap_or_default()
}

/// The canonical JSON of a new object with its entries.
pub(super) fn created(
    object: &dyn AnyObject,
    who: &Identity,
    writer: Option<Writer>,
    tracking: Tracking,
) -> Result<Bytes, StatusError> {
    let Some(writer) = writer else {
        return Ok(object.to_json());
    };
    let new = object.to_value();
    let field_by_field = |held| fields::encode(fields::update(&writer, &json!({}), &new, held));
    let entries = match tracking {
        Tracking::Applied(entries) => fields::encode(entries),
        Tracking::Write(None) if is_own(who, &writer) => {
            let named = new.as_object().into_iter().flatten();
            let named = named.map(|(name, _)| &**name);
            let beside = |n: &&str| !matches!(*n, "apiVersion" | "kind" | "status");
            let parts: Vec<&str> = named.filter(beside).collect();
            match fields::of_part(&writer, None, &parts) {
                Part::Changed(managed) => Some(managed),
                _ => field_by_field(Vec::new()),
            }
        }
        Tracking::Write(given) => {
            let held = given.and_then(|g| sent(&g));
            field_by_field(held.unwrap_or_default())
        }
    };
    let plain = object.canonical(&new);
    Ok(with_managed_fields(plain, entries.as_deref()))
}

/// The canonical JSON of a changed object with its entries; `old` is what it is at present.
pub(super) fn updated(
    current: &Stored,
    old: &dyn AnyObject,
    object: &dyn AnyObject,
    who: &Identity,
    writer: Option<Writer>,
    tracking: Tracking,
) -> Result<Bytes, StatusError> {
    let new = object.to_value();
    let plain = object.canonical(&new);
    let given = match tracking {
        Tracking::Applied(entries) => {
            return Ok(with_managed_fields(
                plain,
                fields::encode(entries).as_deref(),
            ));
        }
        Tracking::Write(given) => given,
    };
    let Some(writer) = writer else {
        return Ok(with_managed_fields(plain, current.managed_fields()));
    };
    if given.is_none() {
        if current.is_plainly(&plain) {
            return Ok(current.json.clone());
        }
        if is_own(who, &writer) {
            let held = current.managed_fields();
            // Nobody's ownership is followed until something is applied.
            if held.is_none() {
                return Ok(plain);
            }
            match fields::of_part(&writer, held, &["status"]) {
                Part::Kept => return Ok(with_managed_fields(plain, held)),
                Part::Changed(managed) => return Ok(with_managed_fields(plain, Some(&managed))),
                Part::Touched => {}
            }
        }
    }
    let held = given
        .and_then(|g| sent(&g))
        .unwrap_or_else(|| held(current));
    let entries = fields::update(&writer, &old.to_value(), &new, held);
    Ok(with_managed_fields(
        plain,
        fields::encode(entries).as_deref(),
    ))
}

/// The entries that a client sent along: one empty entry takes all away; none, or what cannot be
/// understood, changes nothing.
fn sent(given: &Value) -> Option<Vec<Entry>> {
    let list = given.as_array().filter(|list| !list.is_empty())?;
    if let [one] = list.as_slice()
        && one.as_object().is_some_and(Map::is_empty)
    {
        return Some(Vec::new());
    }
    fields::decode(given.to_string().as_bytes()).ok()
}
