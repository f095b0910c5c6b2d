//! The requests that cores make, each with the preconditions that keep it from hitting a
//! successor of the object that was looked at, or a newer form of it.

use jiff::Timestamp;
use kabuki_model::request::{DeleteOptions, PatchType, Request, Subresource, WriteOptions};
use kabuki_model::{ObjectKey, Resource, Stored};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Who manages the fields that controllers write.
const FIELD_MANAGER: &str = "kabuki-controller";

fn options() -> WriteOptions {
    WriteOptions {
        field_manager: FIELD_MANAGER.to_string(),
        ..WriteOptions::default()
    }
}

/// The typed object as JSON; types of the API always serialise.
fn value_of(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// Creates an object.
pub(crate) fn create(resource: Resource, namespace: &str, object: &impl Serialize) -> Request {
    Request::Create {
        resource,
        namespace: namespace.into(),
        object: value_of(object).to_string().into(),
        options: options(),
    }
}

/// Changes metadata and spec of exactly the form of the object that was looked at.
pub(crate) fn patch(object: &Stored, metadata: Value, spec: Option<Value>) -> Request {
    let mut fields = match metadata {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    fields.insert("uid".to_string(), object.uid.to_string().into());
    fields.insert(
        "resourceVersion".to_string(),
        object.revision.to_string().into(),
    );
    let mut patch = json!({ "metadata": fields });
    if let Some(spec) = spec {
        patch["spec"] = spec;
    }
    Request::Patch {
        key: object.key.clone(),
        subresource: None,
        patch_type: PatchType::Merge,
        patch: patch.to_string().into(),
        options: options(),
    }
}

/// Replaces exactly the form of the object that was looked at.
pub(crate) fn replace(stored: &Stored, object: &impl Serialize) -> Request {
    let mut body = value_of(object);
    body["metadata"]["uid"] = stored.uid.to_string().into();
    body["metadata"]["resourceVersion"] = stored.revision.to_string().into();
    Request::Update {
        key: stored.key.clone(),
        subresource: None,
        object: body.to_string().into(),
        options: options(),
    }
}

/// Replaces the status. Only one controller writes it, so whatever else of the object changed
/// meanwhile does not matter: the change makes the controller look again.
pub(crate) fn set_status(object: &Stored, status: &impl Serialize) -> Request {
    replace_part(
        object,
        Subresource::Status,
        json!({ "status": value_of(status) }),
    )
}

/// Replaces one part of the object.
pub(crate) fn replace_part(object: &Stored, part: Subresource, mut body: Value) -> Request {
    body["metadata"] = json!({ "uid": &*object.uid });
    Request::Update {
        key: object.key.clone(),
        subresource: Some(part),
        object: body.to_string().into(),
        options: options(),
    }
}

/// Changes fields of the status of exactly the form of the object that was looked at: lists in
/// a status are replaced whole, so that nothing that was written meanwhile may be lost.
pub(crate) fn patch_status(object: &Stored, status: Value) -> Request {
    let patch = json!({
        "metadata": {"uid": &*object.uid, "resourceVersion": object.revision.to_string()},
        "status": status,
    });
    Request::Patch {
        key: object.key.clone(),
        subresource: Some(Subresource::Status),
        patch_type: PatchType::Merge,
        patch: patch.to_string().into(),
        options: options(),
    }
}

/// Kubernetes' times have whole seconds.
pub(crate) fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Deletes exactly this object, in whatever form it is by then.
pub(crate) fn delete(object: &Stored) -> Request {
    delete_with(object, DeleteOptions::default())
}

/// Deletes exactly this object, with more options.
pub(crate) fn delete_with(object: &Stored, options: DeleteOptions) -> Request {
    Request::Delete {
        key: object.key.clone(),
        options: DeleteOptions {
            uid: Some(object.uid.clone()),
            ..options
        },
    }
}

/// The key of a namespace.
pub(crate) fn namespace_key(name: &str) -> ObjectKey {
    ObjectKey::new(Resource::NAMESPACES, "", name)
}
