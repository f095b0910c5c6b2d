//! For whom an endpoint is (Kubernetes, `trafficDistribution`, KEP-3015 and KEP-4444).

use kabuki_model::k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, ForNode, ForZone};

/// The hints of an endpoint; none when it is not ready, or when it is for everybody.
pub(super) fn of(endpoint: &Endpoint, distribution: Option<&str>) -> Option<EndpointHints> {
    let ready = endpoint.conditions.as_ref().and_then(|c| c.ready);
    if ready != Some(true) {
        return None;
    }
    let zones = || {
        let zone = endpoint.zone.clone();
        zone.map(|name| vec![ForZone { name }])
    };
    let nodes = || {
        let node = endpoint.node_name.clone();
        node.map(|name| vec![ForNode { name }])
    };
    let hints = match distribution {
        Some("PreferClose" | "PreferSameZone") => EndpointHints {
            for_zones: zones(),
            for_nodes: None,
        },
        Some("PreferSameNode") => EndpointHints {
            for_zones: zones(),
            for_nodes: nodes(),
        },
        _ => return None,
    };
    (hints.for_zones.is_some() || hints.for_nodes.is_some()).then_some(hints)
}
