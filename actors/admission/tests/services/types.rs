//! What becomes of addresses and ports when the type of a service changes.

use super::world::{World, cause, key, of_type};
use kabuki_model::view::View;
use serde_json::{Value, json};

fn changed(world: &mut World, patch: Value) -> Value {
    world.patch("web", patch).expect("is changed")["spec"].clone()
}

#[test]
fn a_service_keeps_its_address_through_every_type_that_has_one() {
    let mut world = World::new("10.96.0.0/16");
    let made = world.service("web", of_type("ClusterIP")).expect("is made");
    let address = made["spec"]["clusterIP"].clone();
    assert!(made["spec"]["ports"][0].get("nodePort").is_none());

    let spec = changed(&mut world, json!({"spec": {"type": "NodePort"}}));
    assert_eq!(spec["clusterIP"], address);
    let port = spec["ports"][0]["nodePort"].clone();
    assert!(port.is_i64());

    let spec = changed(&mut world, json!({"spec": {"type": "LoadBalancer"}}));
    assert_eq!(spec["ports"][0]["nodePort"], port);
    assert_eq!(spec["allocateLoadBalancerNodePorts"], true);

    let local = json!({"spec": {"externalTrafficPolicy": "Local"}});
    let spec = changed(&mut world, local);
    assert!(spec["healthCheckNodePort"].is_i64());

    let spec = changed(&mut world, json!({"spec": {"type": "ClusterIP"}}));
    assert_eq!(spec["clusterIP"], address);
    for gone in [
        "healthCheckNodePort",
        "allocateLoadBalancerNodePorts",
        "externalTrafficPolicy",
    ] {
        assert!(spec.get(gone).is_none(), "{gone}: {spec}");
    }
    assert!(spec["ports"][0].get("nodePort").is_none());

    let named = json!({"spec": {"type": "ExternalName", "externalName": "a.example"}});
    let spec = changed(&mut world, named);
    for gone in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        assert!(spec.get(gone).is_none(), "{gone}: {spec}");
    }
    let text = address.as_str().expect("a text");
    let other = json!({"clusterIP": text, "ports": [{"port": 1}]});
    world.service("other", other).expect("it was let go");
    let port = port.as_i64().expect("a number");
    let ports = json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": port}]});
    world.service("third", ports).expect("it was let go");
}

#[test]
fn writing_ones_own_manifest_again_keeps_what_was_given() {
    let mut world = World::new("10.96.0.0/16");
    let spec = json!({"type": "NodePort", "ports": [
        {"name": "a", "port": 80}, {"name": "b", "port": 81},
    ]});
    let made = world.service("web", spec).expect("is made");
    let again = json!({"spec": {"clusterIP": null, "clusterIPs": null, "ports": [
        {"name": "b", "port": 81}, {"name": "a", "port": 8080}, {"name": "c", "port": 82},
    ]}});
    let spec = changed(&mut world, again);
    assert_eq!(spec["clusterIP"], made["spec"]["clusterIP"]);
    let port = |spec: &Value, index: usize| spec["ports"][index]["nodePort"].clone();
    assert_eq!(port(&spec, 0), port(&made["spec"], 1));
    assert_eq!(port(&spec, 1), port(&made["spec"], 0));
    assert!(port(&spec, 2).is_i64());
}

#[test]
fn an_address_cannot_be_changed_once_it_is_set() {
    let mut world = World::new("10.96.0.0/16");
    world.service("web", of_type("ClusterIP")).expect("is made");
    for other in ["10.96.0.33", "None"] {
        let why = cause(world.patch("web", json!({"spec": {"clusterIP": other}})));
        assert_eq!(
            why,
            format!("spec.clusterIPs[0]: Invalid value: [{other:?}]: may not change once set")
        );
    }
}

#[test]
fn node_ports_of_a_load_balancer_can_be_done_without() {
    let mut world = World::new("10.96.0.0/16");
    let spec = json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
        "ports": [{"port": 80}]});
    let made = world.service("web", spec).expect("is made");
    assert!(made["spec"]["ports"][0].get("nodePort").is_none());
    let on = json!({"spec": {"allocateLoadBalancerNodePorts": true}});
    let spec = changed(&mut world, on);
    assert!(spec["ports"][0]["nodePort"].is_i64());
    let off = json!({"spec": {"allocateLoadBalancerNodePorts": false}});
    let spec = changed(&mut world, off);
    assert!(
        spec["ports"][0]["nodePort"].is_i64(),
        "it stays until it is taken out"
    );
    let out = json!({"spec": {"ports": [{"port": 80}]}});
    let spec = changed(&mut world, out);
    assert!(spec["ports"][0].get("nodePort").is_none());
}

#[test]
fn a_headless_service_has_no_address_and_needs_no_ports() {
    let mut world = World::new("10.96.0.0/16");
    let made = world.service("web", json!({"clusterIP": "None", "selector": {"a": "b"}}));
    let made = made.expect("is made");
    assert_eq!(made["spec"]["clusterIPs"], json!(["None"]));
    assert_eq!(made["spec"]["ipFamilies"], json!(["IPv4"]));
    let again = world.service("web2", json!({"clusterIP": "None"}));
    again.expect("headless services do not compete");
    assert!(world.view.get(&key("web2")).is_some());
}
