//! `spec.ports`.

use super::super::super::address::{
    check_app_protocol, check_port, check_port_name, check_protocol,
};
use super::super::super::path::Path;
use super::super::{is_headless, service_type};
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;
use std::collections::BTreeSet;

/// Where a node's own API answers in Kubernetes; nothing else may be there for the outside.
const NODE_API_PORT: i32 = 10250;

pub(super) fn check(spec: &ServiceSpec, path: &Path, causes: &mut Vec<Cause>) {
    let ports = spec.ports.as_deref().unwrap_or_default();
    let service_type = service_type(spec);
    let path = path.child("ports");
    if ports.is_empty() && !is_headless(spec) && service_type != "ExternalName" {
        causes.push(Cause::required(path, ""));
    }
    let mut seen = Seen::default();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        check_one(port, ports.len() > 1, &path, causes);
        if service_type == "LoadBalancer" && port.port == NODE_API_PORT {
            let why = format!(
                "may not expose port {NODE_API_PORT} externally since it is used by kubelet"
            );
            causes.push(Cause::invalid(path.child("port"), port.port, &why));
        }
        if service_type == "ClusterIP" && port.node_port.is_some() {
            let why = "may not be used when `type` is 'ClusterIP'";
            causes.push(Cause::forbidden(path.child("nodePort"), why));
        }
        seen.check(port, &path, causes);
    }
}

#[derive(Default)]
struct Seen<'a> {
    names: BTreeSet<&'a str>,
    ports: BTreeSet<(&'a str, i32)>,
    node_ports: BTreeSet<(&'a str, i32)>,
}

impl<'a> Seen<'a> {
    /// Refuses what another port of the same service has already.
    fn check(&mut self, port: &'a ServicePort, path: &Path, causes: &mut Vec<Cause>) {
        let protocol = port.protocol.as_deref().unwrap_or_default();
        if let Some(name) = port.name.as_deref().filter(|n| !n.is_empty())
            && !self.names.insert(name)
        {
            causes.push(Cause::duplicate(path.child("name"), name));
        }
        if !self.ports.insert((protocol, port.port)) {
            let key = json!({"port": port.port, "protocol": protocol});
            causes.push(Cause::duplicate(path, key));
        }
        if let Some(node_port) = port.node_port
            && !self.node_ports.insert((protocol, node_port))
        {
            causes.push(Cause::duplicate(path.child("nodePort"), node_port));
        }
    }
}

fn check_one(port: &ServicePort, named: bool, path: &Path, causes: &mut Vec<Cause>) {
    let at = path.child("name");
    match port.name.as_deref().unwrap_or_default() {
        "" if named => causes.push(Cause::required(at, "")),
        "" => {}
        name => at.check(name, syntax::dns_label(name), causes),
    }
    check_port(port.port, &path.child("port"), causes);
    check_protocol(port.protocol.as_deref(), &path.child("protocol"), causes);
    let at = path.child("targetPort");
    match &port.target_port {
        Some(IntOrString::Int(number)) => check_port(*number, &at, causes),
        Some(IntOrString::String(name)) => check_port_name(name, &at, causes),
        None => causes.push(Cause::required(at, "")),
    }
    if let Some(node_port) = port.node_port {
        check_port(node_port, &path.child("nodePort"), causes);
    }
    let at = path.child("appProtocol");
    check_app_protocol(port.app_protocol.as_deref(), &at, causes);
}
