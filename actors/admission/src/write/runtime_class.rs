//! What a pod gets from its RuntimeClass at its creation (Kubernetes, "Runtime Class" and "Pod
//! Overhead"): the overhead, and where it can run.

use kabuki_model::k8s_openapi::api::core::v1::{Pod, PodSpec, Toleration};
use kabuki_model::k8s_openapi::api::node::v1::{RuntimeClass, Scheduling};
use kabuki_model::kind::AnyObject;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, StatusError};
use std::sync::Arc;

/// Adds it, or refuses the pod.
pub(super) fn add(view: &dyn View, object: &mut dyn AnyObject) -> Result<(), StatusError> {
    let name = object.meta().name.clone().unwrap_or_default();
    let Some(pod) = object.typed_mut().downcast_mut::<Pod>() else {
        return Ok(());
    };
    let spec = pod.spec.get_or_insert_default();
    apply(view, spec).map_err(|why| {
        let why = format!("pod rejected: {why}");
        StatusError::forbidden(&Resource::PODS, &name, &why)
    })
}

fn apply(view: &dyn View, spec: &mut PodSpec) -> Result<(), String> {
    let class = find(view, spec)?;
    let overhead = class.as_ref().and_then(|c| c.overhead.as_ref());
    let overhead = overhead
        .and_then(|o| o.pod_fixed.clone())
        .unwrap_or_default();
    let given = spec.overhead.as_ref().filter(|o| !o.is_empty());
    match given {
        Some(_) if overhead.is_empty() => {
            return Err(
                "Pod Overhead set without corresponding RuntimeClass defined Overhead".to_string(),
            );
        }
        Some(given) if *given != overhead => {
            return Err("Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_string());
        }
        Some(_) => {}
        None if overhead.is_empty() => spec.overhead = None,
        None => spec.overhead = Some(overhead),
    }
    match class.as_ref().and_then(|c| c.scheduling.as_ref()) {
        Some(scheduling) => merge(spec, scheduling),
        None => Ok(()),
    }
}

fn find(view: &dyn View, spec: &PodSpec) -> Result<Option<Arc<RuntimeClass>>, String> {
    let name = spec.runtime_class_name.as_deref().unwrap_or_default();
    if name.is_empty() {
        return Ok(None);
    }
    let key = ObjectKey::new(Resource::RUNTIME_CLASSES, "", name);
    match view.get(&key).map(|held| held.typed::<RuntimeClass>()) {
        Some(Ok(class)) => Ok(Some(class)),
        Some(Err(error)) => Err(error.to_string()),
        None => Err(format!("RuntimeClass {name:?} not found")),
    }
}

/// The pod runs where both the pod and the class allow it.
fn merge(spec: &mut PodSpec, scheduling: &Scheduling) -> Result<(), String> {
    for (key, value) in scheduling.node_selector.iter().flatten() {
        let own = spec.node_selector.get_or_insert_default();
        let held = own.entry(key.clone()).or_insert_with(|| value.clone());
        if held != value {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; \
                 pod.spec.nodeSelector[{key}] = {held}"
            ));
        }
    }
    for toleration in scheduling.tolerations.iter().flatten() {
        let own: &mut Vec<Toleration> = spec.tolerations.get_or_insert_default();
        if !own.contains(toleration) {
            own.push(toleration.clone());
        }
    }
    Ok(())
}
