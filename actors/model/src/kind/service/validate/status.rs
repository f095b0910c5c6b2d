//! `status.loadBalancer`.

use super::super::super::address::{NO_ADDRESS, check_port, check_protocol};
use super::super::super::path::Path;
use super::super::service_type;
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service};
use std::net::IpAddr;

pub(in super::super) fn check(object: &Service) -> Vec<Cause> {
    let mut causes = Vec::new();
    let status = object.status.as_ref();
    let balancer = status.and_then(|s| s.load_balancer.as_ref());
    let ingress = balancer.and_then(|b| b.ingress.as_deref());
    let ingress = ingress.unwrap_or_default();
    let path = Path::Root("status.loadBalancer.ingress");
    let balances = object.spec.as_ref().map(service_type) == Some("LoadBalancer");
    if !ingress.is_empty() && !balances {
        let why = "may only be used when `spec.type` is \"LoadBalancer\"";
        causes.push(Cause::forbidden(path, why));
        return causes;
    }
    for (index, place) in ingress.iter().enumerate() {
        check_place(place, &path.index(index), &mut causes);
    }
    causes
}

fn check_place(place: &LoadBalancerIngress, path: &Path, causes: &mut Vec<Cause>) {
    let ip = place.ip.as_deref().filter(|i| !i.is_empty());
    if let Some(ip) = ip
        && ip.parse::<IpAddr>().is_err()
    {
        causes.push(Cause::invalid(path.child("ip"), ip, NO_ADDRESS));
    }
    if let Some(mode) = place.ip_mode.as_deref() {
        let at = path.child("ipMode");
        match ip {
            None => {
                let why = "may not be specified when `ip` is not set";
                causes.push(Cause::forbidden(at, why));
            }
            Some(_) => at.one_of(Some(mode), &["Proxy", "VIP"], causes),
        }
    }
    if let Some(name) = place.hostname.as_deref().filter(|h| !h.is_empty()) {
        let at = path.child("hostname");
        at.check(name, syntax::dns_subdomain(name), causes);
        if name.parse::<IpAddr>().is_ok() {
            let why = "must be a DNS name, not an IP address";
            causes.push(Cause::invalid(at, name, why));
        }
    }
    let path = path.child("ports");
    for (index, port) in place.ports.iter().flatten().enumerate() {
        let path = path.index(index);
        check_port(port.port, &path.child("port"), causes);
        check_protocol(Some(&port.protocol), &path.child("protocol"), causes);
        if let Some(error) = &port.error {
            let at = path.child("error");
            at.check(error, syntax::qualified_name(error), causes);
        }
    }
}
