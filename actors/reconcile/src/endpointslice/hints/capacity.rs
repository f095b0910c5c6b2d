//! Which part of the cluster's processors each zone has.

use crate::endpoint;
use kabuki_model::k8s_openapi::api::core::v1::Node;
use kabuki_model::quantity::Quantity;
use kabuki_model::view::View;
use kabuki_model::{Resource, Stored};
use std::collections::BTreeMap;

/// What of a node counts: its zone and its processors, in thousandths. `None` for a node that
/// connections do not come from: it is not ready, or set apart for the control plane alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::endpointslice) struct Share {
    zone: Option<String>,
    cpu_milli: i64,
}

/// What of a node counts for zones.
pub(in crate::endpointslice) fn of_node(stored: &Stored) -> Option<Share> {
    let node = stored.typed::<Node>().ok()?;
    if !is_ready(&node) || is_apart(&node) {
        return None;
    }
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
    let cpu = allocatable.and_then(|a| a.get("cpu")).map(|q| q.0.as_str());
    let cpu: Option<Quantity> = cpu.and_then(|text| text.parse().ok());
    Some(Share {
        zone: endpoint::zone(stored),
        cpu_milli: cpu.map_or(0, |q| q.milli_ceil()),
    })
}

/// The zones' parts of the whole, which is one; or why there is nothing to divide by.
pub(super) fn of_zones(view: &dyn View) -> Result<BTreeMap<String, f64>, String> {
    let nodes = view.scan(&Resource::NODES, None, None);
    let mut zones: BTreeMap<String, i64> = BTreeMap::new();
    for share in nodes.filter_map(|n| of_node(n)) {
        match share.zone {
            Some(zone) if share.cpu_milli > 0 => *zones.entry(zone).or_default() += share.cpu_milli,
            _ => return Err("insufficient Node information: allocatable CPU or zone not specified on one or more nodes".to_string()),
        }
    }
    if zones.len() < 2 {
        return Err("Nodes only ready in one zone".to_string());
    }
    let total: i64 = zones.values().sum();
    let part = |(zone, cpu): (String, i64)| (zone, cpu as f64 / total as f64);
    Ok(zones.into_iter().map(part).collect())
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Servers run everybody's pods here, unless a taint keeps those away; Kubernetes leaves all of
/// them out.
fn is_apart(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_ref());
    let mut taints = taints.into_iter().flatten();
    taints.any(|t| {
        let control = "node-role.kubernetes.io/control-plane";
        t.key == control && (t.effect == "NoSchedule" || t.effect == "NoExecute")
    })
}
