//! What a pod is behind a service: whether it counts, its address, the ports that the service's
//! names stand for, and whom a change of it concerns.

use crate::pods;
use kabuki_model::k8s_openapi::api::core::v1::{
    Container, ObjectReference, Pod, Service, ServicePort, ServiceSpec,
};
use kabuki_model::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kabuki_model::view::{Index, View};
use kabuki_model::{ObjectKey, Resource, Stored};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The label of headless services' endpoints.
pub(crate) const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// The service's selector, when its endpoints are pods that it selects.
pub(crate) fn selector(spec: &ServiceSpec) -> Option<&BTreeMap<String, String>> {
    let named = spec.type_.as_deref() == Some("ExternalName");
    let selector = spec.selector.as_ref().filter(|s| !s.is_empty());
    selector.filter(|_| !named)
}

fn matches(selector: &BTreeMap<String, String>, object: &Stored) -> bool {
    let Some(labels) = &object.meta().labels else {
        return false;
    };
    selector.iter().all(|(k, v)| labels.get(k) == Some(v))
}

/// The pods of a namespace that a selector matches, in the order of their names.
pub(crate) fn selected(
    view: &dyn View,
    namespace: &str,
    selector: &BTreeMap<String, String>,
) -> Vec<Arc<Pod>> {
    view.scan(&Resource::PODS, Some(namespace), None)
        .filter(|pod| matches(selector, pod))
        .filter_map(|pod| pod.typed::<Pod>().ok())
        .collect()
}

/// The pod's address, while it has one and has not ended.
pub(crate) fn address(pod: &Pod) -> Option<Ipv4Addr> {
    if pods::is_finished(pod) {
        return None;
    }
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|p| p.ip.as_str());
    let mut all = all.chain(status.pod_ip.as_deref());
    all.find_map(|text| match text.parse() {
        Ok(IpAddr::V4(address)) => Some(address),
        _ => None,
    })
}

/// The port of the pod that a port of the service stands for; `None` when the pod has no port of
/// that name.
pub(crate) fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let name = match &port.target_port {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let spec = pod.spec.as_ref()?;
    // Sidecars run as long as the pod does.
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = |c: &Container| c.ports.clone().unwrap_or_default();
    let mut ports = spec.containers.iter().chain(sidecars).flat_map(ports);
    let found = ports.find(|p| {
        p.name.as_deref() == Some(name.as_str())
            && p.protocol.as_deref().unwrap_or("TCP") == protocol
    });
    found.map(|p| p.container_port)
}

/// The pod's own name under the service, when it has one.
pub(crate) fn hostname(pod: &Pod, service: &str) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let below = spec.subdomain.as_deref() == Some(service);
    let name = spec.hostname.clone().filter(|h| !h.is_empty());
    name.filter(|_| below)
}

/// Which pod it is.
pub(crate) fn target(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_string()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The zone that a node says it is in.
pub(crate) fn zone(node: &Stored) -> Option<String> {
    let labels = node.meta().labels.as_ref()?;
    labels.get(ZONE_LABEL).filter(|z| !z.is_empty()).cloned()
}

/// The services that a change of a pod concerns.
pub(crate) fn services_of(
    view: &dyn View,
    pod: &Stored,
    previous: Option<&Stored>,
    removed: bool,
) -> Vec<ObjectKey> {
    let before = previous.filter(|_| !removed);
    if before.is_some_and(|before| is_same(pod, before)) {
        return Vec::new();
    }
    let of = |stored: &Stored| {
        let service = stored.typed::<Service>().ok()?;
        let selector = selector(service.spec.as_ref()?)?;
        let concerned = matches(selector, pod) || before.is_some_and(|b| matches(selector, b));
        concerned.then(|| stored.key.clone())
    };
    let services = view.scan(&Resource::SERVICES, Some(&pod.key.namespace), None);
    services.filter_map(|s| of(s)).collect()
}

/// Whether services cannot tell the two forms of a pod apart.
fn is_same(now: &Stored, before: &Stored) -> bool {
    let (Ok(now), Ok(before)) = (now.typed::<Pod>(), before.typed::<Pod>()) else {
        return false;
    };
    let state = |pod: &Pod| {
        (
            address(pod),
            pods::is_ready(pod),
            pod.metadata.deletion_timestamp.is_some(),
        )
    };
    state(&now) == state(&before)
        && now.metadata.labels == before.metadata.labels
        && pods::node_name(&now) == pods::node_name(&before)
        && now.metadata.uid == before.metadata.uid
}

/// The services that a change of a node concerns: its pods are elsewhere than they were.
pub(crate) fn services_on(
    view: &dyn View,
    node: &Stored,
    previous: Option<&Stored>,
) -> Vec<ObjectKey> {
    if previous.is_some_and(|p| zone(p) == zone(node)) {
        return Vec::new();
    }
    let pods = view.indexed(Index::Node, &node.key.name);
    let keys = pods.flat_map(|pod| services_of(view, pod, None, false));
    let mut keys: Vec<ObjectKey> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
