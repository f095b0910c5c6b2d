//! The row of a service's table, as `kubectl` prints it.

use super::super::rules::Column;
use super::service_type;
use crate::printing;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeSet;

pub(super) const COLUMNS: &[Column] = &[
    Column::new("NAME"),
    Column::new("TYPE"),
    Column::new("CLUSTER-IP"),
    Column::new("EXTERNAL-IP"),
    Column::new("PORT(S)"),
    Column::new("AGE"),
    Column::wide("SELECTOR"),
];

pub(super) fn cells(object: &Service, now: Timestamp) -> Vec<String> {
    let default = ServiceSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&default);
    let address = spec.cluster_ips.as_ref().and_then(|c| c.first());
    vec![
        printing::name(&object.metadata),
        service_type(spec).to_string(),
        address.map_or_else(|| printing::NONE.to_string(), Clone::clone),
        external(object, spec),
        ports(spec),
        printing::creation_age(&object.metadata, now),
        printing::labels(spec.selector.as_ref()),
    ]
}

fn external(object: &Service, spec: &ServiceSpec) -> String {
    let given: Vec<&str> = spec.external_ips.iter().flatten().map(|i| &**i).collect();
    match service_type(spec) {
        "ExternalName" => spec.external_name.clone().unwrap_or_default(),
        "LoadBalancer" => {
            let mut all: Vec<&str> = ingress(object).into_iter().collect();
            all.extend(given);
            match all.is_empty() {
                true => "<pending>".to_string(),
                false => all.join(","),
            }
        }
        _ => printing::list(given),
    }
}

/// Where the load balancer listens.
fn ingress(object: &Service) -> BTreeSet<&str> {
    let status = object.status.as_ref();
    let balancer = status.and_then(|s| s.load_balancer.as_ref());
    let ingress = balancer.and_then(|b| b.ingress.as_deref());
    let places = ingress.unwrap_or_default().iter();
    let set = |text: &'_ Option<String>| text.as_ref().is_some_and(|t| !t.is_empty());
    places
        .filter_map(|i| match set(&i.ip) {
            true => i.ip.as_deref(),
            false => i.hostname.as_deref().filter(|h| !h.is_empty()),
        })
        .collect()
}

fn ports(spec: &ServiceSpec) -> String {
    let shown: Vec<String> = spec
        .ports
        .iter()
        .flatten()
        .map(|p| {
            let protocol = p.protocol.as_deref().unwrap_or("TCP");
            match p.node_port.filter(|n| *n > 0) {
                Some(node) => format!("{}:{node}/{protocol}", p.port),
                None => format!("{}/{protocol}", p.port),
            }
        })
        .collect();
    printing::list(shown.iter().map(String::as_str))
}
