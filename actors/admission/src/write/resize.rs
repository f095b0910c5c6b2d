//! Resizing a running pod's containers, through a subresource of its own. As in Kubernetes, only
//! what belongs to it is taken of the object that is sent.

use super::parts::no_subresource;
use kabuki_model::StatusError;
use kabuki_model::kind::Kind;
use serde_json::{Map, Value};

/// What is taken of each container.
const FIELDS: &[&str] = &["resources", "resizePolicy"];

/// Puts the resources of the containers of `object`, and nothing else of it, into `base`.
pub(super) fn take(
    kind: &Kind,
    base: &mut Map<String, Value>,
    mut object: Map<String, Value>,
) -> Result<(), StatusError> {
    if kind.names.kind != "Pod" {
        return Err(no_subresource(kind, "resize"));
    }
    let mut given = match object.remove("spec") {
        Some(Value::Object(given)) => given,
        None | Some(Value::Null) => Map::new(),
        // It is refused with the whole of what is wrong with it.
        Some(other) => {
            base.insert("spec".to_string(), other);
            return Ok(());
        }
    };
    let Some(spec) = base.get_mut("spec").and_then(Value::as_object_mut) else {
        return Err(StatusError::internal("the pod has no spec"));
    };
    for list in ["containers", "initContainers"] {
        let held = spec.get_mut(list).and_then(Value::as_array_mut);
        let (held, given) = match (held, given.remove(list).unwrap_or_default()) {
            (Some(held), Value::Array(given)) if same_names(held, &given) => (held, given),
            (None, Value::Null) => continue,
            (_, given) => {
                spec.insert(list.to_string(), given);
                continue;
            }
        };
        for (held, given) in held.iter_mut().zip(given) {
            let (Value::Object(held), Value::Object(mut given)) = (held, given) else {
                continue;
            };
            for field in FIELDS {
                put(held, field, given.remove(*field));
            }
        }
    }
    put(spec, "resources", given.remove("resources"));
    Ok(())
}

fn put(object: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    match value.filter(|value| !value.is_null()) {
        Some(value) => object.insert(field.to_string(), value),
        None => object.remove(field),
    };
}

fn same_names(held: &[Value], given: &[Value]) -> bool {
    let names = |list: &[Value]| -> Vec<Value> { list.iter().map(|c| c["name"].clone()).collect() };
    given.iter().all(Value::is_object) && names(held) == names(given)
}
