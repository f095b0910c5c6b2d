//! What one port of a service means on a node.

use super::arrange::arrange;
use super::endpoints::is_external;
use super::{
    Endpoints, EntryKey, EntryValue, FrontKey, NodeView, Primary, Route, SCTP, Scope, Shape, TCP,
    Target, UDP,
};
use crate::plan::Cidr;
use kabuki_model::service::{
    Protocol, ServiceKey, ServicePort, ServiceRecord, ServiceType, SliceRecord, TrafficPolicy,
};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// One port with all its fronts and endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPlan {
    /// For people: `namespace/name:port`.
    pub note: Arc<str>,
    /// Under which its endpoints are numbered.
    pub primary: Primary,
    /// The first one is the primary's own: without it there are no others.
    pub fronts: Box<[Front]>,
    /// Seconds.
    pub affinity_s: Option<u32>,
    /// Who may use guarded fronts: the first and the last address of each range.
    pub sources: Box<[(Ipv4Addr, Ipv4Addr)]>,
    /// Endpoints for all, in their order.
    pub cluster: Box<[Target]>,
    /// Endpoints of this node, in their order.
    pub local: Box<[Target]>,
    /// Those that are no pods of the cluster.
    pub outside: Box<[Target]>,
}

/// A front of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Front {
    /// Where it is.
    pub key: FrontKey,
    /// Which endpoints it leads to.
    pub route: Route,
    /// Whether only listed sources may use it.
    pub guarded: bool,
}

/// A pod's port that is a port of the node too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// The port on the node.
    pub port: u16,
    /// `None` for every address of the node.
    pub address: Option<Ipv4Addr>,
    /// The protocol.
    pub protocol: Protocol,
    /// The pod's address and port.
    pub target: Target,
}

/// Where load balancers ask whether this node has endpoints (Services,
/// `healthCheckNodePort`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The port of the node.
    pub port: u16,
    /// Ready endpoints on this node, each address once.
    pub local: usize,
}

/// Whether the proxy has nothing to do with a service: it has no address, or another proxy.
fn is_none_of_ours(service: &ServiceRecord) -> bool {
    service.foreign || service.service_type == ServiceType::ExternalName
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
        Protocol::Sctp => SCTP,
    }
}

fn ipv4(addresses: &[IpAddr]) -> impl Iterator<Item = Ipv4Addr> + '_ {
    addresses.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    })
}

/// What a service means on a node.
pub fn service_plan<'a>(
    service: &ServiceRecord,
    slices: impl IntoIterator<Item = &'a SliceRecord> + Clone,
    node: &NodeView,
) -> Vec<PortPlan> {
    if is_none_of_ours(service) {
        return Vec::new();
    }
    let Some(cluster_ip) = ipv4(&service.cluster_ips).next() else {
        return Vec::new();
    };
    let ports = service.ports.iter();
    ports
        .map(|port| {
            let endpoints = Endpoints::of(service, port, slices.clone(), node);
            port_plan(service, port, cluster_ip, endpoints, node)
        })
        .collect()
}

fn port_plan(
    service: &ServiceRecord,
    port: &ServicePort,
    cluster_ip: Ipv4Addr,
    endpoints: Endpoints,
    node: &NodeView,
) -> PortPlan {
    let protocol = number(port.protocol);
    let at = |address| Primary {
        address,
        protocol,
        port: port.port,
    };
    let internal = match service.internal_policy {
        TrafficPolicy::Cluster => Route::Cluster,
        TrafficPolicy::Local => Route::Local,
    };
    let external = match service.external_policy {
        TrafficPolicy::Cluster => Route::Cluster,
        TrafficPolicy::Local => Route::External,
    };
    let front = |key, route, guarded| Front {
        key,
        route,
        guarded,
    };
    let address = |address, route, guarded| front(FrontKey::Address(at(address)), route, guarded);
    let sources = sources(service);
    let mut fronts: Vec<Front> = ipv4(&service.cluster_ips)
        .map(|ip| address(ip, internal, false))
        .collect();
    fronts.extend(ipv4(&service.external_ips).map(|ip| address(ip, external, false)));
    if service.service_type == ServiceType::LoadBalancer {
        let guarded = !service.source_ranges.is_empty();
        fronts.extend(ipv4(&service.load_balancer_ips).map(|ip| address(ip, external, guarded)));
    }
    let has_node_port = matches!(
        service.service_type,
        ServiceType::NodePort | ServiceType::LoadBalancer
    );
    if has_node_port && let Some(port) = port.node_port {
        fronts.push(front(
            FrontKey::NodePort { protocol, port },
            external,
            false,
        ));
    }
    // The same address may be a service's external one and its load balancer's.
    let mut seen = Vec::new();
    fronts.retain(|f| !seen.contains(&f.key) && (seen.push(f.key), true).1);
    PortPlan {
        note: note(&service.key, &port.name),
        primary: at(cluster_ip),
        fronts: fronts.into(),
        affinity_s: service.affinity_s,
        sources,
        outside: outside(&endpoints, node.cluster),
        cluster: endpoints.cluster.into(),
        local: endpoints.local.into(),
    }
}

