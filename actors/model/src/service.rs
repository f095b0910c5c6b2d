//! Services and their endpoints, as the data plane needs them: the compact form that a node keeps of
//! each Service and EndpointSlice of the cluster. The proxy's plan and the name server's zone are
//! functions of these records; neither looks at the API's own types.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

mod decode;
mod directory;

pub use decode::{PROXY_NAME_LABEL, SERVICE_NAME_LABEL};
pub use directory::{Directory, Known, ServiceEntry};

/// `namespace/name` of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceKey {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A protocol of the transport layer (`v1` `Protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// `TCP`
    Tcp,
    /// `UDP`
    Udp,
    /// `SCTP`
    Sctp,
}

/// `spec.type`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ServiceType {
    /// `ClusterIP`; headless when the record has no cluster address.
    ClusterIp,
    /// `NodePort`
    NodePort,
    /// `LoadBalancer`
    LoadBalancer,
    /// `ExternalName`
    ExternalName,
}

/// `spec.externalTrafficPolicy`, `spec.internalTrafficPolicy`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// Every endpoint.
    Cluster,
    /// Only endpoints on the node that the connection came to.
    Local,
}

/// `spec.trafficDistribution`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TrafficDistribution {
    /// No preference.
    Any,
    /// `PreferClose`, `PreferSameZone`: endpoints of the own zone where there are any.
    PreferSameZone,
    /// `PreferSameNode`: of the own node, else of the own zone, else any.
    PreferSameNode,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Which.
    pub key: ServiceKey,
    /// `spec.type`
    pub service_type: ServiceType,
    /// `spec.clusterIPs`, without `None`; empty when headless or `ExternalName`.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs`
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress[].ip` whose `ipMode` is `VIP` (the default).
    pub load_balancer_ips: Vec<IpAddr>,
    /// `spec.loadBalancerSourceRanges`, as address and prefix length; empty allows everyone.
    pub source_ranges: Vec<(IpAddr, u8)>,
    /// `spec.externalName`
    pub external_name: Option<Arc<str>>,
    /// `spec.ports`
    pub ports: Vec<ServicePort>,
    /// `spec.sessionAffinityConfig.clientIP.timeoutSeconds` when `sessionAffinity` is `ClientIP`.
    pub affinity_s: Option<u32>,
    /// `spec.internalTrafficPolicy`
    pub internal_policy: TrafficPolicy,
    /// `spec.externalTrafficPolicy`
    pub external_policy: TrafficPolicy,
    /// `spec.healthCheckNodePort`
    pub health_check_node_port: Option<u16>,
    /// `spec.trafficDistribution`
    pub distribution: TrafficDistribution,
    /// `spec.publishNotReadyAddresses`
    pub publish_not_ready: bool,
    /// Label `service.kubernetes.io/service-proxy-name` hands the service to another proxy: it has
    /// names, but no rules.
    pub foreign: bool,
}

/// One of `spec.ports`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// `name`; empty when the service has one port without a name.
    pub name: Arc<str>,
    /// `protocol`
    pub protocol: Protocol,
    /// `port`
    pub port: u16,
    /// `nodePort`
    pub node_port: Option<u16>,
}

/// An EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceRecord {
    /// `metadata.name`, unique in the namespace.
    pub name: Arc<str>,
    /// The service that it belongs to (label `kubernetes.io/service-name`).
    pub service: ServiceKey,
    /// `ports`
    pub ports: Vec<EndpointPort>,
    /// `endpoints`
    pub endpoints: Vec<EndpointRecord>,
}

/// One of an EndpointSlice's `ports`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointPort {
    /// `name`: the service port's name.
    pub name: Arc<str>,
    /// `protocol`
    pub protocol: Protocol,
    /// `port`; `None` stands for all ports, which the proxy leaves out and names show as no SRV.
    pub port: Option<u16>,
}

/// One of an EndpointSlice's `endpoints`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRecord {
    /// The first of `addresses` (consumers may treat them as fungible; Kubernetes uses the first).
    pub address: IpAddr,
    /// `hostname`
    pub hostname: Option<Arc<str>>,
    /// `nodeName`
    pub node: Option<Arc<str>>,
    /// `zone`
    pub zone: Option<Arc<str>>,
    /// `conditions.ready`; unknown counts as ready.
    pub ready: bool,
    /// `conditions.serving`; unknown counts as `ready`.
    pub serving: bool,
    /// `conditions.terminating`
    pub terminating: bool,
    /// `hints.forZones`
    pub zone_hints: Vec<Arc<str>>,
    /// `hints.forNodes`
    pub node_hints: Vec<Arc<str>>,
}

impl ServiceRecord {
    /// Whether names lead to the endpoints themselves (`spec.clusterIP: None`).
    pub fn is_headless(&self) -> bool {
        self.cluster_ips.is_empty() && self.service_type != ServiceType::ExternalName
    }
}
