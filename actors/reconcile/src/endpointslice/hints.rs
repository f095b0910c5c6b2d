//! For whom an endpoint is (Kubernetes, `trafficDistribution`, KEP-3015 and KEP-4444; Topology Aware
//! Routing, KEP-2433). The annotation of the latter goes before the field.

mod balance;
pub(super) mod capacity;

use crate::reconciler::Outcome;
use crate::report;
use crate::slices::Group;
use balance::Stays;
use kabuki_model::Stored;
use kabuki_model::k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kabuki_model::k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointHints, EndpointSlice, ForNode, ForZone,
};
use kabuki_model::view::View;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The annotation, and its name before Kubernetes 1.27, which goes first where both are there.
const MODE: &str = "service.kubernetes.io/topology-mode";
const FORMER_MODE: &str = "service.kubernetes.io/topology-aware-hints";

/// Gives the endpoints their hints.
pub(super) fn give(
    view: &dyn View,
    stored: &Stored,
    (service, spec): (&Service, &ServiceSpec),
    existing: &[Arc<Stored>],
    groups: &mut [Group],
    outcome: &mut Outcome,
) {
    let before = held(existing);
    if !is_automatic(service) {
        let distribution = spec.traffic_distribution.as_deref();
        for endpoint in groups.iter_mut().flat_map(|g| &mut g.endpoints) {
            endpoint.hints = of(endpoint, distribution);
        }
        return;
    }
    let mut ready: Vec<&mut Endpoint> = groups
        .iter_mut()
        .flat_map(|g| &mut g.endpoints)
        .filter(|e| is_ready(e))
        .collect();
    let stays: Option<Vec<Stays>> = ready
        .iter()
        .map(|e| {
            let zone = e.zone.clone()?;
            let hinted = before.get(&identity(e)).cloned();
            Some(Stays { zone, hinted })
        })
        .collect();
    let zones = match stays {
        Some(stays) => capacity::of_zones(view).and_then(|shares| balance::assign(&stays, &shares)),
        None => Err("one or more endpoints do not have a zone specified".to_string()),
    };
    match zones {
        Ok(zones) => {
            if before.is_empty() && !ready.is_empty() {
                let message = "Topology Aware Hints has been enabled, addressType: IPv4";
                outcome.event(report::normal(
                    stored,
                    "TopologyAwareHintsEnabled",
                    message.to_string(),
                ));
            }
            for (endpoint, zone) in ready.iter_mut().zip(zones) {
                endpoint.hints = Some(EndpointHints {
                    for_zones: Some(vec![ForZone { name: zone }]),
                    for_nodes: None,
                });
            }
        }
        // Said when they are taken away, and of a service that has no slices yet.
        Err(why) if !before.is_empty() || existing.is_empty() => {
            outcome.event(report::warning(stored, "TopologyAwareHintsDisabled", why));
        }
        Err(_) => {}
    }
}

/// Whether endpoints are to be given to zones.
pub(super) fn is_automatic(service: &Service) -> bool {
    let annotations = service.metadata.annotations.as_ref();
    let mode = annotations.and_then(|a| a.get(FORMER_MODE).or_else(|| a.get(MODE)));
    matches!(mode.map(String::as_str), Some("Auto" | "auto"))
}

/// Address and pod of an endpoint.
type Identity = (Option<String>, Option<String>);

fn identity(endpoint: &Endpoint) -> Identity {
    let target = endpoint.target_ref.as_ref();
    (
        endpoint.addresses.first().cloned(),
        target.and_then(|t| t.uid.clone()),
    )
}

/// For which zone each endpoint has been so far.
fn held(existing: &[Arc<Stored>]) -> BTreeMap<Identity, String> {
    let mut held = BTreeMap::new();
    for stored in existing {
        let Ok(slice) = stored.typed::<EndpointSlice>() else {
            continue;
        };
        for endpoint in slice.endpoints.iter().flatten() {
            let zones = endpoint.hints.as_ref().and_then(|h| h.for_zones.as_ref());
            if let Some([zone]) = zones.map(Vec::as_slice) {
                held.insert(identity(endpoint), zone.name.clone());
            }
        }
    }
    held
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|c| c.ready) == Some(true)
}

/// The hints of an endpoint; none when it is not ready, or when it is for everybody.
fn of(endpoint: &Endpoint, distribution: Option<&str>) -> Option<EndpointHints> {
    if !is_ready(endpoint) {
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
