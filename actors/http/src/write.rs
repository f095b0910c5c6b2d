//! Writes: create, update, patch, delete, and the parts of objects that one writes to.

mod deleting;
mod parts;

pub use deleting::{delete, delete_collection};
pub use parts::{bind, evict, review, token};

use crate::body;
use crate::error;
use crate::options;
use crate::read::{answered, key, purpose};
use crate::representation::{decode, negotiate};
use crate::request::Context;
use crate::response::Response;
use crate::served::{Part, Served};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use hyper::body::Incoming;
use kabuki_model::request::{PatchType, Request};
use kabuki_model::status::{Cause, Reason};
use kabuki_model::{ObjectKey, StatusError};
use kabuki_protocol::front::Freshness;

/// The kinds of patches, by their media types.
const PATCHES: &[(&str, PatchType)] = &[
    ("application/json-patch+json", PatchType::Json),
    ("application/merge-patch+json", PatchType::Merge),
    (
        "application/strategic-merge-patch+json",
        PatchType::Strategic,
    ),
];
/// A configuration for server-side apply.
const APPLY: &str = "application/apply-patch+yaml";

/// Creates an object.
pub async fn create(
    context: &Context,
    served: &Served,
    incoming: Incoming,
) -> Result<Response, StatusError> {
    let negotiated = negotiate(&context.headers, purpose(Part::Whole))?.asked(&context.query)?;
    let options = options::write(context, served, "CreateOptions")?;
    let namespace = &context.info.namespace;
    if served.namespaced() == namespace.is_empty() {
        // A namespaced kind can be listed over all namespaces, but not created in all.
        return Err(match served.namespaced() {
            true => error::method_not_allowed(),
            false => error::no_such_path(),
        });
    }
    let mut room = context.shared.limits.body();
    let sent = read_body(context, incoming, &mut room).await?;
    let request = Request::Create {
        resource: served.kind.resource.clone(),
        namespace: namespace.as_str().into(),
        object: decode(&context.headers, Some(served), sent)?,
        options,
    };
    let answer = context.perform(request);
    let created = StatusCode::CREATED;
    answered(&negotiated, served, Part::Whole, created, answer.await?)
}

/// Replaces an object, or a part of it.
pub async fn update(
    context: &Context,
    served: &Served,
    part: Part,
    incoming: Incoming,
) -> Result<Response, StatusError> {
    let negotiated = negotiate(&context.headers, purpose(part))?.asked(&context.query)?;
    let options = options::write(context, served, "UpdateOptions")?;
    let mut room = context.shared.limits.body();
    let sent = read_body(context, incoming, &mut room).await?;
    let of = part.is_object().then_some(served);
    let request = Request::Update {
        key: key(context, served)?,
        subresource: part.subresource(),
        object: decode(&context.headers, of, sent)?,
        options,
    };
    let answer = context.perform(request);
    answered(&negotiated, served, part, StatusCode::OK, answer.await?)
}

/// Changes parts of an object.
pub async fn patch(
    context: &Context,
    served: &Served,
    part: Part,
    incoming: Incoming,
) -> Result<Response, StatusError> {
    let negotiated = negotiate(&context.headers, purpose(part))?.asked(&context.query)?;
    let options = options::write(context, served, "PatchOptions")?;
    let patch_type = patch_type(context)?;
    let key = key(context, served)?;
    let mut room = context.shared.limits.body();
    let mut sent = read_body(context, incoming, &mut room).await?;
    let mut status = StatusCode::OK;
    if matches!(patch_type, PatchType::Apply { .. }) {
        sent = json_of_yaml(sent)?;
        if !exists(context, &key).await {
            status = StatusCode::CREATED;
        }
    }
    let request = Request::Patch {
        key,
        subresource: part.subresource(),
        patch_type,
        patch: sent,
        options,
    };
    let answer = context.perform(request);
    answered(&negotiated, served, part, status, answer.await?)
}

/// Whether there is such an object, so that an apply that makes it is answered as a creation.
async fn exists(context: &Context, key: &ObjectKey) -> bool {
    let request = Request::Get {
        key: key.clone(),
        subresource: None,
    };
    let read = context
        .front
        .read(context.identity(), request, Freshness::Any);
    read.await.is_ok()
}

/// What one applies may be YAML, of which JSON is a part.
fn json_of_yaml(sent: Bytes) -> Result<Bytes, StatusError> {
    if serde_json::from_slice::<serde::de::IgnoredAny>(&sent).is_ok() {
        return Ok(sent);
    }
    let value: serde_json::Value = serde_yaml_ng::from_slice(&sent)
        .map_err(|e| StatusError::bad_request(format!("error decoding YAML: {e}")))?;
    Ok(value.to_string().into())
}

/// How a patch is to be read, from its media type.
fn patch_type(context: &Context) -> Result<PatchType, StatusError> {
    let given = context.header(CONTENT_TYPE).unwrap_or_default();
    let plain = given.split(';').next().unwrap_or_default().trim();
    let force = context.query.optional_flag("force");
    if plain == APPLY {
        if context.query.text("fieldManager").is_empty() {
            let cause = Cause::required("fieldManager", "is required for apply patch");
            return Err(StatusError::invalid_options("PatchOptions", cause));
        }
        return Ok(PatchType::Apply {
            force: force.unwrap_or(false),
        });
    }
    if force.is_some() {
        let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
        return Err(StatusError::invalid_options("PatchOptions", cause));
    }
    let known = PATCHES.iter().find(|(name, _)| *name == plain);
    known.map(|(_, patch)| *patch).ok_or_else(|| {
        let mut names: Vec<&str> = PATCHES.iter().map(|(name, _)| *name).collect();
        names.push(APPLY);
        StatusError::new(
            Reason::UnsupportedMediaType,
            format!(
                "the body of the request was in an unknown format - accepted media types include: {}",
                names.join(", ")
            ),
        )
    })
}

/// The body of a request, within its bounds.
pub(crate) async fn read_body(
    context: &Context,
    mut incoming: Incoming,
    room: &mut crate::limits::BodyRoom,
) -> Result<Bytes, StatusError> {
    if context.headers.contains_key(http::header::CONTENT_ENCODING) {
        let message = "a request's body cannot be compressed";
        return Err(StatusError::new(Reason::UnsupportedMediaType, message));
    }
    body::read(&mut incoming, room).await
}
