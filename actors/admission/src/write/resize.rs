//! Resizing a running pod's containers, through a subresource of its own. As in Kubernetes, only
//! what belongs to it is taken of the object that is sent.

use super::update::no_subresource;
use k8s_openapi::api::core::v1::Pod;
use kabuki_model::StatusError;
use kabuki_model::kind::{AnyObject, Kind, pod};
use kabuki_model::status::Cause;
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
    let mut given = object.remove("spec").unwrap_or_default();
    let Some(spec) = base.get_mut("spec").and_then(Value::as_object_mut) else {
        return Err(StatusError::internal("the pod has no spec"));
    };
    for list in ["containers", "initContainers"] {
        let held = spec.get_mut(list).and_then(Value::as_array_mut);
        let (held, given) = match (held, given[list].take()) {
            (Some(held), Value::Array(given)) if same_names(held, &given) => (held, given),
            (None, Value::Null) => continue,
            // It is refused with the whole of what is wrong with it.
            (_, given) => {
                spec.insert(list.to_string(), given);
                continue;
            }
        };
        for (held, mut given) in held.iter_mut().zip(given) {
            for field in FIELDS {
                held[*field] = given[*field].take();
            }
        }
    }
    let whole = given["resources"].take();
    if whole.is_null() {
        spec.remove("resources");
    } else {
        spec.insert("resources".to_string(), whole);
    }
    Ok(())
}

fn same_names(held: &[Value], given: &[Value]) -> bool {
    let names = |list: &[Value]| -> Vec<Value> { list.iter().map(|c| c["name"].clone()).collect() };
    given.iter().all(Value::is_object) && names(held) == names(given)
}

/// Everything that is wrong with the pod as it would then be.
pub(super) fn causes(new: &dyn AnyObject, old: &dyn AnyObject) -> Vec<Cause> {
    let mut causes = new.validate();
    let typed = |object: &dyn AnyObject| serde_json::from_value::<Pod>(object.to_value());
    match (typed(new), typed(old)) {
        (Ok(new), Ok(old)) => causes.extend(pod::validate_resize(&new, &old)),
        (Err(error), _) | (_, Err(error)) => {
            causes.push(Cause::invalid("spec", "", &error.to_string()));
        }
    }
    causes
}
