//! What an update of a service carries over, lets go of, and may not change.

use super::super::workload::IMMUTABLE;
use super::defaults;
use super::{allocates_node_ports, needs_health_check_port, service_type};
use crate::allocation::{has_address, has_node_ports};
use crate::status::Cause;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn prepare(new: &mut Service, old: &Service) {
    let default = ServiceSpec::default();
    let old = old.spec.as_ref().unwrap_or(&default);
    let spec = new.spec.get_or_insert_default();
    carry_over(spec, old);
    defaults::single_and_plural(spec, Some(old));
    let_go(spec, old);
    defaults::families(spec);
    if service_type(spec) != "LoadBalancer"
        && let Some(status) = &mut new.status
    {
        status.load_balancer = Some(Default::default());
    }
}

/// What was given to the service, and a client that writes its own manifest again does not say.
fn carry_over(new: &mut ServiceSpec, old: &ServiceSpec) {
    let blank = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
    let (type_now, type_before) = (service_type(new), service_type(old));
    if has_address(type_now) && has_address(type_before) {
        if blank(&new.cluster_ip) {
            new.cluster_ip.clone_from(&old.cluster_ip);
        }
        if new.cluster_ips.as_ref().is_none_or(Vec::is_empty) && new.cluster_ip == old.cluster_ip {
            new.cluster_ips.clone_from(&old.cluster_ips);
        }
    }
    if allocates_node_ports(new) && has_node_ports(service_type(old)) {
        carry_over_ports(new, old);
    }
    if needs_health_check_port(new) && needs_health_check_port(old) {
        let port = new.health_check_node_port.filter(|p| *p != 0);
        new.health_check_node_port = port.or(old.health_check_node_port);
    }
}

/// Ports keep the node ports that they had under their names, unless another port has taken one.
fn carry_over_ports(new: &mut ServiceSpec, old: &ServiceSpec) {
    let taken = |spec: &ServiceSpec| -> BTreeSet<i32> {
        let ports = spec.ports.iter().flatten();
        ports
            .filter_map(|p| p.node_port.filter(|n| *n != 0))
            .collect()
    };
    let mut used: BTreeSet<i32> = taken(new).intersection(&taken(old)).copied().collect();
    let had: BTreeMap<&Option<String>, i32> = old
        .ports
        .iter()
        .flatten()
        .filter_map(|p| Some((&p.name, p.node_port.filter(|n| *n != 0)?)))
        .collect();
    for port in new.ports.iter_mut().flatten() {
        if port.node_port.is_none_or(|n| n == 0)
            && let Some(node_port) = had.get(&port.name)
            && used.insert(*node_port)
        {
            port.node_port = Some(*node_port);
        }
    }
}

/// What only the former type needed, where the client left it as it was.
fn let_go(new: &mut ServiceSpec, old: &ServiceSpec) {
    let (type_now, type_before) = (service_type(new), service_type(old));
    if has_address(type_before) && !has_address(type_now) {
        let same = new.cluster_ip == old.cluster_ip && new.cluster_ips == old.cluster_ips;
        if same {
            new.cluster_ip = None;
            new.cluster_ips = None;
        }
        drop_same(&mut new.ip_families, &old.ip_families);
        drop_same(&mut new.ip_family_policy, &old.ip_family_policy);
    }
    let type_now = service_type(new);
    if has_node_ports(type_before) && !has_node_ports(type_now) {
        let numbers = |spec: &ServiceSpec| -> BTreeSet<i32> {
            let ports = spec.ports.iter().flatten();
            ports
                .filter_map(|p| p.node_port.filter(|n| *n != 0))
                .collect()
        };
        if numbers(new).is_subset(&numbers(old)) {
            let ports = new.ports.iter_mut().flatten();
            ports.for_each(|p| p.node_port = None);
        }
    }
    if needs_health_check_port(old) && !needs_health_check_port(new) {
        drop_same(&mut new.health_check_node_port, &old.health_check_node_port);
    }
    if type_before == "LoadBalancer" && service_type(new) != "LoadBalancer" {
        drop_same(
            &mut new.allocate_load_balancer_node_ports,
            &old.allocate_load_balancer_node_ports,
        );
        drop_same(&mut new.load_balancer_class, &old.load_balancer_class);
    }
    let outside = defaults::is_reached_from_outside;
    if outside(old) && !outside(new) {
        drop_same(
            &mut new.external_traffic_policy,
            &old.external_traffic_policy,
        );
    }
}

fn drop_same<T: PartialEq>(new: &mut Option<T>, old: &Option<T>) {
    if new == old {
        *new = None;
    }
}

pub(super) fn validate(new: &Service, old: &Service) -> Vec<Cause> {
    let mut causes = Vec::new();
    let default = ServiceSpec::default();
    let (new, old) = (
        new.spec.as_ref().unwrap_or(&default),
        old.spec.as_ref().unwrap_or(&default),
    );
    let (type_now, type_before) = (service_type(new), service_type(old));
    if has_address(type_now) && has_address(type_before) {
        let first = |list: &Option<Vec<String>>| list.as_ref().and_then(|l| l.first().cloned());
        let (now, before) = (first(&new.cluster_ips), first(&old.cluster_ips));
        let shown = new.cluster_ips.as_deref().unwrap_or_default();
        match (now, before) {
            (None, Some(_)) => causes.push(Cause::invalid(
                "spec.clusterIPs[0]",
                shown,
                "primary clusterIP can not be unset",
            )),
            (Some(now), Some(before)) if now != before => causes.push(Cause::invalid(
                "spec.clusterIPs[0]",
                shown,
                "may not change once set",
            )),
            _ => {}
        }
        if first(&new.ip_families) != first(&old.ip_families) && old.ip_families.is_some() {
            let shown = new.ip_families.as_deref().unwrap_or_default();
            let why = "may not change once set";
            causes.push(Cause::invalid("spec.ipFamilies[0]", shown, why));
        }
    }
    if type_now == "LoadBalancer"
        && type_before == "LoadBalancer"
        && new.load_balancer_class != old.load_balancer_class
    {
        let class = &new.load_balancer_class;
        causes.push(Cause::invalid("spec.loadBalancerClass", class, IMMUTABLE));
    }
    causes
}
