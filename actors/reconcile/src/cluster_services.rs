//! The cluster's own services: `default/kubernetes`, behind which are the servers that are ready,
//! and `kube-system/kube-dns`, for which every node's name server answers. Their addresses come
//! from the range that the cluster was founded with, which is a ServiceCIDR like others.
//!
//! One key stands for all of it. What somebody removes or changes is put back.

mod servers;
#[cfg(test)]
mod tests;

use crate::reconciler::{Outcome, Reconciler};
use crate::requests;
use jiff::Timestamp;
use kabuki_model::allocation::{API_ADDRESS, AddressRange, DNS_ADDRESS, founded_range};
use kabuki_model::k8s_openapi::api::core::v1::{Endpoints, Service};
use kabuki_model::k8s_openapi::api::discovery::v1::EndpointSlice;
use kabuki_model::service::{PROXY_NAME_LABEL, SERVICE_NAME_LABEL};
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored};
use serde_json::{Value, json};
use servers::Servers;

/// The name of the API's service, of its endpoints and of the first range.
const API: &str = "kubernetes";
const DNS: &str = "kube-dns";
/// What the name server's service says of who answers for it.
const ANSWERED_BY: &str = "kabuki-name-server";
/// Keeps the mirroring controller away.
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";

/// The core of the controller of the cluster's own services.
pub(crate) struct ClusterServices;

impl Reconciler for ClusterServices {
    fn name(&self) -> &'static str {
        "cluster-services-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![
            Resource::CONFIG_MAPS,
            Resource::NAMESPACES,
            Resource::SERVICE_CIDRS,
            Resource::SERVICES,
            Resource::ENDPOINT_SLICES,
            Resource::ENDPOINTS,
            Resource::NODES,
        ]
    }

    fn selects(&self, resource: &Resource) -> String {
        match *resource == Resource::CONFIG_MAPS {
            true => {
                let key = charter();
                let (namespace, name) = (key.namespace, key.name);
                format!("metadata.namespace={namespace},metadata.name={name}")
            }
            false => String::new(),
        }
    }

    fn keys(
        &self,
        _view: &dyn View,
        object: &Stored,
        previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        let key = &object.key;
        let at = (&*key.namespace, &*key.name);
        let concerned = match key.resource.as_str() {
            "configmaps" => *key == charter(),
            "namespaces" => matches!(at.1, "default" | "kube-system"),
            "services" => at == ("default", API) || at == ("kube-system", DNS),
            "servicecidrs.networking.k8s.io" => at.1 == API,
            "endpoints" => at == ("default", API),
            "endpointslices.discovery.k8s.io" => {
                at.0 == "default" && (is_ours(object) || previous.is_some_and(is_ours))
            }
            _ => servers::is_changed(object, previous.filter(|_| !removed)),
        };
        concerned.then(charter).into_iter().collect()
    }

    fn reconcile(&self, view: &dyn View, _key: &ObjectKey, _now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        let Some(founded) = founded_range(view) else {
            return outcome;
        };
        let range = ObjectKey::new(Resource::SERVICE_CIDRS, "", API);
        if view.get(&range).is_none() {
            let object = json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
                "metadata": {"name": API}, "spec": {"cidrs": [founded.to_string()]},
            });
            outcome.request(requests::create(Resource::SERVICE_CIDRS, "", &object));
        }
        if is_open(view, "kube-system") {
            name_server(view, founded, &mut outcome);
        }
        if is_open(view, "default") {
            let servers = Servers::read(view);
            api(view, founded, &servers, &mut outcome);
            slices(view, &servers, &mut outcome);
            endpoints(view, &servers, &mut outcome);
        }
        outcome
    }
}

/// The ConfigMap that says what the cluster is; the one key.
fn charter() -> ObjectKey {
    ObjectKey::new(Resource::CONFIG_MAPS, "kube-system", "kabuki-cluster")
}

fn is_open(view: &dyn View, namespace: &str) -> bool {
    let namespace = view.get(&requests::namespace_key(namespace));
    namespace.is_some_and(|n| n.meta().deletion_timestamp.is_none())
}

/// Whether a slice is one of the API's service.
fn is_ours(slice: &Stored) -> bool {
    let labels = slice.meta().labels.as_ref();
    let service = labels.and_then(|l| l.get(SERVICE_NAME_LABEL));
    service.is_some_and(|s| s == API) && slice.key.name.starts_with(API)
}

