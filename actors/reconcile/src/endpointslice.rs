//! EndpointSlices (Kubernetes, "EndpointSlices"): the pods behind every service with a selector,
//! with their conditions and, where the service prefers near ones, hints for whom they are.

mod hints;
#[cfg(test)]
mod tests;

use crate::endpoint::{self, HEADLESS_LABEL};
use crate::pods;
use crate::reconciler::{Outcome, Reconciler};
use crate::requests;
use crate::slices::{self, Group, MANAGED_BY, Slices};
use hints::capacity;
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::core::v1::{Pod, Service, ServiceSpec};
use kabuki_model::k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};
use kabuki_model::kind::service::is_headless;
use kabuki_model::service::SERVICE_NAME_LABEL;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What these slices say of who makes them.
const CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// The core of the EndpointSlice controller.
pub(crate) struct EndpointSlices;

impl Reconciler for EndpointSlices {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![
            Resource::SERVICES,
            Resource::PODS,
            Resource::NODES,
            Resource::ENDPOINT_SLICES,
        ]
    }

    fn keys(
        &self,
        view: &dyn View,
        object: &Stored,
        previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        let resource = &object.key.resource;
        if *resource == Resource::SERVICES {
            return vec![object.key.clone()];
        }
        if *resource == Resource::PODS {
            return endpoint::services_of(view, object, previous, removed);
        }
        if *resource == Resource::NODES {
            let before = previous.filter(|_| !removed);
            let mut keys = endpoint::services_on(view, object, before);
            keys.extend(balanced(view, object, before, removed));
            keys.sort_unstable();
            keys.dedup();
            return keys;
        }
        let managed = |o: &&Stored| slices::is_managed(o, CONTROLLER);
        let touched = [Some(object), previous].into_iter().flatten();
        let mut keys: Vec<ObjectKey> = touched.filter(managed).filter_map(service_of).collect();
        keys.dedup();
        keys
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, _now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        let Some(stored) = view.get(key) else {
            clean_up(view, key, &mut outcome);
            return outcome;
        };
        let Ok(service) = stored.typed::<Service>() else {
            return outcome;
        };
        let Some(spec) = &service.spec else {
            return outcome;
        };
        let Some(selector) = endpoint::selector(spec) else {
            return outcome;
        };
        let pods = endpoint::selected(view, &key.namespace, selector);
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for pod in &pods {
            let Some(address) = endpoint::address(pod) else {
                continue;
            };
            let ports = ports(pod, spec);
            let Ok(text) = serde_json::to_string(&ports) else {
                continue;
            };
            let group = groups.entry(text).or_insert_with(|| Group {
                address_type: "IPv4",
                ports,
                endpoints: Vec::new(),
            });
            let address = address.to_string();
            group
                .endpoints
                .push(endpoint_of(view, pod, address, &key.name, spec));
        }
        let slices = Slices {
            owner: stored,
            owner_kind: "Service",
            labels: labels(&service, spec, &key.name),
            annotations: BTreeMap::new(),
            never_none: true,
        };
        let existing = slices::owned(view, stored, CONTROLLER);
        let mut groups: Vec<Group> = groups.into_values().collect();
        let of = (&*service, spec);
        hints::give(view, stored, of, &existing, &mut groups, &mut outcome);
        slices.settle(view, &existing, groups, &mut outcome);
        outcome
    }
}

/// The services whose endpoints are given to zones, when a node now counts for another share.
fn balanced(
    view: &dyn View,
    node: &Stored,
    before: Option<&Stored>,
    removed: bool,
) -> Vec<ObjectKey> {
    let now = (!removed).then(|| capacity::of_node(node)).flatten();
    if !removed && before.and_then(capacity::of_node) == now {
        return Vec::new();
    }
    let services = view.scan(&Resource::SERVICES, None, None);
    let automatic = |s: &&Arc<Stored>| s.typed::<Service>().is_ok_and(|s| hints::is_automatic(&s));
    services.filter(automatic).map(|s| s.key.clone()).collect()
}

/// The service that a slice says it belongs to.
fn service_of(slice: &Stored) -> Option<ObjectKey> {
    let name = slice.meta().labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
    let namespace = &slice.key.namespace;
    Some(ObjectKey::new(Resource::SERVICES, namespace, name))
}

/// The slices of a service that is gone go with it; the garbage collector would come later.
fn clean_up(view: &dyn View, key: &ObjectKey, outcome: &mut Outcome) {
    let namespace = Some(&*key.namespace);
    for slice in view.scan(&Resource::ENDPOINT_SLICES, namespace, None) {
        let ours = slices::is_managed(slice, CONTROLLER) && service_of(slice).as_ref() == Some(key);
        if ours && slice.meta().deletion_timestamp.is_none() {
            outcome.request(requests::delete(slice));
        }
    }
}

/// The service's own labels, and what makes the slices its own.
fn labels(service: &Service, spec: &ServiceSpec, name: &str) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS_LABEL);
    labels.insert(MANAGED_BY.to_string(), CONTROLLER.to_string());
    labels.insert(SERVICE_NAME_LABEL.to_string(), name.to_string());
    if is_headless(spec) {
        labels.insert(HEADLESS_LABEL.to_string(), String::new());
    }
    labels
}

fn ports(pod: &Pod, spec: &ServiceSpec) -> Vec<EndpointPort> {
    let ports = spec.ports.iter().flatten();
    let mut ports: Vec<EndpointPort> = ports
        .filter_map(|port| {
            Some(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(endpoint::target_port(pod, port)?),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_string())),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect();
    ports.sort_by(|a, b| a.name.cmp(&b.name));
    ports
}

fn endpoint_of(
    view: &dyn View,
    pod: &Pod,
    address: String,
    service: &str,
    spec: &ServiceSpec,
) -> Endpoint {
    let serving = pods::is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let published = spec.publish_not_ready_addresses.unwrap_or(false);
    let ready = published || (serving && !terminating);
    let node = pods::node_name(pod).map(str::to_string);
    let zone = node.as_ref().and_then(|name| {
        let key = ObjectKey::new(Resource::NODES, "", name);
        view.get(&key).and_then(|n| endpoint::zone(n))
    });
    Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: endpoint::hostname(pod, service),
        node_name: node,
        target_ref: Some(endpoint::target(pod)),
        zone,
        ..Endpoint::default()
    }
}
