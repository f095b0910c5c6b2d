//! Addresses, their families, and ranges of clients.

use super::super::super::address::{NO_ADDRESS, NO_RANGE, check_endpoint, range};
use super::super::super::path::Path;
use super::super::{HEADLESS, service_type};
use crate::allocation::has_address;
use crate::status::Cause;
use k8s_openapi::api::core::v1::ServiceSpec;
use std::collections::BTreeSet;
use std::net::IpAddr;

const FAMILIES: &[&str] = &["IPv4", "IPv6"];
const POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];

pub(super) fn check(spec: &ServiceSpec, path: &Path, causes: &mut Vec<Cause>) {
    if has_address(service_type(spec)) {
        families(spec, path, causes);
        cluster_addresses(spec, path, causes);
    }
    let path = path.child("externalIPs");
    for (index, address) in spec.external_ips.iter().flatten().enumerate() {
        check_endpoint(address, &path.index(index), causes);
    }
}

/// The cluster has one family: IPv4.
fn families(spec: &ServiceSpec, path: &Path, causes: &mut Vec<Cause>) {
    let at = path.child("ipFamilies");
    let mut seen = BTreeSet::new();
    for (index, family) in spec.ip_families.iter().flatten().enumerate() {
        let at = at.index(index);
        match family.as_str() {
            family if !FAMILIES.contains(&family) => {
                causes.push(Cause::unsupported(at, family, FAMILIES));
            }
            family if !seen.insert(family) => causes.push(Cause::duplicate(at, family)),
            "IPv6" => causes.push(Cause::invalid(at, family, "not configured on this cluster")),
            _ => {}
        }
    }
    let at = path.child("ipFamilyPolicy");
    match spec.ip_family_policy.as_deref() {
        Some("RequireDualStack") => {
            let why = "this cluster is not configured for dual-stack services";
            causes.push(Cause::invalid(at, "RequireDualStack", why));
        }
        policy => at.one_of(policy, POLICIES, causes),
    }
}

fn cluster_addresses(spec: &ServiceSpec, path: &Path, causes: &mut Vec<Cause>) {
    let at = path.child("clusterIPs");
    let all = spec.cluster_ips.as_deref().unwrap_or_default();
    match (spec.cluster_ip.as_deref(), all.first()) {
        (None, Some(_)) => {
            let why = "must be empty when `clusterIP` is not specified";
            causes.push(Cause::invalid(at, all, why));
        }
        (Some(_), None) => causes.push(Cause::required(at, "")),
        (Some(one), Some(first)) if one != first => {
            causes.push(Cause::invalid(
                at,
                all,
                "first value must match `clusterIP`",
            ));
        }
        _ => {}
    }
    if all.len() > 1 && all.iter().any(|a| a == HEADLESS) {
        let why = "'None' must be the first and only value";
        return causes.push(Cause::invalid(at, all, why));
    }
    if all.len() > 2 {
        let why = "may only hold up to 2 values";
        return causes.push(Cause::invalid(at, all, why));
    }
    if all.len() > 1 {
        let why = "this cluster is not configured for dual-stack services";
        return causes.push(Cause::invalid(at, all, why));
    }
    for (index, text) in all.iter().enumerate().filter(|(_, a)| *a != HEADLESS) {
        let at = at.index(index);
        match text.parse::<IpAddr>() {
            Err(_) => causes.push(Cause::invalid(at, text, NO_ADDRESS)),
            Ok(IpAddr::V6(_)) => {
                causes.push(Cause::invalid(
                    at,
                    text,
                    "IPv6 is not configured on this cluster",
                ));
            }
            Ok(IpAddr::V4(_)) => {}
        }
    }
}

/// `spec.loadBalancerSourceRanges`
pub(super) fn source_ranges(
    spec: &ServiceSpec,
    balances: bool,
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    let given = spec.load_balancer_source_ranges.as_deref();
    let given = given.unwrap_or_default();
    let path = path.child("loadBalancerSourceRanges");
    if !given.is_empty() && !balances {
        let why = "may only be used when `type` is 'LoadBalancer'";
        return causes.push(Cause::forbidden(path, why));
    }
    for (index, text) in given.iter().enumerate() {
        // Kubernetes has always allowed spaces around these.
        if range(text.trim()).is_none() {
            causes.push(Cause::invalid(path.index(index), text, NO_RANGE));
        }
    }
}

/// The same, in the older form: separated by commas.
pub(super) fn annotated_ranges(text: &str, field: &str, causes: &mut Vec<Cause>) {
    let text = text.trim();
    if !text.is_empty() && !text.split(',').all(|r| range(r.trim()).is_some()) {
        let why = "must be a list of IP ranges. For example, 10.240.0.0/24,10.250.0.0/24";
        causes.push(Cause::invalid(field, text, why));
    }
}
