//! EndpointSlices of the Endpoints that people make by hand for services without a selector
//! (Kubernetes, "EndpointSlice mirroring").

use crate::endpoint;
use crate::endpoints;
use crate::reconciler::{Outcome, Reconciler};
use crate::requests;
use crate::slices::{self, Group, MANAGED_BY, Slices};
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointSubset, Endpoints, Service,
};
use kabuki_model::k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};
use kabuki_model::service::SERVICE_NAME_LABEL;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What these slices say of who makes them.
const CONTROLLER: &str = "endpointslicemirroring-controller.k8s.io";
/// The label of Endpoints that are not mirrored.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// The annotation of Endpoints by which older programs choose a leader.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Annotations that tell of the Endpoints, not of the endpoints.
const UNMIRRORED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "endpoints.kubernetes.io/last-change-trigger-time",
];
/// How many addresses of one subset are mirrored.
const MOST_ADDRESSES: usize = 1000;

/// The core of the mirroring controller.
pub(crate) struct Mirroring;

impl Reconciler for Mirroring {
    fn name(&self) -> &'static str {
        "endpointslicemirroring-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![
            Resource::ENDPOINTS,
            Resource::SERVICES,
            Resource::ENDPOINT_SLICES,
        ]
    }

    fn keys(
        &self,
        _view: &dyn View,
        object: &Stored,
        _previous: Option<&Stored>,
        _removed: bool,
    ) -> Vec<ObjectKey> {
        let key = &object.key;
        let of = |name: &str| vec![ObjectKey::new(Resource::ENDPOINTS, &key.namespace, name)];
        if key.resource != Resource::ENDPOINT_SLICES {
            return of(&key.name);
        }
        let labels = object.meta().labels.as_ref();
        let service = labels.and_then(|l| l.get(SERVICE_NAME_LABEL));
        match service.filter(|_| slices::is_managed(object, CONTROLLER)) {
            Some(name) => of(name),
            None => Vec::new(),
        }
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, _now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        // The slices of Endpoints that are gone are collected with them.
        let Some(stored) = view.get(key) else {
            return outcome;
        };
        let existing = slices::owned(view, stored, CONTROLLER);
        let Ok(endpoints) = stored.typed::<Endpoints>() else {
            return outcome;
        };
        if !is_mirrored(stored) || !has_place(view, key) {
            for slice in &existing {
                outcome.request(requests::delete(slice));
            }
            return outcome;
        }
        let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
        labels.insert(MANAGED_BY.to_string(), CONTROLLER.to_string());
        labels.insert(SERVICE_NAME_LABEL.to_string(), key.name.to_string());
        let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
        annotations.retain(|name, _| !UNMIRRORED.contains(&name.as_str()));
        let slices = Slices {
            owner: stored,
            owner_kind: "Endpoints",
            labels,
            annotations,
            never_none: false,
        };
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for subset in endpoints.subsets.iter().flatten() {
            add(subset, &mut groups);
        }
        let groups = groups.into_values().filter(|g| !g.endpoints.is_empty());
        slices.settle(view, &existing, groups.collect(), &mut outcome);
        outcome
    }
}

fn is_mirrored(stored: &Stored) -> bool {
    let meta = stored.meta();
    let says = |name: &str| meta.labels.as_ref().and_then(|l| l.get(name));
    let skipped = says(SKIP).is_some_and(|v| v == "true");
    let annotations = meta.annotations.as_ref();
    let elects = annotations.is_some_and(|a| a.contains_key(LEADER));
    meta.deletion_timestamp.is_none() && !skipped && !elects && !endpoints::is_managed(stored)
}

/// Whether the service is there, and leaves its endpoints to people.
fn has_place(view: &dyn View, key: &ObjectKey) -> bool {
    let service = ObjectKey::new(Resource::SERVICES, &key.namespace, &key.name);
    let service = view.get(&service).and_then(|s| s.typed::<Service>().ok());
    let spec = service.as_ref().and_then(|s| s.spec.as_ref());
    spec.is_some_and(|spec| endpoint::selector(spec).is_none())
}

fn add(subset: &EndpointSubset, groups: &mut BTreeMap<String, Group>) {
    let ports = subset.ports.iter().flatten();
    let ports: Vec<EndpointPort> = ports
        .map(|port| EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(port.port),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_string())),
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    let Ok(text) = serde_json::to_string(&ports) else {
        return;
    };
    let ready = subset.addresses.iter().flatten().map(|a| (a, true));
    let others = subset.not_ready_addresses.iter().flatten();
    let all = ready.chain(others.map(|a| (a, false)));
    for (address, ready) in all.take(MOST_ADDRESSES) {
        let address_type = match address.ip.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => "IPv4",
            Ok(IpAddr::V6(_)) => "IPv6",
            Err(_) => continue,
        };
        let group = groups.entry(format!("{address_type} {text}"));
        let group = group.or_insert_with(|| Group {
            address_type,
            ports: ports.clone(),
            endpoints: Vec::new(),
        });
        group.endpoints.push(endpoint_of(address, ready));
    }
}

fn endpoint_of(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            ..EndpointConditions::default()
        }),
        hostname: address.hostname.clone().filter(|h| !h.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests;
