//! Pods that nodes create: only mirrors of what they run by themselves, for themselves
//! (Kubernetes, `NodeRestriction`).

use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::kind::AnyObject;
use kabuki_model::kind::pod::referenced;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, StatusError};

const MIRROR: &str = "kubernetes.io/config.mirror";

/// Refuses every other pod of a node.
pub(super) fn restrict(
    view: &dyn View,
    who: &Identity,
    resource: &Resource,
    new: &dyn AnyObject,
) -> Result<(), StatusError> {
    let Some(node) = who.node_name().filter(|_| *resource == Resource::PODS) else {
        return Ok(());
    };
    let name = new.meta().name.as_deref().unwrap_or_default();
    match refusal(view, node, new) {
        Some(why) => Err(StatusError::forbidden(resource, name, &why)),
        None => Ok(()),
    }
}

fn refusal(view: &dyn View, node: &str, new: &dyn AnyObject) -> Option<String> {
    let meta = new.meta();
    let annotations = meta.annotations.as_ref();
    if !annotations.is_some_and(|a| a.contains_key(MIRROR)) {
        return Some(format!(
            "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
        ));
    }
    let Some(pod) = new.typed().downcast_ref::<Pod>() else {
        return Some("it is no pod".to_string());
    };
    let spec = pod.spec.as_ref();
    if spec.and_then(|s| s.node_name.as_deref()) != Some(node) {
        return Some(format!(
            "node {node:?} can only create pods with spec.nodeName set to itself"
        ));
    }
    let [owner] = meta.owner_references.as_deref().unwrap_or_default() else {
        return Some(format!(
            "node {node:?} can only create pods with a single owner reference set to itself"
        ));
    };
    if (&*owner.api_version, &*owner.kind, &*owner.name) != ("v1", "Node", node) {
        return Some(format!(
            "node {node:?} can only create pods with an owner reference set to itself"
        ));
    }
    if owner.controller != Some(true) {
        return Some(format!(
            "node {node:?} can only create pods with a controller owner reference set to itself"
        ));
    }
    if owner.block_owner_deletion == Some(true) {
        return Some(format!(
            "node {node:?} must not set blockOwnerDeletion on an owner reference"
        ));
    }
    let held = view.get(&ObjectKey::new(Resource::NODES, "", node));
    let uid = held.map_or("", |held| &held.uid);
    if owner.uid != uid {
        return Some(format!(
            "node {node} UID mismatch: expected {uid} got {}",
            owner.uid
        ));
    }
    let what = referenced(spec?)?;
    Some(format!(
        "node {node:?} can not create pods that reference {what}"
    ))
}
