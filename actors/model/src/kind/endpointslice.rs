//! `discovery.k8s.io/v1` `EndpointSlice` (Kubernetes, "EndpointSlices").

use super::address::{NO_ADDRESS, check_app_protocol, check_endpoint, check_port, check_protocol};
use super::endpoints::shorten;
use super::path::Path;
use super::rules::{Column, KindRules, Names};
use super::workload::IMMUTABLE;
use crate::printing;
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, EndpointPort, EndpointSlice};
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeSet;
use std::net::IpAddr;

const ADDRESS_TYPES: &[&str] = &["FQDN", "IPv4", "IPv6"];
const MOST_ENDPOINTS: usize = 1000;
const MOST_ADDRESSES: usize = 100;
const MOST_PORTS: usize = 20_000;
const MOST_HINTS: usize = 8;

pub(super) struct EndpointSliceRules;

impl KindRules for EndpointSliceRules {
    type Object = EndpointSlice;

    const NAMES: Names = Names {
        kind: "EndpointSlice",
        plural: "endpointslices",
        singular: "endpointslice",
        short: &[],
        categories: &[],
        group: "discovery.k8s.io",
        version: "v1",
        namespaced: true,
    };
    const HAS_GENERATION: bool = true;

    fn default(object: &mut EndpointSlice) {
        for port in object.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            port.protocol.get_or_insert_with(|| "TCP".to_string());
        }
    }

    fn validate(object: &EndpointSlice) -> Vec<Cause> {
        let mut causes = Vec::new();
        let path = Path::Root("addressType");
        path.one_of(Some(&object.address_type), ADDRESS_TYPES, &mut causes);
        let endpoints = object.endpoints.as_deref().unwrap_or_default();
        let path = Path::Root("endpoints");
        if endpoints.len() > MOST_ENDPOINTS {
            causes.push(too_many(&path, endpoints.len(), MOST_ENDPOINTS));
        } else {
            for (index, endpoint) in endpoints.iter().enumerate() {
                let path = path.index(index);
                check_one(endpoint, &object.address_type, &path, &mut causes);
            }
        }
        check_ports(object.ports.as_deref().unwrap_or_default(), &mut causes);
        causes
    }

    fn validate_update(new: &EndpointSlice, old: &EndpointSlice) -> Vec<Cause> {
        match new.address_type == old.address_type {
            true => Vec::new(),
            false => vec![Cause::invalid("addressType", &new.address_type, IMMUTABLE)],
        }
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::new("NAME"),
            Column::new("ADDRESSTYPE"),
            Column::new("PORTS"),
            Column::new("ENDPOINTS"),
            Column::new("AGE"),
        ];
        COLUMNS
    }

    fn row(object: &EndpointSlice, now: Timestamp) -> Vec<String> {
        let ports = object.ports.iter().flatten().map(shown_port);
        let endpoints = object.endpoints.iter().flatten();
        let addresses = endpoints.flat_map(|e| e.addresses.iter().cloned());
        vec![
            printing::name(&object.metadata),
            object.address_type.clone(),
            cell(ports.collect()),
            cell(addresses.collect()),
            printing::creation_age(&object.metadata, now),
        ]
    }
}

fn cell(all: Vec<String>) -> String {
    match all.len() {
        0 => "<unset>".to_string(),
        count => shorten(&all, count),
    }
}

fn shown_port(port: &EndpointPort) -> String {
    match (port.port, &port.name) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) => name.clone(),
        (None, None) => "*".to_string(),
    }
}

fn too_many(path: &Path, count: usize, most: usize) -> Cause {
    let why = format!("must have at most {most} items");
    Cause {
        reason: crate::status::CauseReason::FieldValueTooMany,
        field: path.to_string(),
        message: format!("Too many: {count}: {why}"),
    }
}

fn check_one(endpoint: &Endpoint, address_type: &str, path: &Path, causes: &mut Vec<Cause>) {
    let at = path.child("addresses");
    match endpoint.addresses.len() {
        0 => causes.push(Cause::required(at, "must contain at least 1 address")),
        count if count > MOST_ADDRESSES => causes.push(too_many(&at, count, MOST_ADDRESSES)),
        _ => {
            for (index, address) in endpoint.addresses.iter().enumerate() {
                check_address(address, address_type, &at.index(index), causes);
            }
        }
    }
    if let Some(name) = &endpoint.node_name {
        path.child("nodeName")
            .check(name, syntax::dns_subdomain(name), causes);
    }
    if let Some(name) = &endpoint.hostname {
        path.child("hostname")
            .check(name, syntax::dns_label(name), causes);
    }
    let at = path.child("deprecatedTopology");
    super::validate_labels(endpoint.deprecated_topology.as_ref(), &at, causes);
    if let Some(hints) = &endpoint.hints {
        check_hints(hints, &path.child("hints"), causes);
    }
}

fn check_address(address: &str, address_type: &str, path: &Path, causes: &mut Vec<Cause>) {
    let parsed = address.parse::<IpAddr>().ok();
    match address_type {
        "FQDN" => path.check(address, fully_qualified(address), causes),
        "IPv4" if parsed.is_some_and(|a| a.is_ipv6()) => {
            causes.push(Cause::invalid(path, address, "must be an IPv4 address"));
        }
        "IPv6" if parsed.is_some_and(|a| a.is_ipv4()) => {
            causes.push(Cause::invalid(path, address, "must be an IPv6 address"));
        }
        "IPv4" | "IPv6" => check_endpoint(address, path, causes),
        // The type itself is refused.
        _ if parsed.is_none() => causes.push(Cause::invalid(path, address, NO_ADDRESS)),
        _ => {}
    }
}

