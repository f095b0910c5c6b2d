//! Services of type LoadBalancer that the nodes themselves answer for, on their own addresses: those
//! without a class, and those of [`CLASS`]. Every other class is left to whoever knows it.
//!
//! A node's address is one for all services, so two of them cannot have the same port: the older
//! one keeps it, and the other is told so.

mod nodes;
#[cfg(test)]
mod tests;

use crate::reconciler::{Outcome, Reconciler};
use crate::{report, requests};
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::core::v1::{LoadBalancerIngress, Service};
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored};
use serde_json::json;
use std::collections::BTreeSet;

/// The class of services that the nodes answer for.
pub(crate) const CLASS: &str = "kabuki.io/node";
/// The condition that names ports which cannot be had (`v1` `ServiceStatus`).
const PORTS_ERROR: &str = "LoadBalancerPortsError";
const CONFLICT: &str = "PortConflict";

/// The core of the load balancer controller.
pub(crate) struct LoadBalancers;

impl Reconciler for LoadBalancers {
    fn name(&self) -> &'static str {
        "service-lb-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Resource::SERVICES, Resource::NODES]
    }

    fn keys(
        &self,
        view: &dyn View,
        object: &Stored,
        previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        if object.key.resource == Resource::NODES {
            let differs =
                removed || previous.is_none_or(|p| nodes::facts(p) != nodes::facts(object));
            return match differs {
                true => ours(view).map(|s| s.key.clone()).collect(),
                false => Vec::new(),
            };
        }
        let before = previous.map(ports).unwrap_or_default();
        let now = ports(object);
        let mut keys = vec![object.key.clone()];
        if removed || before != now {
            // Whoever waits for a port of it, or has to wait for it.
            let either: BTreeSet<_> = before.union(&now).cloned().collect();
            let others = ours(view).filter(|s| !ports(s).is_disjoint(&either));
            keys.extend(others.map(|s| s.key.clone()).filter(|k| *k != object.key));
        }
        keys
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        let Some(stored) = view.get(key).filter(|s| is_ours(s)) else {
            return outcome;
        };
        let Ok(service) = stored.typed::<Service>() else {
            return outcome;
        };
        let conflict = conflict(view, stored);
        let ingress = match conflict {
            Some(_) => Vec::new(),
            None => nodes::ready(view),
        };
        settle(stored, &service, ingress, conflict, now, &mut outcome);
        outcome
    }
}

/// Whether the nodes answer for the service.
fn is_ours(stored: &Stored) -> bool {
    let Ok(service) = stored.typed::<Service>() else {
        return false;
    };
    let Some(spec) = &service.spec else {
        return false;
    };
    let class = spec.load_balancer_class.as_deref();
    spec.type_.as_deref() == Some("LoadBalancer") && class.is_none_or(|c| c == CLASS)
}

fn ours(view: &dyn View) -> impl Iterator<Item = &Stored> {
    let services = view.scan(&Resource::SERVICES, None, None);
    services.map(|s| &**s).filter(|s| is_ours(s))
}

/// The ports that the service has on the nodes' addresses.
fn ports(stored: &Stored) -> BTreeSet<(String, i32)> {
    if !is_ours(stored) {
        return BTreeSet::new();
    }
    let Ok(service) = stored.typed::<Service>() else {
        return BTreeSet::new();
    };
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|s| s.ports.as_deref()).unwrap_or_default();
    let protocol = |p: &Option<String>| p.clone().unwrap_or_else(|| "TCP".to_string());
    ports
        .iter()
        .map(|p| (protocol(&p.protocol), p.port))
        .collect()
}

/// Who has a port of the service already, in words.
fn conflict(view: &dyn View, stored: &Stored) -> Option<String> {
    let own = ports(stored);
    for port in nodes::client_ports(view) {
        if own.contains(&("TCP".to_string(), port)) {
            return Some(format!(
                "port {port}/TCP of the nodes is that of their own API"
            ));
        }
    }
    let age = |s: &Stored| {
        let created = s.meta().creation_timestamp.as_ref().map(|t| t.0);
        (created, s.key.clone())
    };
    let older = ours(view).filter(|s| age(s) < age(stored));
    older.into_iter().find_map(|other| {
        let theirs = ports(other);
        let (protocol, port) = theirs.intersection(&own).next()?;
        let (namespace, name) = (&other.key.namespace, &other.key.name);
        Some(format!(
            "port {port}/{protocol} of the nodes is that of service {namespace}/{name}"
        ))
    })
}

/// Sets what the status says, if it says something else.
fn settle(
    stored: &Stored,
    service: &Service,
    ingress: Vec<LoadBalancerIngress>,
    conflict: Option<String>,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let status = service.status.clone().unwrap_or_default();
    let held = status.load_balancer.and_then(|b| b.ingress);
    let mut conditions = status.conditions.unwrap_or_default();
    let before = conditions.iter().position(|c| c.type_ == PORTS_ERROR);
    let said = before
        .and_then(|b| conditions.get(b))
        .map(|c| c.message.clone());
    if held.unwrap_or_default() == ingress && said == conflict {
        return;
    }
    if let Some(before) = before {
        conditions.remove(before);
    }
    let mut conditions = match serde_json::to_value(&conditions) {
        Ok(serde_json::Value::Array(conditions)) => conditions,
        _ => Vec::new(),
    };
    if let Some(why) = &conflict {
        conditions.push(json!({
            "type": PORTS_ERROR, "status": "True", "reason": CONFLICT, "message": why,
            "lastTransitionTime": requests::whole_second(now).to_string(),
        }));
    }
    let status = json!({ "loadBalancer": {"ingress": ingress}, "conditions": conditions });
    outcome.request(requests::patch_status(stored, status));
    if let Some(why) = conflict.filter(|why| said.as_ref() != Some(why)) {
        outcome.event(report::warning(stored, CONFLICT, why));
    }
}
