//! Ports of the node that its pods ask for (`hostPort`).

use crate::network::PodNetwork;
use crate::services::{PodEntry, Registry};
use kabuki_model::k8s_openapi::api::core::v1::{Container, ContainerPort};
use kabuki_model::service::Protocol;
use kabuki_net::plan::services::{HostPort, Owner, PortPlan, Target, host_port_plan};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// The ports of all pods that are wired.
pub(super) struct PodPorts {
    pub plans: BTreeMap<Owner, Vec<PortPlan>>,
    /// Whether all wired pods are known: after a start, some still have to be adopted.
    pub complete: bool,
}

/// What the pods of this node ask for.
pub(super) fn of_pods(pods: &Registry, network: &PodNetwork) -> PodPorts {
    let mut ports = PodPorts {
        plans: BTreeMap::new(),
        complete: true,
    };
    for (uid, address) in network.wired() {
        let Some(entry) = pods.get(&uid) else {
            ports.complete = false;
            continue;
        };
        if let IpAddr::V4(address) = address {
            let plans = plans(&entry, address);
            if !plans.is_empty() {
                ports.plans.insert(Owner::Pod(uid.as_str().into()), plans);
            }
        }
    }
    ports
}

fn plans(entry: &PodEntry, address: Ipv4Addr) -> Vec<PortPlan> {
    let pod = entry.pod();
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let note = format!("pod {}/{}", entry.namespace, entry.name);
    // Init containers that go on running beside the others have ports, too.
    let lasting = |c: &&Container| c.restart_policy.as_deref() == Some("Always");
    let beside = spec.init_containers.iter().flatten().filter(lasting);
    let containers = spec.containers.iter().chain(beside);
    let ports = containers.flat_map(|c| c.ports.iter().flatten());
    ports
        .filter_map(|port| read(port, address))
        .map(|port| host_port_plan(&port, &note))
        .collect()
}

fn read(port: &ContainerPort, address: Ipv4Addr) -> Option<HostPort> {
    let number = |n: i32| u16::try_from(n).ok().filter(|n| *n != 0);
    let on_node = match port.host_ip.as_deref().unwrap_or_default() {
        "" => None,
        text => Some(text.parse::<Ipv4Addr>().ok()?).filter(|ip| !ip.is_unspecified()),
    };
    Some(HostPort {
        port: number(port.host_port?)?,
        address: on_node,
        protocol: Protocol::parse(port.protocol.as_deref().unwrap_or("TCP"))?,
        target: Target {
            address,
            port: number(port.container_port)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_without_a_port_of_the_node_is_none() {
        let mut port = ContainerPort {
            container_port: 80,
            ..ContainerPort::default()
        };
        let pod = Ipv4Addr::new(10, 244, 0, 2);
        assert_eq!(read(&port, pod), None);
        port.host_port = Some(8080);
        port.host_ip = Some("0.0.0.0".to_string());
        let read = read(&port, pod).expect("it has one");
        assert_eq!(
            (read.port, read.address, read.target.port),
            (8080, None, 80)
        );
    }
}
