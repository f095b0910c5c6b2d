//! Zones against each other: whatever way services come and go, the same services make the same
//! names.

use super::*;
use kabuki_model::service::{
    EndpointPort, EndpointRecord, Protocol, ServicePort, ServiceRecord, ServiceType, SliceRecord,
    TrafficDistribution, TrafficPolicy,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn settings() -> ZoneSettings {
    ZoneSettings {
        domain: "cluster.local".to_string(),
        pod_blocks: vec![("10.244.0.0".parse().unwrap(), 16)],
        service_blocks: vec![("10.96.0.0".parse().unwrap(), 12)],
        servers: vec!["10.96.0.10".parse().unwrap()],
    }
}

fn key(name: u8) -> ServiceKey {
    ServiceKey {
        namespace: format!("ns{}", name % 3).into(),
        name: format!("s{name}").into(),
    }
}

fn record(key: &ServiceKey, addresses: &[u8], external: bool) -> Arc<ServiceRecord> {
    let port = |name: &str, protocol, port| ServicePort {
        name: name.into(),
        protocol,
        port,
        node_port: None,
    };
    Arc::new(ServiceRecord {
        key: key.clone(),
        service_type: match external {
            true => ServiceType::ExternalName,
            false => ServiceType::ClusterIp,
        },
        cluster_ips: addresses
            .iter()
            .map(|n| IpAddr::from([10, 96, 0, *n]))
            .collect(),
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        external_name: external.then(|| "www.example.com".into()),
        ports: vec![port("http", Protocol::Tcp, 80), port("", Protocol::Udp, 53)],
        affinity_s: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        distribution: TrafficDistribution::Any,
        publish_not_ready: false,
        foreign: false,
    })
}

fn slice(key: &ServiceKey, endpoints: &[(u8, bool, bool)]) -> Arc<SliceRecord> {
    let endpoint = |(n, named, ready): &(u8, bool, bool)| EndpointRecord {
        address: IpAddr::from([10, 244, 0, *n]),
        hostname: named.then(|| format!("h{}", n % 4).into()),
        node: None,
        zone: None,
        ready: *ready,
        serving: *ready,
        terminating: false,
        zone_hints: Vec::new(),
        node_hints: Vec::new(),
    };
    Arc::new(SliceRecord {
        name: "slice".into(),
        service: key.clone(),
        ports: vec![EndpointPort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: Some(8080),
        }],
        endpoints: endpoints.iter().map(endpoint).collect(),
    })
}

/// Addresses, whether it is a name elsewhere, and endpoints.
type Drawn = (Vec<u8>, bool, Vec<(u8, bool, bool)>);

/// What can be under one name.
fn entry() -> impl Strategy<Value = Option<Drawn>> {
    let endpoints = vec((0..6_u8, any::<bool>(), prop::bool::weighted(0.8)), 0..5);
    let addresses = prop_oneof![Just(Vec::new()), vec(1..6_u8, 1..2)];
    prop::option::weighted(0.8, (addresses, prop::bool::weighted(0.1), endpoints))
}

fn put(zone: &mut Zone, name: u8, what: &Option<Drawn>) {
    let key = key(name);
    let entry = what
        .as_ref()
        .map(|(addresses, external, endpoints)| ServiceEntry {
            service: Some(record(&key, addresses, *external)),
            slices: vec![slice(&key, endpoints)],
        });
    zone.update(&key, entry.as_ref(), 7);
}

proptest! {
    #[test]
    fn changes_one_by_one_make_the_same_zone_as_building_it_at_once(
        changes in vec((0..8_u8, entry()), 0..60),
    ) {
        let mut zone = Zone::new(&settings()).unwrap();
        let mut last = std::collections::BTreeMap::new();
        for (name, what) in &changes {
            put(&mut zone, *name, what);
            last.insert(*name, what);
        }
        let mut fresh = Zone::new(&settings()).unwrap();
        for (name, what) in last.into_iter().rev() {
            put(&mut fresh, name, what);
        }
        prop_assert!(zone == fresh);
        // And nothing is left when all are gone.
        for name in 0..8 {
            put(&mut zone, name, &None);
        }
        prop_assert!(zone == Zone::new(&settings()).unwrap());
    }
}

#[test]
fn a_snapshot_does_not_change_and_a_repetition_is_no_change() {
    let mut zone = Zone::new(&settings()).unwrap();
    let some = Some((vec![1], false, Vec::new()));
    put(&mut zone, 1, &some);
    let (before, serial) = (zone.clone(), zone.serial());
    put(&mut zone, 1, &some);
    assert_eq!(zone.serial(), serial);
    put(&mut zone, 1, &None);
    assert!(before.len() == 1 && zone.is_empty() && zone.serial() != serial);
}

#[test]
fn names_know_when_their_service_changed() {
    let mut zone = Zone::new(&settings()).unwrap();
    put(&mut zone, 1, &Some((vec![1], false, Vec::new())));
    let at = |name: &str| zone.changed_at_s(&Name::from_text(name).unwrap());
    assert_eq!(at("s1.ns1.svc.cluster.local"), Some(7));
    assert_eq!(at("_http._tcp.S1.ns1.svc.cluster.local"), Some(7));
    assert_eq!(at("ns1.svc.cluster.local"), None);
    assert_eq!(at("s2.ns1.svc.cluster.local"), None);
    assert_eq!(at("s1.ns1.svc.example.com"), None);
}

#[test]
fn a_domain_must_be_one() {
    let with = |domain: &str| {
        let own = ZoneSettings {
            domain: domain.to_string(),
            ..settings()
        };
        Zone::new(&own)
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default()
    };
    assert_eq!(with("k8s.example."), "");
    assert!(with(".").contains("is empty"));
    assert!(with("a..b").contains("empty label"));
    assert!(with(&"a.".repeat(40)).contains("more than 54"));
}
