//! Which endpoints of a service a node sends connections to (Services, "Traffic policies";
//! EndpointSlices, "Conditions"; Topology Aware Routing; Traffic Distribution).

use super::{LOCAL_INDEX, Target};
use crate::plan::Cidr;
use kabuki_model::service::{
    EndpointRecord, ServicePort, ServiceRecord, ServiceType, SliceRecord, TrafficDistribution,
    TrafficPolicy,
};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The node whose packet filter is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// Its name.
    pub name: Arc<str>,
    /// Its zone (label `topology.kubernetes.io/zone`).
    pub zone: Option<Arc<str>>,
    /// The block of all nodes' pods.
    pub cluster: Cidr,
}

/// The endpoints of one port of a service, each once, in no particular order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Those that connections go to where the policy is `Cluster`.
    pub cluster: Vec<Target>,
    /// Those of this node, where a policy is `Local`.
    pub local: Vec<Target>,
    /// How many ready ones this node has.
    pub local_ready: usize,
}

/// An endpoint with its port.
struct Candidate<'a> {
    target: Target,
    ready: bool,
    record: &'a EndpointRecord,
}

impl Candidate<'_> {
    /// Ending, but still answering: better than nothing.
    fn draining(&self) -> bool {
        !self.ready && self.record.serving && self.record.terminating
    }
}

impl Endpoints {
    /// The endpoints of a port on a node.
    pub fn of<'a>(
        service: &ServiceRecord,
        port: &ServicePort,
        slices: impl IntoIterator<Item = &'a SliceRecord>,
        node: &NodeView,
    ) -> Self {
        let candidates = candidates(service, port, slices);
        let is_local = |c: &&Candidate| c.record.node.as_deref() == Some(&*node.name);
        let ready = || candidates.iter().filter(|c| c.ready);
        let draining = || candidates.iter().filter(|c| c.draining());

        let nearby = nearby(&candidates, service.distribution, node);
        let mut cluster = targets(ready().filter(|c| nearby.takes(c.record, node)));
        if cluster.is_empty() {
            cluster = targets(draining());
        }
        let local_ready = ready().filter(is_local).count();
        let mut local = Vec::new();
        if uses_local(service) {
            local = targets(ready().filter(is_local));
            if local.is_empty() {
                local = targets(draining().filter(is_local));
            }
        }
        Self {
            cluster,
            local,
            local_ready,
        }
    }
}

/// Whether outside clients are led anywhere.
pub(super) fn is_external(service: &ServiceRecord) -> bool {
    matches!(
        service.service_type,
        ServiceType::NodePort | ServiceType::LoadBalancer
    ) || !service.external_ips.is_empty()
}

fn uses_local(service: &ServiceRecord) -> bool {
    service.internal_policy == TrafficPolicy::Local
        || is_external(service) && service.external_policy == TrafficPolicy::Local
}

fn targets<'a>(candidates: impl Iterator<Item = &'a Candidate<'a>>) -> Vec<Target> {
    let picked = candidates.map(|c| c.target);
    picked.take(LOCAL_INDEX as usize).collect()
}

fn candidates<'a>(
    service: &ServiceRecord,
    port: &ServicePort,
    slices: impl IntoIterator<Item = &'a SliceRecord>,
) -> Vec<Candidate<'a>> {
    let mut all: Vec<Candidate> = Vec::new();
    for slice in slices {
        let same = |p: &&kabuki_model::service::EndpointPort| {
            p.name == port.name && p.protocol == port.protocol
        };
        for number in slice.ports.iter().filter(same).filter_map(|p| p.port) {
            for record in &slice.endpoints {
                if let IpAddr::V4(address) = record.address
                    && is_usable(address)
                {
                    all.push(Candidate {
                        target: Target {
                            address,
                            port: number,
                        },
                        ready: record.ready || service.publish_not_ready,
                        record,
                    });
                }
            }
        }
    }
    // An endpoint that is on its way from one slice to another is in both: the better one counts.
    all.sort_by_key(|c| (!c.ready, !c.draining()));
    let mut seen = BTreeSet::new();
    all.retain(|c| seen.insert(c.target));
    all
}

/// A hand-made slice must not lead to the node's own loopback, nor to all hosts of a segment
/// (the API refuses both).
fn is_usable(address: Ipv4Addr) -> bool {
    !(address.is_loopback()
        || address.is_unspecified()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast())
}

/// How near an endpoint has to be.
enum Nearby {
    Anywhere,
    Zone,
    Node,
}

impl Nearby {
    fn takes(&self, endpoint: &EndpointRecord, node: &NodeView) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Zone => hints_zone(endpoint, node),
            Self::Node => hints_node(endpoint, node),
        }
    }
}

fn hints_zone(endpoint: &EndpointRecord, node: &NodeView) -> bool {
    let zone = node.zone.as_ref();
    zone.is_some_and(|zone| endpoint.zone_hints.contains(zone))
}

fn hints_node(endpoint: &EndpointRecord, node: &NodeView) -> bool {
    endpoint.node_hints.contains(&node.name)
}

/// Hints count only when every ready endpoint has one and at least one names this node (or its
/// zone); else some would get no connections at all, or this node would have nobody to ask.
fn nearby(candidates: &[Candidate], distribution: TrafficDistribution, node: &NodeView) -> Nearby {
    let ready = || candidates.iter().filter(|c| c.ready).map(|c| c.record);
    if distribution == TrafficDistribution::PreferSameNode
        && ready().all(|e| !e.node_hints.is_empty())
        && ready().any(|e| hints_node(e, node))
    {
        return Nearby::Node;
    }
    if ready().all(|e| !e.zone_hints.is_empty()) && ready().any(|e| hints_zone(e, node)) {
        return Nearby::Zone;
    }
    Nearby::Anywhere
}
