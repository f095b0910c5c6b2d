//! Everything that can be wrong with a service (Kubernetes, API reference of `ServiceSpec`).

mod addresses;
mod ports;
mod status;

pub(super) use status::check as status;

use super::super::path::Path;
use super::super::validate_labels;
use super::defaults::is_reached_from_outside;
use super::{is_headless, needs_health_check_port, service_type};
use crate::allocation::has_address;
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const POLICIES: &[&str] = &["Cluster", "Local"];
const DISTRIBUTIONS: &[&str] = &["PreferClose", "PreferSameNode", "PreferSameZone"];
/// The older form of `loadBalancerSourceRanges`.
const RANGES_ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
/// A day; what Kubernetes bounds session affinity by.
const MOST_AFFINITY_S: i32 = 86_400;

pub(super) fn all(object: &Service) -> Vec<Cause> {
    let mut causes = Vec::new();
    let Some(spec) = &object.spec else {
        causes.push(Cause::required("spec", ""));
        return causes;
    };
    let path = Path::Root("spec");
    path.child("type")
        .one_of(spec.type_.as_deref(), TYPES, &mut causes);
    of_type(spec, &path, &mut causes);
    ports::check(spec, &path, &mut causes);
    let at = path.child("selector");
    validate_labels(spec.selector.as_ref(), &at, &mut causes);
    affinity(spec, &path, &mut causes);
    addresses::check(spec, &path, &mut causes);
    balancer(object, spec, &path, &mut causes);
    policies(spec, &path, &mut causes);
    causes
}

fn of_type(spec: &ServiceSpec, path: &Path, causes: &mut Vec<Cause>) {
    match service_type(spec) {
        "ExternalName" => {
            let unused = [
                ("clusterIPs", spec.cluster_ips.is_some()),
                ("ipFamilies", spec.ip_families.is_some()),
                ("ipFamilyPolicy", spec.ip_family_policy.is_some()),
            ];
            for (field, _) in unused.iter().filter(|(_, given)| *given) {
                let why = "may not be set for ExternalName services";
                causes.push(Cause::forbidden(path.child(field), why));
            }
            let at = path.child("externalName");
            match spec.external_name.as_deref().unwrap_or_default() {
                "" => causes.push(Cause::required(at, "")),
                name => {
                    let plain = name.strip_suffix('.').unwrap_or(name);
                    at.check(name, syntax::dns_subdomain(plain), causes);
                }
            }
        }
        outside @ ("NodePort" | "LoadBalancer") if is_headless(spec) => {
            let why = format!("may not be set to 'None' for {outside} services");
            let shown = spec.cluster_ips.as_deref().unwrap_or_default();
            causes.push(Cause::invalid("spec.clusterIPs[0]", shown, &why));
        }
        _ => {}
    }
}

fn affinity(spec: &ServiceSpec, path: &Path, causes: &mut Vec<Cause>) {
    let affinity = spec.session_affinity.as_deref();
    path.child("sessionAffinity")
        .one_of(affinity, &["ClientIP", "None"], causes);
    let path = path.child("sessionAffinityConfig");
    let config = spec.session_affinity_config.as_ref();
    if affinity != Some("ClientIP") {
        if config.is_some() {
            let why = format!(
                "must not be set when session affinity is {}",
                affinity.unwrap_or("None")
            );
            causes.push(Cause::forbidden(path, &why));
        }
        return;
    }
    let client = config.and_then(|c| c.client_ip.as_ref());
    let path = path.child("clientIP");
    match client.map(|c| c.timeout_seconds) {
        None => causes.push(Cause::required(
            path,
            "when session affinity type is ClientIP",
        )),
        Some(None) => causes.push(Cause::required(
            path.child("timeoutSeconds"),
            "when session affinity type is ClientIP",
        )),
        Some(Some(seconds)) if !(1..=MOST_AFFINITY_S).contains(&seconds) => {
            let why = format!("must be greater than 0 and less than {MOST_AFFINITY_S}");
            causes.push(Cause::invalid(path.child("timeoutSeconds"), seconds, &why));
        }
        Some(Some(_)) => {}
    }
}

fn balancer(object: &Service, spec: &ServiceSpec, path: &Path, causes: &mut Vec<Cause>) {
    let only = "may only be used when `type` is 'LoadBalancer'";
    let balances = service_type(spec) == "LoadBalancer";
    addresses::source_ranges(spec, balances, path, causes);
    let annotations = object.metadata.annotations.as_ref();
    if let Some(text) = annotations.and_then(|a| a.get(RANGES_ANNOTATION)) {
        let field = format!("metadata.annotations[{RANGES_ANNOTATION}]");
        match balances {
            true => addresses::annotated_ranges(text, &field, causes),
            false => causes.push(Cause::forbidden(field, only)),
        }
    }
    if spec.allocate_load_balancer_node_ports.is_some() && !balances {
        let at = path.child("allocateLoadBalancerNodePorts");
        causes.push(Cause::forbidden(at, only));
    }
    if let Some(class) = &spec.load_balancer_class {
        let at = path.child("loadBalancerClass");
        match balances {
            true => at.check(class, syntax::qualified_name(class), causes),
            false => causes.push(Cause::forbidden(at, only)),
        }
    }
}

fn policies(spec: &ServiceSpec, path: &Path, causes: &mut Vec<Cause>) {
    let at = path.child("externalTrafficPolicy");
    let external = spec.external_traffic_policy.as_deref();
    match is_reached_from_outside(spec) {
        true => at.one_of(external, POLICIES, causes),
        false => {
            if let Some(policy) = external {
                let why = "may only be set for externally-accessible services";
                causes.push(Cause::invalid(at, policy, why));
            }
        }
    }
    let at = path.child("internalTrafficPolicy");
    if let Some(policy) = spec.internal_traffic_policy.as_deref() {
        at.one_of(Some(policy), POLICIES, causes);
    } else if has_address(service_type(spec)) {
        causes.push(Cause::required(at, ""));
    }
    if let Some(distribution) = spec.traffic_distribution.as_deref() {
        let at = path.child("trafficDistribution");
        if !DISTRIBUTIONS.contains(&distribution) {
            causes.push(Cause::unsupported(at, distribution, DISTRIBUTIONS));
        }
    }
    let at = path.child("healthCheckNodePort");
    match spec.health_check_node_port {
        None | Some(0) => {}
        Some(port) if needs_health_check_port(spec) => {
            super::super::address::check_port(port, &at, causes);
        }
        Some(port) => {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            causes.push(Cause::invalid(at, port, why));
        }
    }
}
