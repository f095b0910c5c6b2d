use super::*;
use kabuki_model::service::{
    EndpointPort, EndpointRecord, Protocol, ServiceKey, ServicePort, ServiceRecord, ServiceType,
    SliceRecord, TrafficDistribution, TrafficPolicy,
};
use proptest::prelude::*;

fn node() -> NodeView {
    NodeView {
        name: "n1".into(),
        zone: Some("a".into()),
        cluster: "10.244.0.0/16".parse().unwrap(),
    }
}

fn service(name: &str) -> ServiceRecord {
    ServiceRecord {
        key: ServiceKey {
            namespace: "default".into(),
            name: name.into(),
        },
        service_type: ServiceType::ClusterIp,
        cluster_ips: vec!["10.96.0.10".parse().unwrap()],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        external_name: None,
        ports: vec![ServicePort {
            name: "web".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        affinity_s: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        distribution: TrafficDistribution::Any,
        publish_not_ready: false,
        foreign: false,
    }
}

fn endpoint(address: &str) -> EndpointRecord {
    EndpointRecord {
        address: address.parse().unwrap(),
        hostname: None,
        node: Some("n2".into()),
        zone: Some("b".into()),
        ready: true,
        serving: true,
        terminating: false,
        zone_hints: Vec::new(),
        node_hints: Vec::new(),
    }
}

fn slice(endpoints: Vec<EndpointRecord>) -> SliceRecord {
    SliceRecord {
        name: "web-1".into(),
        service: service("web").key,
        ports: vec![EndpointPort {
            name: "web".into(),
            protocol: Protocol::Tcp,
            port: Some(8080),
        }],
        endpoints,
    }
}

fn endpoints(service: &ServiceRecord, list: Vec<EndpointRecord>) -> Endpoints {
    Endpoints::of(service, &service.ports[0], [&slice(list)], &node())
}

fn last_bytes(targets: &[Target]) -> Vec<u8> {
    targets.iter().map(|t| t.address.octets()[3]).collect()
}

fn owner(name: &str) -> Owner {
    Owner::Service(service(name).key)
}

fn plan(service: &ServiceRecord, addresses: &[&str]) -> Vec<PortPlan> {
    let slice = slice(addresses.iter().map(|a| endpoint(a)).collect());
    service_plan(service, [&slice], &node())
}

#[test]
fn ready_endpoints_come_first_and_draining_ones_only_without_them() {
    let draining = EndpointRecord {
        ready: false,
        terminating: true,
        ..endpoint("10.244.0.2")
    };
    let not_ready = EndpointRecord {
        ready: false,
        serving: false,
        ..endpoint("10.244.0.3")
    };
    let web = service("web");
    let all = vec![draining.clone(), not_ready.clone(), endpoint("10.244.0.4")];
    assert_eq!(last_bytes(&endpoints(&web, all).cluster), [4]);
    let without = vec![draining, not_ready.clone()];
    assert_eq!(last_bytes(&endpoints(&web, without).cluster), [2]);
    assert!(endpoints(&web, vec![not_ready.clone()]).cluster.is_empty());
    let eager = ServiceRecord {
        publish_not_ready: true,
        ..web
    };
    assert_eq!(last_bytes(&endpoints(&eager, vec![not_ready]).cluster), [3]);
}

#[test]
fn local_endpoints_follow_the_same_rule_among_themselves() {
    let here = |address, ready| EndpointRecord {
        node: Some("n1".into()),
        ready,
        terminating: !ready,
        ..endpoint(address)
    };
    let web = ServiceRecord {
        internal_policy: TrafficPolicy::Local,
        ..service("web")
    };
    let found = endpoints(
        &web,
        vec![here("10.244.1.2", false), endpoint("10.244.2.3")],
    );
    assert_eq!(last_bytes(&found.local), [2]);
    assert_eq!(found.local_ready, 0);
    let found = endpoints(
        &web,
        vec![here("10.244.1.2", false), here("10.244.1.3", true)],
    );
    assert_eq!(last_bytes(&found.local), [3]);
    assert_eq!(found.local_ready, 1);
}

#[test]
fn hints_count_only_when_all_ready_endpoints_have_them_and_one_is_near() {
    let hinted = |address, zone: &str| EndpointRecord {
        zone_hints: vec![zone.into()],
        ..endpoint(address)
    };
    let web = service("web");
    let (near, far) = (hinted("10.244.0.2", "a"), hinted("10.244.0.3", "b"));
    let both = vec![near.clone(), far.clone()];
    assert_eq!(last_bytes(&endpoints(&web, both.clone()).cluster), [2]);
    let without = vec![near.clone(), far.clone(), endpoint("10.244.0.4")];
    assert_eq!(endpoints(&web, without).cluster.len(), 3);
    assert_eq!(last_bytes(&endpoints(&web, vec![far.clone()]).cluster), [3]);

    let same_node = ServiceRecord {
        distribution: TrafficDistribution::PreferSameNode,
        ..service("web")
    };
    let on = |mut endpoint: EndpointRecord, node: &str| {
        endpoint.node_hints = vec![node.into()];
        endpoint
    };
    let list = vec![on(near.clone(), "n2"), on(far.clone(), "n1")];
    assert_eq!(last_bytes(&endpoints(&same_node, list).cluster), [3]);
    let list = vec![on(near, "n2"), on(far, "n3")];
    assert_eq!(last_bytes(&endpoints(&same_node, list).cluster), [2]);
}

#[test]
fn addresses_that_no_connection_may_be_sent_to_are_left_out() {
    let list = [
        "127.0.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "0.0.0.0",
        "fd00::1",
        "10.244.0.2",
    ];
    let found = endpoints(&service("web"), list.map(endpoint).to_vec());
    assert_eq!(last_bytes(&found.cluster), [2]);
}

#[test]
fn every_type_has_its_fronts() {
    let mut web = service("web");
    web.external_ips = vec!["203.0.113.9".parse().unwrap()];
    web.load_balancer_ips = vec!["192.0.2.1".parse().unwrap()];
    web.source_ranges = vec![
        ("198.51.100.7".parse().unwrap(), 24),
        ("198.51.100.128".parse().unwrap(), 25),
    ];
    web.ports[0].node_port = Some(30_080);
    web.external_policy = TrafficPolicy::Local;
    let fronts = |service_type| {
        let web = ServiceRecord {
            service_type,
            ..web.clone()
        };
        plan(&web, &["10.244.0.2"])
            .first()
            .map(|p| p.fronts.to_vec())
    };
    assert_eq!(fronts(ServiceType::ClusterIp).unwrap().len(), 2);
    assert_eq!(fronts(ServiceType::NodePort).unwrap().len(), 3);
    let all = fronts(ServiceType::LoadBalancer).unwrap();
    let routes: Vec<_> = all.iter().map(|f| (f.route, f.guarded)).collect();
    assert_eq!(
        routes,
        [
            (Route::Cluster, false),
            (Route::External, false),
            (Route::External, true),
            (Route::External, false)
        ]
    );
    assert_eq!(fronts(ServiceType::ExternalName), None);
    web.service_type = ServiceType::LoadBalancer;
    let sources = plan(&web, &[])[0].sources.to_vec();
    assert_eq!(
        sources,
        [(
            "198.51.100.0".parse().unwrap(),
            "198.51.100.255".parse().unwrap()
        )]
    );
    web.foreign = true;
    assert!(plan(&web, &["10.244.0.2"]).is_empty());
}

#[test]
fn a_change_of_one_endpoint_touches_little() {
    let web = service("web");
    let mut services = Services::default();
    let all = ["10.244.0.2", "10.244.0.3", "10.244.0.4", "10.244.0.5"];
    let first = services.update(vec![(owner("web"), plan(&web, &all))]);
    assert_eq!((first.drop.len(), first.add.len()), (0, 5));
    assert!(
        services
            .update(vec![(owner("web"), plan(&web, &all))])
            .is_empty()
    );
    // One goes: its number is taken by the last, and the front has one less.
    let delta = services.update(vec![(owner("web"), plan(&web, &all[1..]))]);
    assert_eq!((delta.drop.len(), delta.add.len()), (3, 2));
    let delta = services.update(vec![(owner("web"), Vec::new())]);
    assert_eq!((delta.drop.len(), delta.add.len()), (4, 0));
    assert!(services.entries().is_empty());
}

#[test]
fn of_two_that_claim_a_front_the_first_has_it_until_it_goes() {
    let mut a = service("a");
    let mut b = service("b");
    b.cluster_ips = vec!["10.96.0.11".parse().unwrap()];
    for service in [&mut a, &mut b] {
        service.external_ips = vec!["203.0.113.9".parse().unwrap()];
    }
    let mut services = Services::default();
    services.update(vec![(owner("a"), plan(&a, &["10.244.0.2"]))]);
    services.update(vec![(owner("b"), plan(&b, &["10.244.0.3"]))]);
    let shared = EntryKey::Front(FrontKey::Address(Primary {
        address: "203.0.113.9".parse().unwrap(),
        protocol: TCP,
        port: 80,
    }));
    let whose = |services: &Services| match services.entries().get(&shared) {
        Some(EntryValue::Front { note, .. }) => note.to_string(),
        other => panic!("a front: {other:?}"),
    };
    assert_eq!(whose(&services), "default/a:web");
    // A change of the first does not hand it over.
    services.update(vec![(owner("a"), plan(&a, &["10.244.0.9"]))]);
    assert_eq!(whose(&services), "default/a:web");
    let kernel = services.entries();
    let delta = services.update(vec![(owner("a"), Vec::new())]);
    assert_eq!(whose(&services), "default/b:web");
    assert_eq!(applied(kernel, &delta), services.entries());
}

#[test]
fn endpoints_outside_the_cluster_are_shared() {
    let mut other = service("other");
    other.cluster_ips = vec!["10.96.0.11".parse().unwrap()];
    let mut services = Services::default();
    let outside = |delta: &[(EntryKey, EntryValue)]| {
        let is = |key: &EntryKey| matches!(key, EntryKey::Outside { .. });
        delta.iter().filter(|(key, _)| is(key)).count()
    };
    let one = services.update(vec![(owner("web"), plan(&service("web"), &["192.0.2.7"]))]);
    let two = services.update(vec![(owner("other"), plan(&other, &["192.0.2.7"]))]);
    assert_eq!((outside(&one.add), outside(&two.add)), (1, 0));
    let one = services.update(vec![(owner("web"), Vec::new())]);
    let two = services.update(vec![(owner("other"), Vec::new())]);
    assert_eq!((outside(&one.drop), outside(&two.drop)), (0, 1));
}

#[test]
fn a_restart_keeps_every_endpoints_number() {
    let web = service("web");
    let mut before = Services::default();
    before.update(vec![(
        owner("web"),
        plan(&web, &["10.244.0.2", "10.244.0.3"]),
    )]);
    let kernel = before.entries();
    let mut after = Services::default();
    after.adopt(&kernel);
    after.update(vec![(
        owner("web"),
        plan(&web, &["10.244.0.3", "10.244.0.2"]),
    )]);
    after.forget_adopted();
    assert!(after.repair(&kernel, true).is_empty());
    // What was only saved adds, and takes nothing away.
    let mut saved = Services::default();
    saved.adopt(&kernel);
    saved.update(vec![(owner("web"), plan(&web, &["10.244.0.9"]))]);
    assert!(saved.repair(&kernel, false).is_empty());
    assert!(!saved.repair(&kernel, true).is_empty());
    assert_eq!(saved.repair(&Entries::new(), false).add.len(), 2);
}

#[test]
fn shapes_are_read_back_from_their_words() {
    for route in [Route::Cluster, Route::Local, Route::External] {
        for (cluster, local) in [
            (0, 0),
            (1, 0),
            (0, 1),
            (3, 2),
            (65_536, 65_536),
            (99_999, 1),
        ] {
            for affinity_s in [None, Some(1), Some(86_400)] {
                for flags in 0..4 {
                    let shape = Shape {
                        node_port: flags & 1 != 0,
                        guarded: flags & 2 != 0,
                        route,
                        cluster,
                        local,
                        affinity_s,
                    }
                    .tidy();
                    assert_eq!(Shape::from_words(shape.words()), Some(shape));
                }
            }
        }
    }
    assert_eq!(Shape::from_words([3 << 26, 0]), None);
}

fn applied(mut kernel: Entries, delta: &Delta) -> Entries {
    for (key, value) in &delta.drop {
        assert_eq!(kernel.remove(key).as_ref(), Some(value), "{key:?} is there");
    }
    for (key, value) in &delta.add {
        let before = kernel.insert(*key, value.clone());
        assert_eq!(before, None, "{key:?} is not there");
    }
    kernel
}

/// Any of three services with some addresses, affinity and policy.
fn any_change() -> impl Strategy<Value = (u8, Vec<u8>, u8)> {
    (0u8..3, proptest::collection::vec(2u8..12, 0..6), 0u8..16)
}

proptest! {
    #[test]
    fn changes_lead_where_planning_anew_would(
        batches in proptest::collection::vec(proptest::collection::vec(any_change(), 1..3), 1..12)
    ) {
        let mut services = Services::default();
        let mut kernel = Entries::new();
        for batch in batches {
            let mut changes = Vec::new();
            for (which, addresses, flags) in batch {
                let name = ["a", "b", "c"][usize::from(which)];
                if changes.iter().any(|(o, _)| *o == owner(name)) {
                    continue;
                }
                let mut record = service(name);
                record.service_type = ServiceType::LoadBalancer;
                record.cluster_ips = vec![[10, 96, 0, 10 + (which & flags)].into()];
                record.ports[0].node_port = Some(30_000 + u16::from(flags & 2));
                record.load_balancer_ips = vec!["192.0.2.1".parse().unwrap()];
                record.source_ranges = vec![("198.51.100.0".parse().unwrap(), 24 + (flags & 1))];
                record.affinity_s = (flags & 4 != 0).then_some(60);
                if flags & 8 != 0 {
                    record.external_policy = TrafficPolicy::Local;
                }
                let slice = slice(addresses.iter().map(|n| EndpointRecord {
                    node: Some(if n % 2 == 0 { "n1" } else { "n2" }.into()),
                    ..endpoint(&format!("10.{}.0.{n}", 240 + n / 2))
                }).collect());
                let plans = if flags == 0 {
                    Vec::new()
                } else {
                    service_plan(&record, [&slice], &node())
                };
                changes.push((owner(name), plans));
            }
            let delta = services.update(changes);
            kernel = applied(kernel, &delta);
            prop_assert_eq!(&kernel, &services.entries());
            prop_assert!(services.repair(&kernel, true).is_empty());
        }
    }
}
