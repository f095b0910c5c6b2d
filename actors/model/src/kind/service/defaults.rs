//! What Kubernetes documents as defaults of a service.

use super::{HEADLESS, is_headless, service_type};
use crate::allocation::has_address;
use k8s_openapi::api::core::v1::{
    ClientIPConfig, Service, ServicePort, ServiceSpec, SessionAffinityConfig,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// How long a client stays with its endpoint: three hours.
const AFFINITY_S: i32 = 10_800;

fn text(value: &mut Option<String>, default: &str) {
    if value.as_deref().unwrap_or_default().is_empty() {
        *value = Some(default.to_string());
    }
}

/// Removes a text that says nothing.
fn blank(value: &mut Option<String>) {
    if value.as_deref() == Some("") {
        *value = None;
    }
}

pub(super) fn apply(object: &mut Service) {
    let spec = object.spec.get_or_insert_default();
    text(&mut spec.type_, "ClusterIP");
    text(&mut spec.session_affinity, "None");
    blank(&mut spec.external_name);
    blank(&mut spec.load_balancer_ip);
    blank(&mut spec.external_traffic_policy);
    if spec.health_check_node_port == Some(0) {
        spec.health_check_node_port = None;
    }
    affinity(spec);
    spec.ports.iter_mut().flatten().for_each(port);
    if is_reached_from_outside(spec) {
        text(&mut spec.external_traffic_policy, "Cluster");
    }
    if has_address(service_type(spec)) {
        text(&mut spec.internal_traffic_policy, "Cluster");
    }
    if service_type(spec) == "LoadBalancer" {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
    let status = object
        .status
        .as_mut()
        .and_then(|s| s.load_balancer.as_mut());
    let ingress = status.and_then(|b| b.ingress.as_mut());
    for place in ingress.into_iter().flatten() {
        if place.ip.as_deref().is_some_and(|ip| !ip.is_empty()) {
            text(&mut place.ip_mode, "VIP");
        }
    }
}

fn affinity(spec: &mut ServiceSpec) {
    match spec.session_affinity.as_deref() {
        Some("None") => spec.session_affinity_config = None,
        Some("ClientIP") => {
            let config: &mut SessionAffinityConfig =
                spec.session_affinity_config.get_or_insert_default();
            let client: &mut ClientIPConfig = config.client_ip.get_or_insert_default();
            client.timeout_seconds.get_or_insert(AFFINITY_S);
        }
        _ => {}
    }
}

fn port(port: &mut ServicePort) {
    text(&mut port.protocol, "TCP");
    blank(&mut port.name);
    if port.node_port == Some(0) {
        port.node_port = None;
    }
    let unset = match &port.target_port {
        None | Some(IntOrString::Int(0)) => true,
        Some(IntOrString::String(name)) => name.is_empty(),
        Some(IntOrString::Int(_)) => false,
    };
    if unset {
        port.target_port = Some(IntOrString::Int(port.port));
    }
}

/// Whether traffic from outside of the cluster can reach the service.
pub(super) fn is_reached_from_outside(spec: &ServiceSpec) -> bool {
    match service_type(spec) {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => spec.external_ips.as_ref().is_some_and(|e| !e.is_empty()),
        _ => false,
    }
}

/// Whether ports of the nodes are given to ports of the service that ask for none.
pub fn allocates_node_ports(spec: &ServiceSpec) -> bool {
    match service_type(spec) {
        "NodePort" => true,
        "LoadBalancer" => spec.allocate_load_balancer_node_ports.unwrap_or(true),
        _ => false,
    }
}

/// Whether every node says on a port of its own how many endpoints it has.
pub fn needs_health_check_port(spec: &ServiceSpec) -> bool {
    service_type(spec) == "LoadBalancer" && spec.external_traffic_policy.as_deref() == Some("Local")
}

/// Keeps `clusterIP` and `clusterIPs` in step for clients that write only the former.
pub(super) fn single_and_plural(spec: &mut ServiceSpec, old: Option<&ServiceSpec>) {
    blank(&mut spec.cluster_ip);
    if spec.cluster_ips.as_ref().is_some_and(Vec::is_empty) {
        spec.cluster_ips = None;
    }
    let Some(old) = old else {
        if spec.cluster_ips.is_none() {
            spec.cluster_ips = spec.cluster_ip.clone().map(|ip| vec![ip]);
        }
        return;
    };
    if spec.cluster_ip != old.cluster_ip && spec.cluster_ips == old.cluster_ips {
        // The client knows only the one field, and the other came along with what it had read.
        spec.cluster_ips = spec.cluster_ip.clone().map(|ip| vec![ip]);
    } else if spec.cluster_ips.is_none() {
        spec.cluster_ips = spec.cluster_ip.clone().map(|ip| vec![ip]);
    }
}

/// The address families, where nothing is said: those of a cluster of one family.
pub(super) fn families(spec: &mut ServiceSpec) {
    blank(&mut spec.ip_family_policy);
    if spec.ip_families.as_ref().is_some_and(Vec::is_empty) {
        spec.ip_families = None;
    }
    if !has_address(service_type(spec)) {
        return;
    }
    spec.ip_family_policy
        .get_or_insert_with(|| "SingleStack".to_string());
    if spec.ip_families.is_none() {
        let first = spec.cluster_ips.as_ref().and_then(|c| c.first());
        let family = match first.filter(|f| *f != HEADLESS) {
            Some(address) if address.contains(':') => "IPv6",
            _ => "IPv4",
        };
        spec.ip_families = Some(vec![family.to_string()]);
    }
    if is_headless(spec) && spec.cluster_ips.is_none() {
        spec.cluster_ips = Some(vec![HEADLESS.to_string()]);
    }
}