/// Creates a service, or gives one that is there its ports again. Its type and address cannot be
/// taken from it as long as it exists.
fn service(view: &dyn View, object: Value, outcome: &mut Outcome) {
    let meta = &object["metadata"];
    let text = |field: &str| meta[field].as_str().unwrap_or_default().to_string();
    let (namespace, name) = (text("namespace"), text("name"));
    let key = ObjectKey::new(Resource::SERVICES, &namespace, &name);
    let Some(stored) = view.get(&key) else {
        outcome.request(requests::create(Resource::SERVICES, &namespace, &object));
        return;
    };
    let Ok(present) = stored.typed::<Service>() else {
        return;
    };
    let ports = present.spec.as_ref().and_then(|s| s.ports.as_ref());
    let ports = serde_json::to_value(ports).unwrap_or_default();
    let wanted = &object["spec"]["ports"];
    let going = present.metadata.deletion_timestamp.is_some();
    if ports != *wanted && !going {
        let spec = json!({ "ports": wanted });
        outcome.request(requests::patch(stored, json!({}), Some(spec)));
    }
}

fn name_server(view: &dyn View, founded: AddressRange, outcome: &mut Outcome) {
    let Some(address) = founded.at(DNS_ADDRESS) else {
        return;
    };
    let port = |name: &str, protocol: &str| json!({"name": name, "port": 53, "protocol": protocol, "targetPort": 53});
    let object = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": DNS, "namespace": "kube-system",
            "labels": {
                "k8s-app": DNS, "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS", PROXY_NAME_LABEL: ANSWERED_BY,
            },
        },
        "spec": {
            "clusterIP": address.to_string(),
            "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")],
        },
    });
    service(view, object, outcome);
}

fn api(view: &dyn View, founded: AddressRange, servers: &Servers, outcome: &mut Outcome) {
    let Some(address) = founded.at(API_ADDRESS) else {
        return;
    };
    let target = servers.ports().next().unwrap_or(servers::USUAL_PORT);
    let object = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": API, "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": address.to_string(),
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": target}],
        },
    });
    service(view, object, outcome);
}

/// One slice for each port that servers listen on; nearly always they all have the same.
fn slices(view: &dyn View, servers: &Servers, outcome: &mut Outcome) {
    let mut wanted = Vec::new();
    for (index, port) in servers.ports().enumerate() {
        let name = match index {
            0 => API.to_string(),
            _ => format!("{API}-{port}"),
        };
        let endpoints = servers.behind(port);
        let endpoints =
            endpoints.map(|a| json!({"addresses": [a.to_string()], "conditions": {"ready": true}}));
        let object = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": name, "namespace": "default", "labels": {SERVICE_NAME_LABEL: API},
            },
            "addressType": "IPv4", "endpoints": endpoints.collect::<Vec<_>>(),
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        });
        put::<EndpointSlice>(
            view,
            Resource::ENDPOINT_SLICES,
            &name,
            &object,
            |a, b| {
                a.endpoints == b.endpoints
                    && a.ports == b.ports
                    && same_labels(&a.metadata, &b.metadata)
            },
            outcome,
        );
        wanted.push(name);
    }
    for slice in view.scan(&Resource::ENDPOINT_SLICES, Some("default"), None) {
        let kept = wanted.iter().any(|name| **name == *slice.key.name);
        if is_ours(slice) && is_own_name(&slice.key.name) && !kept {
            outcome.request(requests::delete(slice));
        }
    }
}

/// `kubernetes` or `kubernetes-PORT`.
fn is_own_name(name: &str) -> bool {
    let rest = name.strip_prefix(API).unwrap_or(name);
    rest.is_empty()
        || rest
            .strip_prefix('-')
            .is_some_and(|p| p.parse::<u16>().is_ok())
}

fn endpoints(view: &dyn View, servers: &Servers, outcome: &mut Outcome) {
    let subsets = servers.ports().map(|port| {
        let addresses = servers.behind(port).map(|a| json!({"ip": a.to_string()}));
        json!({
            "addresses": addresses.collect::<Vec<_>>(),
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        })
    });
    let object = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": API, "namespace": "default", "labels": {SKIP_MIRROR: "true"}},
        "subsets": subsets.collect::<Vec<_>>(),
    });
    let same = |a: &Endpoints, b: &Endpoints| {
        let subsets = |o: &Endpoints| o.subsets.clone().unwrap_or_default();
        subsets(a) == subsets(b) && same_labels(&a.metadata, &b.metadata)
    };
    put(view, Resource::ENDPOINTS, API, &object, same, outcome);
}

fn same_labels(
    a: &kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    b: &kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
) -> bool {
    a.labels == b.labels
}

/// Creates an object in `default`, or makes it what it is to be.
fn put<T>(
    view: &dyn View,
    resource: Resource,
    name: &str,
    object: &Value,
    same: impl Fn(&T, &T) -> bool,
    outcome: &mut Outcome,
) where
    T: serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let key = ObjectKey::new(resource.clone(), "default", name);
    let Some(stored) = view.get(&key) else {
        outcome.request(requests::create(resource, "default", object));
        return;
    };
    let wanted = serde_json::from_value::<T>(object.clone());
    let (Ok(present), Ok(wanted)) = (stored.typed::<T>(), wanted) else {
        return;
    };
    if !same(&present, &wanted) {
        outcome.request(requests::replace(stored, object));
    }
}