fn note(key: &ServiceKey, port: &str) -> Arc<str> {
    match port {
        "" => format!("{key}").into(),
        port => format!("{key}:{port}").into(),
    }
}

fn outside(endpoints: &Endpoints, cluster: Cidr) -> Box<[Target]> {
    let all = endpoints.cluster.iter().chain(&endpoints.local);
    let mut outside: Vec<Target> = all
        .filter(|t| !cluster.contains(t.address.into()))
        .copied()
        .collect();
    outside.sort_unstable();
    outside.dedup();
    outside.into()
}

/// Ranges that do not overlap, for the kernel takes no others.
fn sources(service: &ServiceRecord) -> Box<[(Ipv4Addr, Ipv4Addr)]> {
    let mut ranges: Vec<(u32, u32)> = service
        .source_ranges
        .iter()
        .filter_map(|(address, length)| match address {
            IpAddr::V4(address) if *length <= 32 => {
                let hosts = u32::MAX.checked_shr(u32::from(*length)).unwrap_or(0);
                let first = u32::from(*address) & !hosts;
                Some((first, first | hosts))
            }
            _ => None,
        })
        .collect();
    ranges.sort_unstable();
    let mut apart: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match apart.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => apart.push((first, last)),
        }
    }
    apart
        .into_iter()
        .map(|(first, last)| (first.into(), last.into()))
        .collect()
}

/// What a pod's ports on the node mean. `note` is for people.
pub fn host_port_plan(port: &HostPort, note: &str) -> PortPlan {
    let protocol = number(port.protocol);
    let primary = Primary {
        address: port.address.unwrap_or(Ipv4Addr::UNSPECIFIED),
        protocol,
        port: port.port,
    };
    let key = match port.address {
        Some(_) => FrontKey::Address(primary),
        None => FrontKey::NodePort {
            protocol,
            port: port.port,
        },
    };
    let front = Front {
        key,
        route: Route::Cluster,
        guarded: false,
    };
    PortPlan {
        note: note.into(),
        primary,
        fronts: [front].into(),
        affinity_s: None,
        sources: Box::default(),
        cluster: [port.target].into(),
        local: Box::default(),
        outside: Box::default(),
    }
}

/// What load balancers are told of a service, if they may ask.
pub fn service_health<'a>(
    service: &ServiceRecord,
    slices: impl IntoIterator<Item = &'a SliceRecord> + Clone,
    node: &NodeView,
) -> Option<HealthCheck> {
    if is_none_of_ours(service)
        || service.external_policy != TrafficPolicy::Local
        || !is_external(service)
    {
        return None;
    }
    let port = service.health_check_node_port?;
    let most = service
        .ports
        .iter()
        .map(|p| Endpoints::of(service, p, slices.clone(), node).local_ready)
        .max();
    Some(HealthCheck {
        port,
        local: most.unwrap_or(0),
    })
}

impl PortPlan {
    /// Puts the endpoints into an order that is near the one before.
    pub(super) fn arrange(&mut self, cluster: &[Target], local: &[Target]) {
        self.cluster = arrange(cluster, std::mem::take(&mut self.cluster).into_vec()).into();
        self.local = arrange(local, std::mem::take(&mut self.local).into_vec()).into();
    }

    fn shape(&self, front: &Front) -> Shape {
        Shape {
            node_port: matches!(front.key, FrontKey::NodePort { .. }),
            route: front.route,
            cluster: u32::try_from(self.cluster.len()).unwrap_or(u32::MAX),
            local: u32::try_from(self.local.len()).unwrap_or(u32::MAX),
            affinity_s: self.affinity_s,
            guarded: front.guarded,
        }
        .tidy()
    }

    /// Its entries, with those fronts that are its own.
    pub(super) fn entries(
        &self,
        is_own: impl Fn(&FrontKey) -> bool,
        mut see: impl FnMut(EntryKey, EntryValue),
    ) {
        if !self.fronts.first().is_some_and(|first| is_own(&first.key)) {
            return;
        }
        let primary = self.primary;
        for (scope, targets) in [(Scope::Cluster, &self.cluster), (Scope::Local, &self.local)] {
            for (index, target) in (scope.first_index()..).zip(targets) {
                see(
                    EntryKey::Endpoint { primary, index },
                    EntryValue::Target(*target),
                );
                if self.affinity_s.is_some() {
                    let key = EntryKey::Member {
                        scope,
                        primary,
                        target: *target,
                    };
                    see(key, EntryValue::Present);
                }
            }
        }
        for target in &self.outside {
            let key = EntryKey::Outside {
                protocol: primary.protocol,
                target: *target,
            };
            see(key, EntryValue::Present);
        }
        for front in self.fronts.iter().filter(|f| is_own(&f.key)) {
            if let FrontKey::Address(at) = front.key
                && front.guarded
            {
                for (from, to) in &self.sources {
                    let key = EntryKey::Source {
                        front: at,
                        from: *from,
                        to: *to,
                    };
                    see(key, EntryValue::Present);
                }
            }
            let value = EntryValue::Front {
                shape: self.shape(front),
                primary,
                note: self.note.clone(),
            };
            see(EntryKey::Front(front.key), value);
        }
    }
}
