//! One after the other: what is given, and what is refused in which words.

use super::world::{World, cause, key, of_type, service};
use kabuki_model::request::{Request, WriteOptions};
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

fn address(service: &Value) -> Ipv4Addr {
    let text = service["spec"]["clusterIP"].as_str().expect("a text");
    assert_eq!(service["spec"]["clusterIPs"], json!([text]));
    text.parse().expect("an address")
}

#[test]
fn addresses_that_nobody_asked_for_come_from_the_upper_band() {
    let mut world = World::new("10.96.0.0/16");
    let mut given = BTreeSet::new();
    for n in 0..200 {
        let made = world.service(&format!("s{n}"), of_type("ClusterIP"));
        let address = address(&made.expect("is created"));
        assert!(address > Ipv4Addr::new(10, 96, 1, 0), "{address}");
        assert!(given.insert(address), "{address} was given twice");
    }
}

#[test]
fn an_address_that_was_asked_for_is_given_once() {
    let mut world = World::new("10.96.0.0/16");
    let spec = json!({"clusterIP": "10.96.0.20", "ports": [{"port": 80}]});
    let made = world.service("a", spec.clone()).expect("is created");
    assert_eq!(address(&made), Ipv4Addr::new(10, 96, 0, 20));
    assert_eq!(
        cause(world.service("b", spec.clone())),
        "spec.clusterIPs: Invalid value: [\"10.96.0.20\"]: failed to allocate IP 10.96.0.20: \
         provided IP is already allocated"
    );
    world.delete(&key("a")).expect("is deleted");
    world.service("b", spec).expect("is free again");
}

#[test]
fn an_address_out_of_range_is_refused() {
    let mut world = World::new("10.96.0.0/16");
    for address in ["10.97.0.1", "10.96.0.0", "10.96.255.255"] {
        let spec = json!({"clusterIP": address, "ports": [{"port": 80}]});
        assert_eq!(
            cause(world.service("a", spec)),
            format!(
                "spec.clusterIPs: Invalid value: [\"{address}\"]: failed to allocate IP {address}: \
                 the provided IP ({address}) is not in the valid range. The range of valid IPs is \
                 10.96.0.0/16"
            )
        );
    }
}

#[test]
fn the_clusters_own_addresses_are_kept_for_it() {
    let mut world = World::new("10.96.0.0/28");
    for address in ["10.96.0.1", "10.96.0.10"] {
        let spec = json!({"clusterIP": address, "ports": [{"port": 80}]});
        let why = cause(world.service("thief", spec));
        assert!(why.ends_with("provided IP is already allocated"), "{why}");
    }
    // Fourteen addresses, two of which are kept.
    for n in 0..12 {
        world
            .service(&format!("s{n}"), of_type("ClusterIP"))
            .expect("there is room");
    }
    let full = world.service("last", of_type("ClusterIP"));
    let full = full.expect_err("refused").message;
    assert!(full.contains("range is full: 10.96.0.0/28"), "{full}");
    let own = json!({"clusterIP": "10.96.0.1", "ports": [{"port": 443}]});
    world.service("kubernetes", own).expect("it is its own");
}

#[test]
fn a_crowded_range_is_used_to_its_last_address() {
    let mut world = World::new("10.96.0.0/24");
    let mut given = BTreeSet::new();
    for n in 0..252 {
        let made = world.service(&format!("s{n}"), of_type("ClusterIP"));
        assert!(given.insert(address(&made.expect("there is room"))));
    }
    assert!(world.service("one-more", of_type("ClusterIP")).is_err());
    world.delete(&key("s77")).expect("is deleted");
    world
        .service("one-more", of_type("ClusterIP"))
        .expect("there is room again");
}

#[test]
fn node_ports_are_given_refused_and_shared_between_protocols() {
    let mut world = World::new("10.96.0.0/16");
    let asked = |port: i32| json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    world.service("a", asked(30080)).expect("is created");
    assert_eq!(
        cause(world.service("b", asked(30080))),
        "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
    );
    assert_eq!(
        cause(world.service("b", asked(80))),
        "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The \
         range of valid ports is 30000-32767"
    );
    let names = json!({"type": "NodePort", "ports": [
        {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53},
        {"name": "metrics", "port": 9153},
    ]});
    let made = world.service("dns", names).expect("is created");
    let ports = &made["spec"]["ports"];
    assert_eq!(ports[0]["nodePort"], ports[1]["nodePort"]);
    assert_ne!(ports[0]["nodePort"], ports[2]["nodePort"]);
    assert!(ports[0]["nodePort"].as_i64() >= Some(30086), "{ports}");
}

#[test]
fn a_health_check_port_is_a_port_like_others() {
    let mut world = World::new("10.96.0.0/16");
    let local = |port: Value| {
        json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local",
            "healthCheckNodePort": port, "ports": [{"port": 80, "nodePort": 30081}]})
    };
    assert_eq!(
        cause(world.service("a", local(json!(30081)))),
        "spec.healthCheckNodePort: Invalid value: 30081: provided port is already allocated"
    );
    let made = world.service("a", local(json!(31000))).expect("is created");
    assert_eq!(made["spec"]["healthCheckNodePort"], 31000);
    let taken = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 31000}]});
    let why = cause(world.service("b", taken));
    assert!(why.ends_with("provided port is already allocated"), "{why}");
    world.delete(&key("a")).expect("is deleted");
    let made = world.service("a", local(Value::Null)).expect("is created");
    let given = made["spec"]["healthCheckNodePort"].as_i64();
    assert!(given >= Some(30086), "{given:?}");
}

#[test]
fn a_dry_run_takes_nothing() {
    let mut world = World::new("10.96.0.0/16");
    let spec = json!({"clusterIP": "10.96.0.20", "ports": [{"port": 80}]});
    let Request::Create {
        resource,
        namespace,
        object,
        ..
    } = service("a", &spec)
    else {
        panic!("a creation");
    };
    let request = Request::Create {
        resource,
        namespace,
        object,
        options: WriteOptions {
            dry_run: true,
            ..WriteOptions::default()
        },
    };
    let shown = world.ask(&request).expect("would be created");
    assert_eq!(shown["spec"]["clusterIP"], "10.96.0.20");
    assert!(world.view.get(&key("a")).is_none());
    world.service("b", spec).expect("is free");
}

#[test]
fn ranges_are_added_and_taken_away() {
    let mut world = World::new("10.96.0.0/29");
    let range =
        |name: &str, cidr: &str| json!({"metadata": {"name": name}, "spec": {"cidrs": [cidr]}});
    for (name, cidr) in [("kubernetes", "10.96.0.0/29"), ("more", "10.200.0.0/28")] {
        world
            .create("", Resource::SERVICE_CIDRS, range(name, cidr))
            .expect("is created");
    }
    let mut outside = 0;
    // Five in the first range (one is kept), fourteen in the second.
    for n in 0..19 {
        let made = world.service(&format!("s{n}"), of_type("ClusterIP"));
        let address = address(&made.expect("there is room"));
        outside += i32::from(address.octets()[1] == 200);
    }
    assert_eq!(outside, 14);
    assert!(world.service("late", of_type("ClusterIP")).is_err());
    world.delete(&key("s0")).expect("is deleted");
    world.delete(&key("s18")).expect("is deleted");
    let more = ObjectKey::new(Resource::SERVICE_CIDRS, "", "more");
    world.delete(&more).expect("is marked");
    assert!(world.view.get(&more).is_some(), "its finalizer keeps it");
    world
        .service("late", of_type("ClusterIP"))
        .expect("one place is left in the other range");
    assert!(world.service("later", of_type("ClusterIP")).is_err());
}
