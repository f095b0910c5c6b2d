//! `v1` `Endpoints`: the older form of a service's endpoints (Kubernetes, "Endpoints"). New
//! programs read EndpointSlices; each of the two is kept in step with the other.

use super::address::{check_app_protocol, check_endpoint, check_port, check_protocol};
use super::path::Path;
use super::rules::{Column, KindRules, Names};
use crate::printing;
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints};
use k8s_openapi::jiff::Timestamp;

/// How many `address:port` a row shows.
const SHOWN: usize = 3;

pub(super) struct EndpointsRules;

impl KindRules for EndpointsRules {
    type Object = Endpoints;

    const NAMES: Names = Names {
        kind: "Endpoints",
        plural: "endpoints",
        singular: "endpoints",
        short: &["ep"],
        categories: &[],
        group: "",
        version: "v1",
        namespaced: true,
    };

    fn default(object: &mut Endpoints) {
        let subsets = object.subsets.iter_mut().flatten();
        for port in subsets.flat_map(|s| s.ports.iter_mut().flatten()) {
            port.protocol.get_or_insert_with(|| "TCP".to_string());
        }
    }

    fn validate(object: &Endpoints) -> Vec<Cause> {
        let mut causes = Vec::new();
        let path = Path::Root("subsets");
        for (index, subset) in object.subsets.iter().flatten().enumerate() {
            check_subset(subset, &path.index(index), &mut causes);
        }
        causes
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::new("NAME"),
            Column::new("ENDPOINTS"),
            Column::new("AGE"),
        ];
        COLUMNS
    }

    fn row(object: &Endpoints, now: Timestamp) -> Vec<String> {
        let all: Vec<String> = object.subsets.iter().flatten().flat_map(pairs).collect();
        let cell = match all.len() {
            0 => printing::NONE.to_string(),
            count => shorten(&all, count),
        };
        vec![
            printing::name(&object.metadata),
            cell,
            printing::creation_age(&object.metadata, now),
        ]
    }
}

/// The first few of a list, and how many there are besides.
pub(super) fn shorten(all: &[String], count: usize) -> String {
    let shown = all
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(",");
    match count > SHOWN {
        true => format!("{shown} + {} more...", count - SHOWN),
        false => shown,
    }
}

/// Each port of each ready address.
fn pairs(subset: &EndpointSubset) -> Vec<String> {
    let addresses = subset.addresses.as_deref().unwrap_or_default();
    match subset.ports.as_deref().unwrap_or_default() {
        [] => addresses.iter().map(|a| a.ip.clone()).collect(),
        ports => ports
            .iter()
            .flat_map(|p| addresses.iter().map(|a| joined(&a.ip, p.port)))
            .collect(),
    }
}

fn joined(address: &str, port: i32) -> String {
    match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    }
}

fn check_subset(subset: &EndpointSubset, path: &Path, causes: &mut Vec<Cause>) {
    let lists = [
        ("addresses", &subset.addresses),
        ("notReadyAddresses", &subset.not_ready_addresses),
    ];
    if lists
        .iter()
        .all(|(_, l)| l.as_ref().is_none_or(Vec::is_empty))
    {
        let why = "must specify `addresses` or `notReadyAddresses`";
        causes.push(Cause::required(path, why));
    }
    for (field, list) in lists {
        let path = path.child(field);
        for (index, address) in list.iter().flatten().enumerate() {
            check_address(address, &path.index(index), causes);
        }
    }
    let ports = subset.ports.as_deref().unwrap_or_default();
    let path = path.child("ports");
    for (index, port) in ports.iter().enumerate() {
        check_endpoint_port(port, ports.len() > 1, &path.index(index), causes);
    }
}

fn check_address(address: &EndpointAddress, path: &Path, causes: &mut Vec<Cause>) {
    check_endpoint(&address.ip, &path.child("ip"), causes);
    if let Some(name) = address.hostname.as_deref().filter(|n| !n.is_empty()) {
        path.child("hostname")
            .check(name, syntax::dns_label(name), causes);
    }
    if let Some(name) = &address.node_name {
        path.child("nodeName")
            .check(name, syntax::dns_subdomain(name), causes);
    }
}

fn check_endpoint_port(port: &EndpointPort, named: bool, path: &Path, causes: &mut Vec<Cause>) {
    match port.name.as_deref().unwrap_or_default() {
        "" if named => causes.push(Cause::required(path.child("name"), "")),
        "" => {}
        name => path
            .child("name")
            .check(name, syntax::dns_label(name), causes),
    }
    check_port(port.port, &path.child("port"), causes);
    check_protocol(port.protocol.as_deref(), &path.child("protocol"), causes);
    let path = path.child("appProtocol");
    check_app_protocol(port.app_protocol.as_deref(), &path, causes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(subsets: Value) -> Endpoints {
        let value = json!({"metadata": {"name": "web"}, "subsets": subsets});
        let mut object = serde_json::from_value(value).expect("decodes");
        EndpointsRules::default(&mut object);
        object
    }

    #[test]
    fn the_row_shows_three_endpoints() {
        let row = |subsets| EndpointsRules::row(&object(subsets), Timestamp::UNIX_EPOCH);
        assert_eq!(row(json!([])), ["web", "<none>", "<unknown>"]);
        let addresses = json!([{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]);
        let ports = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
        let both = row(json!([{"addresses": addresses, "ports": ports}]));
        assert_eq!(both[1], "10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more...");
        let bare = row(json!([{"addresses": [{"ip": "10.0.0.1"}]}]));
        assert_eq!(bare[1], "10.0.0.1");
    }

    #[test]
    fn every_fault_is_named() {
        let good = object(json!([{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]));
        assert!(EndpointsRules::validate(&good).is_empty());
        let bad = object(json!([
            {"ports": [{"port": 0}, {"name": "A", "port": 1, "protocol": "X"}]},
            {"addresses": [{"ip": "127.0.0.1", "hostname": "A", "nodeName": "_"}]},
        ]));
        let causes = EndpointsRules::validate(&bad);
        let fields: Vec<&str> = causes.iter().map(|c| c.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "subsets[0]",
                "subsets[0].ports[0].name",
                "subsets[0].ports[0].port",
                "subsets[0].ports[1].name",
                "subsets[0].ports[1].protocol",
                "subsets[1].addresses[0].ip",
                "subsets[1].addresses[0].hostname",
                "subsets[1].addresses[0].nodeName",
            ]
        );
    }
}