fn fully_qualified(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if let Some(why) = syntax::dns_subdomain(name) {
        return Some(why);
    }
    let labels = name.split('.').count();
    (labels < 2).then(|| "should be a domain with at least two segments separated by dots".into())
}

fn check_hints(hints: &EndpointHints, path: &Path, causes: &mut Vec<Cause>) {
    let zones = hints.for_zones.iter().flatten().map(|z| z.name.as_str());
    let nodes = hints.for_nodes.iter().flatten().map(|n| n.name.as_str());
    for (field, names) in [
        ("forZones", zones.collect::<Vec<_>>()),
        ("forNodes", nodes.collect()),
    ] {
        let path = path.child(field);
        if names.len() > MOST_HINTS {
            causes.push(too_many(&path, names.len(), MOST_HINTS));
            continue;
        }
        let mut seen = BTreeSet::new();
        for (index, name) in names.into_iter().enumerate() {
            let path = path.index(index);
            let path = path.child("name");
            match name {
                "" => causes.push(Cause::required(path, "")),
                name if !seen.insert(name) => causes.push(Cause::duplicate(path, name)),
                name => path.check(name, syntax::label_value(name), causes),
            }
        }
    }
}

fn check_ports(ports: &[EndpointPort], causes: &mut Vec<Cause>) {
    let path = Path::Root("ports");
    if ports.len() > MOST_PORTS {
        return causes.push(too_many(&path, ports.len(), MOST_PORTS));
    }
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = port.name.as_deref().unwrap_or_default();
        if !name.is_empty() {
            path.child("name")
                .check(name, syntax::dns_label(name), causes);
        }
        if !names.insert(name) {
            causes.push(Cause::duplicate(path.child("name"), name));
        }
        check_protocol(port.protocol.as_deref(), &path.child("protocol"), causes);
        if let Some(number) = port.port {
            check_port(number, &path.child("port"), causes);
        }
        let at = path.child("appProtocol");
        check_app_protocol(port.app_protocol.as_deref(), &at, causes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(value: Value) -> EndpointSlice {
        let mut value = value;
        value["metadata"] = json!({"name": "web-x"});
        let mut object = serde_json::from_value(value).expect("decodes");
        EndpointSliceRules::default(&mut object);
        object
    }

    fn faults(value: Value) -> Vec<String> {
        let causes = EndpointSliceRules::validate(&object(value));
        causes.into_iter().map(|c| c.field).collect()
    }

    #[test]
    fn the_row_is_kubectls() {
        let row = |value| EndpointSliceRules::row(&object(value), Timestamp::UNIX_EPOCH);
        let endpoints: Vec<Value> = (1..6)
            .map(|n| json!({"addresses": [format!("10.0.0.{n}")]}))
            .collect();
        let full = row(json!({
            "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"port": 80}, {"name": "b"}],
        }));
        assert_eq!(
            full,
            [
                "web-x",
                "IPv4",
                "80,b",
                "10.0.0.1,10.0.0.2,10.0.0.3 + 2 more...",
                "<unknown>"
            ]
        );
        let empty = row(json!({"addressType": "IPv4", "endpoints": []}));
        assert_eq!(empty[2..4], ["<unset>", "<unset>"]);
    }

    #[test]
    fn endpoints_are_of_the_slices_address_type() {
        let of = |kind: &str, address: &str| {
            faults(json!({"addressType": kind, "endpoints": [{"addresses": [address]}]}))
        };
        for (kind, good, bad) in [
            ("IPv4", "10.0.0.1", "fd00::1"),
            ("IPv6", "fd00::1", "10.0.0.1"),
            ("FQDN", "a.example", "example"),
        ] {
            assert!(of(kind, good).is_empty(), "{kind}");
            assert_eq!(of(kind, bad), ["endpoints[0].addresses[0]"], "{kind}");
        }
        assert_eq!(of("IP", "10.0.0.1"), ["addressType"]);
        let none = json!({"addressType": "IPv4", "endpoints": [{"addresses": []}]});
        assert_eq!(faults(none), ["endpoints[0].addresses"]);
    }

    #[test]
    fn a_slice_has_bounds_and_unique_names() {
        let many: Vec<Value> = (0..1001)
            .map(|_| json!({"addresses": ["10.0.0.1"]}))
            .collect();
        assert_eq!(
            faults(json!({"addressType": "IPv4", "endpoints": many})),
            ["endpoints"]
        );
        let twice = json!({
            "addressType": "IPv4", "endpoints": [{
                "addresses": ["10.0.0.1"], "hostname": "A",
                "hints": {"forZones": [{"name": "a"}, {"name": "a"}, {"name": ""}]},
            }],
            "ports": [{"port": 80}, {"port": 0}],
        });
        assert_eq!(
            faults(twice),
            [
                "endpoints[0].hostname",
                "endpoints[0].hints.forZones[1].name",
                "endpoints[0].hints.forZones[2].name",
                "ports[1].name",
                "ports[1].port",
            ]
        );
    }

    #[test]
    fn the_address_type_cannot_change() {
        let old = object(json!({"addressType": "IPv4", "endpoints": []}));
        let new = object(json!({"addressType": "IPv6", "endpoints": []}));
        assert_eq!(EndpointSliceRules::validate_update(&new, &old).len(), 1);
        assert!(EndpointSliceRules::validate_update(&old, &old).is_empty());
    }
}
