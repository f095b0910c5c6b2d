//! Ports of the nodes: those that were asked for by number, and free ones for those that were not,
//! from the upper part of the range while it lasts (KEP-3668).

use super::{Claimant, refuse};
use kabuki_model::StatusError;
use kabuki_model::allocation::{NODE_PORTS, has_node_ports, node_port_band, port_value};
use kabuki_model::k8s_openapi::api::core::v1::ServiceSpec;
use kabuki_model::kind::service::{allocates_node_ports, needs_health_check_port, service_type};
use kabuki_model::service::Protocol;
use kabuki_model::status::Cause;
use kabuki_model::view::Index;
use std::collections::BTreeSet;

const TAKEN: &str = "provided port is already allocated";

pub(super) fn settle(who: &Claimant, spec: &mut ServiceSpec) -> Result<(), StatusError> {
    if !has_node_ports(service_type(spec)) {
        return Ok(());
    }
    let mut own = BTreeSet::new();
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        let Some(number) = port.node_port else {
            continue;
        };
        let field = format!("spec.ports[{index}].nodePort");
        let port = check(who, protocol(port.protocol.as_deref()), number, &field)?;
        own.insert(port);
    }
    let health = spec.health_check_node_port.filter(|p| *p != 0);
    if let Some(number) = health {
        let field = "spec.healthCheckNodePort";
        let port = check(who, Protocol::Tcp, number, field)?;
        if !own.insert(port) {
            return refuse(who.key, Cause::invalid(field, number, TAKEN));
        }
    }
    if allocates_node_ports(spec) {
        give_all(who, spec, &mut own)?;
    }
    if needs_health_check_port(spec) && health.is_none() {
        let port = any(who, &own, u32::MAX)?;
        spec.health_check_node_port = Some(i32::from(port));
    }
    Ok(())
}

fn protocol(word: Option<&str>) -> Protocol {
    // Validation has refused every word that is none.
    Protocol::parse(word.unwrap_or_default()).unwrap_or(Protocol::Tcp)
}

/// Refuses a port that cannot be had.
fn check(
    who: &Claimant,
    protocol: Protocol,
    number: i32,
    field: &str,
) -> Result<(Protocol, u16), StatusError> {
    let port = u16::try_from(number).unwrap_or(0);
    let value = port_value(protocol, port);
    if who.has(Index::NodePort, &value) {
        return Ok((protocol, port));
    }
    if !NODE_PORTS.contains(&port) {
        let why = format!(
            "provided port is not in the valid range. The range of valid ports is {}-{}",
            NODE_PORTS.start(),
            NODE_PORTS.end()
        );
        return refuse(who.key, Cause::invalid(field, number, &why));
    }
    match who.is_taken(Index::NodePort, &value) {
        true => refuse(who.key, Cause::invalid(field, number, TAKEN)),
        false => Ok((protocol, port)),
    }
}

/// Gives every port of the service that asks for none a port of the nodes. Ports of one number and
/// different protocols (as those of DNS) get the same one where they can.
fn give_all(
    who: &Claimant,
    spec: &mut ServiceSpec,
    own: &mut BTreeSet<(Protocol, u16)>,
) -> Result<(), StatusError> {
    let ports = spec.ports.as_mut();
    let Some(ports) = ports else { return Ok(()) };
    for index in 0..ports.len() {
        let (Some(port), draw) = (ports.get(index), u32::try_from(index).unwrap_or(0)) else {
            continue;
        };
        if port.node_port.is_some() {
            continue;
        }
        let wanted = protocol(port.protocol.as_deref());
        let alike = ports.iter().filter(|other| other.port == port.port);
        let numbers = alike.filter_map(|other| u16::try_from(other.node_port?).ok());
        let shared = numbers
            .filter(|n| !own.contains(&(wanted, *n)))
            .find(|n| !who.is_taken(Index::NodePort, &port_value(wanted, *n)));
        let number = match shared {
            Some(number) => number,
            None => any(who, own, draw)?,
        };
        own.insert((wanted, number));
        if let Some(port) = ports.get_mut(index) {
            port.node_port = Some(i32::from(number));
        }
    }
    Ok(())
}

/// A port that nobody has under any protocol.
fn any(who: &Claimant, own: &BTreeSet<(Protocol, u16)>, draw: u32) -> Result<u16, StatusError> {
    const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let open = |port: &u16| {
        PROTOCOLS.iter().all(|protocol| {
            !own.contains(&(*protocol, *port))
                && !who.is_taken(Index::NodePort, &port_value(*protocol, *port))
        })
    };
    let (first, last) = (*NODE_PORTS.start(), *NODE_PORTS.end());
    let split = first + node_port_band();
    let random = who.random(draw);
    for band in [split..=last, first..=split - 1] {
        let count = u64::from(band.end() - band.start()) + 1;
        let start = random % count;
        let at = |step: u64| band.start() + u16::try_from((start + step) % count).unwrap_or(0);
        if let Some(port) = (0..count).map(at).find(open) {
            return Ok(port);
        }
    }
    let why = format!(
        "failed to allocate a nodePort: range is full: {first}-{last}; delete services that have \
         node ports"
    );
    let who = who.key;
    Err(StatusError::forbidden(&who.resource, &who.name, &why))
}
