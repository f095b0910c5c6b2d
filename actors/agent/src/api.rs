//! Requests to the API as the actors here make them: one object by key, decoded.

use kabuki_model::request::{PatchType, Request, Subresource, WriteOptions};
use kabuki_model::status::Reason;
use kabuki_model::{ObjectKey, Resource, StatusError};
use kabuki_protocol::ApiHandle;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// Who manages the fields that the agent writes.
const MANAGER: &str = "kabuki-agent";

/// Reads one object; `None` when there is none.
pub(crate) async fn get<T>(
    api: &ApiHandle,
    resource: Resource,
    namespace: &str,
    name: &str,
) -> Result<Option<Arc<T>>, StatusError>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    let key = ObjectKey::new(resource, namespace, name);
    let request = Request::Get {
        key,
        subresource: None,
    };
    match api.request(request).await {
        Ok(answer) => match answer.into_object() {
            Some(object) => {
                let typed = object.typed::<T>();
                typed
                    .map(Some)
                    .map_err(|error| StatusError::internal(error.to_string()))
            }
            None => Ok(None),
        },
        Err(error) if error.reason == Reason::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates an object, and says at which revision it then is.
pub(crate) async fn create(
    api: &ApiHandle,
    resource: Resource,
    namespace: &str,
    object: &Value,
) -> Result<u64, StatusError> {
    let request = Request::Create {
        resource,
        namespace: namespace.into(),
        object: object.to_string().into(),
        options: options(),
    };
    let object = api.request(request).await?.into_object();
    Ok(object.map_or(0, |o| o.revision))
}

/// Merges `patch` into an object or its status.
pub(crate) async fn patch(
    api: &ApiHandle,
    key: ObjectKey,
    subresource: Option<Subresource>,
    patch: &Value,
) -> Result<(), StatusError> {
    patch_at(api, key, subresource, patch).await.map(drop)
}

/// Merges `patch` into an object or its status, and says at which revision the object then is.
pub(crate) async fn patch_at(
    api: &ApiHandle,
    key: ObjectKey,
    subresource: Option<Subresource>,
    patch: &Value,
) -> Result<u64, StatusError> {
    let request = Request::Patch {
        key,
        subresource,
        patch_type: PatchType::Merge,
        patch: patch.to_string().into(),
        options: options(),
    };
    let object = api.request(request).await?.into_object();
    Ok(object.map_or(0, |o| o.revision))
}

fn options() -> WriteOptions {
    WriteOptions {
        field_manager: MANAGER.to_string(),
        ..WriteOptions::default()
    }
}
