//! Records from the API's own types. Fields that were admitted cannot be wrong; what cannot be read
//! all the same (an address that is none) is left out, so that one bad object harms no other.

use super::{
    EndpointPort, EndpointRecord, Protocol, ServiceKey, ServicePort, ServiceRecord, ServiceType,
    SliceRecord, TrafficDistribution, TrafficPolicy,
};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use std::net::IpAddr;
use std::sync::Arc;

/// The label of an EndpointSlice that names its service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// The label of a Service that hands it to another proxy.
pub const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// Seconds that session affinity lasts when nothing is said.
const AFFINITY_DEFAULT_S: u32 = 10_800;

impl Protocol {
    /// From the API's word; `None` for a word that it does not know.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }

    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

impl From<&core::Service> for ServiceRecord {
    fn from(service: &core::Service) -> Self {
        let meta = &service.metadata;
        let spec = service.spec.clone().unwrap_or_default();
        let status = service.status.as_ref();
        let ingress = status
            .and_then(|s| s.load_balancer.as_ref())
            .and_then(|l| l.ingress.as_deref())
            .unwrap_or_default();
        let vips = ingress
            .iter()
            .filter(|i| i.ip_mode.as_deref() != Some("Proxy"));
        let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
            spec.session_affinity_config
                .as_ref()
                .and_then(|c| c.client_ip.as_ref()?.timeout_seconds)
                .and_then(|s| u32::try_from(s).ok())
                .unwrap_or(AFFINITY_DEFAULT_S)
        });
        Self {
            key: ServiceKey {
                namespace: meta.namespace.as_deref().unwrap_or_default().into(),
                name: meta.name.as_deref().unwrap_or_default().into(),
            },
            service_type: match spec.type_.as_deref() {
                Some("NodePort") => ServiceType::NodePort,
                Some("LoadBalancer") => ServiceType::LoadBalancer,
                Some("ExternalName") => ServiceType::ExternalName,
                _ => ServiceType::ClusterIp,
            },
            cluster_ips: addresses(spec.cluster_ips.iter().flatten()),
            external_ips: addresses(spec.external_ips.iter().flatten()),
            load_balancer_ips: addresses(vips.filter_map(|i| i.ip.as_ref())),
            source_ranges: spec
                .load_balancer_source_ranges
                .iter()
                .flatten()
                .filter_map(|r| range(r))
                .collect(),
            external_name: spec.external_name.as_deref().map(Into::into),
            ports: spec.ports.iter().flatten().filter_map(port).collect(),
            affinity_s: affinity,
            internal_policy: policy(spec.internal_traffic_policy.as_deref()),
            external_policy: policy(spec.external_traffic_policy.as_deref()),
            health_check_node_port: spec
                .health_check_node_port
                .and_then(|p| u16::try_from(p).ok())
                .filter(|p| *p != 0),
            distribution: match spec.traffic_distribution.as_deref() {
                Some("PreferClose" | "PreferSameZone") => TrafficDistribution::PreferSameZone,
                Some("PreferSameNode") => TrafficDistribution::PreferSameNode,
                _ => TrafficDistribution::Any,
            },
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
            foreign: meta
                .labels
                .as_ref()
                .is_some_and(|l| l.contains_key(PROXY_NAME_LABEL)),
        }
    }
}

fn addresses<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<IpAddr> {
    texts.filter_map(|t| t.parse().ok()).collect()
}

fn range(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.trim().split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length: u8 = length.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (length <= most).then_some((address, length))
}

fn policy(word: Option<&str>) -> TrafficPolicy {
    match word {
        Some("Local") => TrafficPolicy::Local,
        _ => TrafficPolicy::Cluster,
    }
}

fn port(port: &core::ServicePort) -> Option<ServicePort> {
    Some(ServicePort {
        name: port.name.as_deref().unwrap_or_default().into(),
        protocol: Protocol::parse(port.protocol.as_deref().unwrap_or("TCP"))?,
        port: u16::try_from(port.port).ok()?,
        node_port: port
            .node_port
            .and_then(|p| u16::try_from(p).ok())
            .filter(|p| *p != 0),
    })
}

impl SliceRecord {
    /// The record of an EndpointSlice; `None` when it names no service or holds no addresses of
    /// the Internet protocol.
    pub fn of(slice: &discovery::EndpointSlice) -> Option<Self> {
        let meta = &slice.metadata;
        let service = meta.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
        if slice.address_type == "FQDN" {
            return None;
        }
        Some(Self {
            name: meta.name.as_deref().unwrap_or_default().into(),
            service: ServiceKey {
                namespace: meta.namespace.as_deref().unwrap_or_default().into(),
                name: service.as_str().into(),
            },
            ports: slice
                .ports
                .iter()
                .flatten()
                .filter_map(slice_port)
                .collect(),
            endpoints: slice
                .endpoints
                .iter()
                .flatten()
                .filter_map(endpoint)
                .collect(),
        })
    }
}

fn slice_port(port: &discovery::EndpointPort) -> Option<EndpointPort> {
    Some(EndpointPort {
        name: port.name.as_deref().unwrap_or_default().into(),
        protocol: Protocol::parse(port.protocol.as_deref().unwrap_or("TCP"))?,
        port: port.port.and_then(|p| u16::try_from(p).ok()),
    })
}

fn endpoint(endpoint: &discovery::Endpoint) -> Option<EndpointRecord> {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    let hints = endpoint.hints.as_ref();
    let zones = hints
        .and_then(|h| h.for_zones.as_deref())
        .unwrap_or_default();
    let nodes = hints
        .and_then(|h| h.for_nodes.as_deref())
        .unwrap_or_default();
    let shared = |text: &Option<String>| text.as_deref().map(Arc::<str>::from);
    Some(EndpointRecord {
        address: endpoint.addresses.first()?.parse().ok()?,
        hostname: shared(&endpoint.hostname),
        node: shared(&endpoint.node_name),
        zone: shared(&endpoint.zone),
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
        zone_hints: zones.iter().map(|z| z.name.as_str().into()).collect(),
        node_hints: nodes.iter().map(|n| n.name.as_str().into()).collect(),
    })
}
