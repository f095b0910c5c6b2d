//! Endpoints objects (Kubernetes, "Endpoints"): the older form of the endpoints of every service
//! with a selector, for programs that still read it. At most a thousand addresses are in one.

#[cfg(test)]
mod tests;

use crate::endpoint::{self, HEADLESS_LABEL};
use crate::pods;
use crate::reconciler::{Outcome, Reconciler};
use crate::requests;
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service, ServiceSpec,
};
use kabuki_model::kind::service::is_headless;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The label of the objects that this controller makes.
pub(crate) const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// What that label says.
pub(crate) const CONTROLLER: &str = "endpoint-controller";
/// Says that not all addresses are there.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MOST_ADDRESSES: usize = 1000;

/// The core of the Endpoints controller.
pub(crate) struct EndpointsObjects;

impl Reconciler for EndpointsObjects {
    fn name(&self) -> &'static str {
        "endpoint-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Resource::SERVICES, Resource::PODS, Resource::ENDPOINTS]
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
        let ours = is_managed(object) || previous.is_some_and(is_managed);
        let key = &object.key;
        let service = ObjectKey::new(Resource::SERVICES, &key.namespace, &key.name);
        ours.then_some(service).into_iter().collect()
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, _now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        let own = ObjectKey::new(Resource::ENDPOINTS, &key.namespace, &key.name);
        let present = view.get(&own);
        let Some(stored) = view.get(key) else {
            // As in Kubernetes, those that a person made go with their service, too.
            let going = present.filter(|p| p.meta().deletion_timestamp.is_none());
            if let Some(present) = going {
                outcome.request(requests::delete(present));
            }
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
        let (subsets, truncated) = subsets(&pods, spec, &key.name);
        let labels = labels(&service, spec);
        settle(present, key, labels, subsets, truncated, &mut outcome);
        outcome
    }
}

/// Whether this controller made the object.
pub(crate) fn is_managed(endpoints: &Stored) -> bool {
    let labels = endpoints.meta().labels.as_ref();
    labels.and_then(|l| l.get(MANAGED_BY).map(String::as_str)) == Some(CONTROLLER)
}

fn labels(service: &Service, spec: &ServiceSpec) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS_LABEL);
    labels.insert(MANAGED_BY.to_string(), CONTROLLER.to_string());
    if is_headless(spec) {
        labels.insert(HEADLESS_LABEL.to_string(), String::new());
    }
    labels
}

/// Asks for the object as it is to be, if it is not so already.
fn settle(
    present: Option<&Arc<Stored>>,
    key: &ObjectKey,
    labels: BTreeMap<String, String>,
    subsets: Vec<EndpointSubset>,
    truncated: bool,
    outcome: &mut Outcome,
) {
    let before = match present.map(|p| p.typed::<Endpoints>()) {
        Some(Ok(before)) => Some(before),
        Some(Err(_)) => return,
        None => None,
    };
    let mut object = before.as_ref().map(|b| (**b).clone()).unwrap_or_default();
    object.metadata.name = Some(key.name.to_string());
    object.metadata.namespace = Some(key.namespace.to_string());
    object.metadata.labels = Some(labels);
    let mut annotations = object.metadata.annotations.take().unwrap_or_default();
    match truncated {
        true => annotations.insert(OVER_CAPACITY.to_string(), "truncated".to_string()),
        false => annotations.remove(OVER_CAPACITY),
    };
    object.metadata.annotations = Some(annotations).filter(|a| !a.is_empty());
    object.subsets = Some(subsets).filter(|s| !s.is_empty());
    match (present, before) {
        (Some(present), Some(before)) => {
            let list = |o: &Endpoints| o.subsets.clone().unwrap_or_default();
            let same = before.metadata == object.metadata && list(&before) == list(&object);
            if !same {
                outcome.request(requests::replace(present, &object));
            }
        }
        _ => {
            let create = requests::create(Resource::ENDPOINTS, &key.namespace, &object);
            outcome.request(create);
        }
    }
}

/// One pod that is in the object.
struct Member {
    ports: Vec<EndpointPort>,
    ready: bool,
    ip: Ipv4Addr,
    address: EndpointAddress,
}

/// The pods by their ports, and whether some were left out. Ready ones come first, so that those
/// are left out last.
fn subsets(pods: &[Arc<Pod>], spec: &ServiceSpec, service: &str) -> (Vec<EndpointSubset>, bool) {
    let mut members: Vec<Member> = pods
        .iter()
        .filter_map(|pod| member(pod, spec, service))
        .collect();
    members.sort_by_key(|m| (!m.ready, m.ip));
    let truncated = members.len() > MOST_ADDRESSES;
    members.truncate(MOST_ADDRESSES);
    let mut subsets: BTreeMap<String, EndpointSubset> = BTreeMap::new();
    for member in members {
        let Ok(text) = serde_json::to_string(&member.ports) else {
            continue;
        };
        let subset = subsets.entry(text).or_insert_with(|| EndpointSubset {
            ports: Some(member.ports).filter(|p| !p.is_empty()),
            ..EndpointSubset::default()
        });
        let list = match member.ready {
            true => &mut subset.addresses,
            false => &mut subset.not_ready_addresses,
        };
        list.get_or_insert_default().push(member.address);
    }
    (subsets.into_values().collect(), truncated)
}

/// A pod's place in the object; `None` when it has none. Pods on their way out are in none, unless
/// the service wants all.
fn member(pod: &Pod, spec: &ServiceSpec, service: &str) -> Option<Member> {
    let published = spec.publish_not_ready_addresses.unwrap_or(false);
    if pod.metadata.deletion_timestamp.is_some() && !published {
        return None;
    }
    let ip = endpoint::address(pod)?;
    let wanted = spec.ports.as_deref().unwrap_or_default();
    let mut ports: Vec<EndpointPort> = wanted
        .iter()
        .filter_map(|port| {
            Some(EndpointPort {
                name: port.name.clone(),
                port: endpoint::target_port(pod, port)?,
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_string())),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect();
    if ports.is_empty() && !wanted.is_empty() {
        return None;
    }
    ports.sort_by(|a, b| a.name.cmp(&b.name));
    Some(Member {
        ports,
        ready: published || pods::is_ready(pod),
        ip,
        address: EndpointAddress {
            ip: ip.to_string(),
            hostname: endpoint::hostname(pod, service),
            node_name: pods::node_name(pod).map(str::to_string),
            target_ref: Some(endpoint::target(pod)),
        },
    })
}
