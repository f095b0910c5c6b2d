//! The `scale` subresource: `autoscaling/v1` `Scale` over any kind that has replicas.

use super::decoded;
use super::parts::no_subresource;
use crate::draft::{self, Faults};
use kabuki_model::kind::{AnyObject, Kind};
use kabuki_model::object::canonical_json;
use kabuki_model::request::WriteOptions;
use kabuki_model::schema;
use kabuki_model::status::Cause;
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The scale of an object.
pub(crate) fn read(stored: &Stored) -> Result<Arc<Stored>, StatusError> {
    let kind = draft::kind_of(&stored.key.resource)?;
    let object = decoded(stored)?;
    let Some(scale) = object.scale() else {
        return Err(no_subresource(kind, "scale"));
    };
    let meta = object.meta();
    let shown = json!({
        "metadata": {
            "name": meta.name, "namespace": meta.namespace, "uid": meta.uid,
            "creationTimestamp": meta.creation_timestamp,
        },
        "spec": {"replicas": scale.replicas},
        "status": {"replicas": scale.current, "selector": scale.selector},
    });
    let shown = shown.as_object().cloned().unwrap_or_default();
    let key = ObjectKey::new(Resource::SCALES, &stored.key.namespace, &stored.key.name);
    let json = canonical_json("autoscaling/v1", "Scale", shown);
    Ok(Arc::new(Stored::new(
        key,
        stored.uid.clone(),
        stored.revision,
        json,
    )))
}

/// The `Scale` of which [`write`] makes the replicas of this object.
pub(super) fn shown(object: &Map<String, Value>) -> Map<String, Value> {
    let replicas = object.get("spec").and_then(|s| s.get("replicas")).cloned();
    let scale = json!({"spec": {"replicas": replicas}});
    scale.as_object().cloned().unwrap_or_default()
}

/// The object with the replicas of a `Scale`.
pub(super) fn write(
    kind: &Kind,
    current: &Stored,
    scale: Map<String, Value>,
    options: &WriteOptions,
    faults: &mut Faults,
) -> Result<Box<dyn AnyObject>, StatusError> {
    let mut object = decoded(current)?;
    if object.scale().is_none() {
        return Err(no_subresource(kind, "scale"));
    }
    let spec = scale.get("spec").and_then(Value::as_object);
    let replicas = spec.and_then(|s| s.get("replicas")).cloned();
    let replicas = replicas.unwrap_or_default();
    let Some(message) = schema::find("autoscaling/v1", "Scale") else {
        return Err(StatusError::internal("Scale is not among the types"));
    };
    draft::look_at_message(message, ("Scale", "v1"), scale, options, faults)?;
    faults.judge_as("Scale", "v1", options)?;
    let wanted = match &replicas {
        // Absent replicas are zero in `autoscaling/v1`.
        Value::Null => Some(0),
        value => value
            .as_i64()
            .and_then(|n| i32::try_from(n).ok())
            .filter(|n| *n >= 0),
    };
    let Some(wanted) = wanted else {
        let cause = Cause::invalid(
            "spec.replicas",
            replicas,
            "must be greater than or equal to 0",
        );
        draft::refuse(kind, &*object, vec![cause])?;
        return Ok(object);
    };
    object.set_replicas(wanted);
    Ok(object)
}
