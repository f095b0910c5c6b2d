//! Gets and lists.

use crate::compression::Compressible;
use crate::error;
use crate::options;
use crate::representation::{Negotiated, Purpose, negotiate};
use crate::request::Context;
use crate::response::{Response, answer, full, warn};
use crate::served::{Part, Served};
use http::StatusCode;
use kabuki_model::request::{Answer, Content, Request};
use kabuki_model::{ObjectKey, StatusError, Stored};

/// Reads one object, or a part of it.
pub async fn get(context: &Context, served: &Served, part: Part) -> Result<Response, StatusError> {
    let negotiated = negotiate(&context.headers, purpose(part))?.asked(&context.query)?;
    let freshness = options::get_freshness(context)?;
    let request = Request::Get {
        key: key(context, served)?,
        subresource: part.subresource(),
    };
    let read = context.front.read(context.identity(), request, freshness);
    answered(&negotiated, served, part, StatusCode::OK, read.await?)
}

/// Reads many objects.
pub async fn list(context: &Context, served: &Served) -> Result<Response, StatusError> {
    let negotiated = negotiate(&context.headers, Purpose::Objects)?.asked(&context.query)?;
    let (list, freshness) = options::list(context, served)?;
    let request = Request::List(list);
    let read = context.front.read(context.identity(), request, freshness);
    answered(
        &negotiated,
        served,
        Part::Whole,
        StatusCode::OK,
        read.await?,
    )
}

/// The object that a path names.
pub fn key(context: &Context, served: &Served) -> Result<ObjectKey, StatusError> {
    let info = &context.info;
    let resource = served.kind.resource.clone();
    match (served.namespaced(), info.namespace.as_str()) {
        (true, "") => Err(error::no_such_path()),
        (true, namespace) => Ok(ObjectKey::new(resource, namespace, &info.name)),
        (false, _) => Ok(ObjectKey::new(resource, "", &info.name)),
    }
}

/// What can be asked for of a part of an object.
pub fn purpose(part: Part) -> Purpose {
    match part {
        Part::Scale => Purpose::Plain,
        _ => Purpose::Objects,
    }
}

/// The answer to a request, in the form that the client accepts.
pub fn answered(
    negotiated: &Negotiated,
    served: &Served,
    part: Part,
    status: StatusCode,
    what: Answer,
) -> Result<Response, StatusError> {
    let body = match what.content {
        Content::Object(object) if part == Part::Scale => full(negotiated.value(&value(&object)?)?),
        Content::Object(object) => full(negotiated.object(served, &object)?),
        Content::List(list) => negotiated.list(served, list)?,
        Content::Document(json) => {
            let value = serde_json::from_slice(&json)
                .map_err(|e| StatusError::internal(format!("an answer is no JSON: {e}")))?;
            full(negotiated.value(&value)?)
        }
        Content::Bindings(_) | Content::Token { .. } => {
            return Err(StatusError::internal("this answer has no form in HTTP"));
        }
    };
    let mut response = answer(status, negotiated.content_type(), body);
    response.extensions_mut().insert(Compressible);
    warn(response.headers_mut(), &what.warnings);
    Ok(response)
}

/// A stored object as a JSON value.
pub fn value(object: &Stored) -> Result<serde_json::Value, StatusError> {
    object
        .to_value()
        .map_err(|e| StatusError::internal(format!("{e}: {}", e.source)))
}
