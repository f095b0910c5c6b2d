//! Ephemeral containers: added to a pod that is there, through a subresource of their own.

use super::parts::no_subresource;
use crate::draft;
use k8s_openapi::api::core::v1::Pod;
use kabuki_model::StatusError;
use kabuki_model::kind::{AnyObject, Kind};
use kabuki_model::status::Cause;
use serde_json::{Map, Value};

const FIELD: &str = "ephemeralContainers";

/// Refuses a new pod that has them already.
pub(super) fn refuse_at_creation(kind: &Kind, object: &dyn AnyObject) -> Result<(), StatusError> {
    let pod = object.typed().downcast_ref::<Pod>();
    let given = pod.and_then(|pod| pod.spec.as_ref()?.ephemeral_containers.as_ref());
    if given.is_none_or(Vec::is_empty) {
        return Ok(());
    }
    let cause = Cause::forbidden("spec.ephemeralContainers", "cannot be set on create");
    draft::refuse(kind, object, vec![cause])
}

/// Puts the ephemeral containers of `object`, and nothing else of it, into `base`.
pub(super) fn take(
    kind: &Kind,
    base: &mut Map<String, Value>,
    mut object: Map<String, Value>,
) -> Result<(), StatusError> {
    if kind.names.kind != "Pod" {
        return Err(no_subresource(kind, "ephemeralcontainers"));
    }
    let given = object.get_mut("spec").and_then(|s| s.get_mut(FIELD));
    let given = given.map(Value::take).filter(|v| !v.is_null());
    let Some(spec) = base.get_mut("spec").and_then(Value::as_object_mut) else {
        return Err(StatusError::internal("the pod has no spec"));
    };
    match given {
        Some(given) => spec.insert(FIELD.to_string(), given),
        None => spec.remove(FIELD),
    };
    Ok(())
}
