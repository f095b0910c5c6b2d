//! What is special about writing nodes: new ones take no pods until they have said how they are
//! (Kubernetes, `TaintNodesByCondition`), taints bear the time at which they were given, and a
//! node may not make more of itself than it is (Kubernetes, `NodeRestriction`).

use super::create::whole_second;
use crate::admit::Context;
use kabuki_model::identity::Identity;
use kabuki_model::kind::{AnyObject, may_label_itself};
use kabuki_model::taint::{NO_EXECUTE, NO_SCHEDULE, NOT_READY};
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, StatusError};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What servers note about members on their nodes; nodes believe it of each other, so none may
/// write it.
const MEMBERSHIP: &str = "cluster.kabuki.dev/";
/// The fields of its spec that a node may give at its registration, but not change.
const FIXED: &[(&str, &str)] = &[
    ("taints", "taints"),
    ("unschedulable", "spec.unschedulable"),
    ("podCIDR", "spec.podCIDR"),
    ("podCIDRs", "spec.podCIDRs"),
];

/// Keeps pods away from a new node. The controllers lift it when the node is ready.
pub(super) fn taint_new(node: &mut Map<String, Value>) {
    if !node.get("spec").is_some_and(Value::is_object) {
        node.insert("spec".to_string(), json!({}));
    }
    let Some(Value::Object(spec)) = node.get_mut("spec") else {
        return;
    };
    let taints = spec.entry("taints").or_insert(Value::Null);
    if taints.is_null() {
        *taints = json!([]);
    }
    // What is no list is refused when it is decoded.
    let Some(taints) = taints.as_array_mut() else {
        return;
    };
    let is_it = |t: &Value| t["key"] == NOT_READY && t["effect"] == NO_SCHEDULE;
    if !taints.iter().any(is_it) {
        taints.push(json!({"key": NOT_READY, "effect": NO_SCHEDULE}));
    }
}

/// Gives taints that drive pods away the time at which they were given: pods that tolerate one
/// for a while count from then. One that was there keeps its time.
pub(super) fn date_taints(node: &mut Map<String, Value>, old: Option<&Value>, cx: &Context) {
    let taints = node.get_mut("spec").and_then(|s| s.get_mut("taints"));
    let Some(taints) = taints.and_then(Value::as_array_mut) else {
        return;
    };
    let before = old.and_then(|o| o["spec"]["taints"].as_array());
    let undated = |t: &&mut Value| t["effect"] == NO_EXECUTE && t["timeAdded"].is_null();
    for taint in taints.iter_mut().filter(undated) {
        let same = |t: &&Value| t["key"] == taint["key"] && t["effect"] == taint["effect"];
        let held = before.into_iter().flatten().find(same);
        taint["timeAdded"] = match held.map(|t| &t["timeAdded"]) {
            Some(time) if !time.is_null() => time.clone(),
            _ => whole_second(cx).to_string().into(),
        };
    }
}

/// A node registers itself and nobody else, without what only others may say of it. In a cluster
/// that admits its nodes their objects are made when they join: one that is gone was removed.
pub(super) fn restrict_create(
    view: &dyn View,
    who: &Identity,
    resource: &Resource,
    new: &dyn AnyObject,
) -> Result<(), StatusError> {
    let restricted = *resource == Resource::NODES || *resource == Resource::LEASES;
    let Some(node) = who.node_name().filter(|_| restricted) else {
        return Ok(());
    };
    let name = new.meta().name.as_deref().unwrap_or_default();
    let refuse = |why: String| Err(StatusError::forbidden(resource, name, &why));
    if *resource == Resource::LEASES {
        return match name == node {
            true => Ok(()),
            false => refuse(
                "can only access node lease with the same name as the requesting node".into(),
            ),
        };
    }
    if name != node {
        return refuse(format!("node {node:?} cannot create node {name:?}"));
    }
    let charter = ObjectKey::new(Resource::CONFIG_MAPS, "kube-system", "kabuki-cluster");
    if view.get(&charter).is_some() {
        return refuse(format!(
            "node {node:?} was removed from the cluster: reset it, and let it join again"
        ));
    }
    let none = BTreeMap::new();
    let labels = new.meta().labels.as_ref().unwrap_or(&none);
    let others = changed(labels, &none, |key| !may_label_itself(key));
    if !others.is_empty() {
        let others = others.join(", ");
        return refuse(format!(
            "node {node:?} is not allowed to set the following labels: {others}"
        ));
    }
    let annotations = new.meta().annotations.as_ref().unwrap_or(&none);
    let others = changed(annotations, &none, |key| key.starts_with(MEMBERSHIP));
    if !others.is_empty() {
        let others = others.join(", ");
        return refuse(format!(
            "node {node:?} is not allowed to set the following annotations: {others}"
        ));
    }
    Ok(())
}

/// A node changes only itself, and nothing by which others decide what may run on it.
pub(super) fn restrict_update(
    who: &Identity,
    key: &ObjectKey,
    new: &dyn AnyObject,
    old: &dyn AnyObject,
) -> Result<(), StatusError> {
    let Some(node) = who.node_name().filter(|_| key.resource == Resource::NODES) else {
        return Ok(());
    };
    let refuse = |why: String| Err(StatusError::forbidden(&key.resource, &key.name, &why));
    if node != &*key.name {
        let name = &key.name;
        return refuse(format!(
            "node {node:?} is not allowed to modify node {name:?}"
        ));
    }
    let (now, was) = (new.to_value(), old.to_value());
    for (field, shown) in FIXED {
        if now["spec"][field] != was["spec"][field] {
            return refuse(format!("node {node:?} is not allowed to modify {shown}"));
        }
    }
    let none = BTreeMap::new();
    let (meta, before) = (new.meta(), old.meta());
    let labels = |m: &Option<BTreeMap<String, String>>| m.clone().unwrap_or_default();
    let (now, was) = (labels(&meta.labels), labels(&before.labels));
    let others = changed(&now, &was, |key| !may_label_itself(key));
    if !others.is_empty() {
        return refuse(format!(
            "is not allowed to modify labels: {}",
            others.join(", ")
        ));
    }
    let now = meta.annotations.as_ref().unwrap_or(&none);
    let was = before.annotations.as_ref().unwrap_or(&none);
    let others = changed(now, was, |key| key.starts_with(MEMBERSHIP));
    if !others.is_empty() {
        let others = others.join(", ");
        return refuse(format!("is not allowed to modify annotations: {others}"));
    }
    let kept = meta.finalizers.as_deref().unwrap_or_default();
    let mut finalizers = before.finalizers.iter().flatten();
    if let Some(gone) = finalizers.find(|f| !kept.contains(f)) {
        return refuse(format!(
            "node {node:?} is not allowed to remove finalizer {gone:?}"
        ));
    }
    Ok(())
}

/// The keys with different values that a rule is about.
fn changed(
    new: &BTreeMap<String, String>,
    old: &BTreeMap<String, String>,
    concerns: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut keys: Vec<&String> = new.keys().chain(old.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let differs = |key: &&String| new.get(*key) != old.get(*key) && concerns(key);
    keys.into_iter().filter(differs).cloned().collect()
}
