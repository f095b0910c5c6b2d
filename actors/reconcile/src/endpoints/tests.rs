use super::*;
use crate::world::World;
use serde_json::{Value, json};

fn world() -> (World, ObjectKey) {
    let mut world = World::new(vec![Box::new(EndpointsObjects)]);
    let key = world.create(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }));
    (world, key)
}

fn pod(number: usize, ready: bool) -> Value {
    let ready = if ready { "True" } else { "False" };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("web-{number}"), "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1"},
        "status": {
            "phase": "Running", "podIP": format!("10.244.{}.{}", number / 250, number % 250 + 1),
            "conditions": [{"type": "Ready", "status": ready}],
        },
    })
}

fn own() -> ObjectKey {
    ObjectKey::new(Resource::ENDPOINTS, "shop", "web")
}

#[test]
fn ready_pods_are_told_from_others() {
    let (mut world, _) = world();
    world.create(pod(1, true));
    world.create(pod(2, false));
    world.settle();
    let endpoints = world.get::<Endpoints>(&own());
    let subset = &endpoints.subsets.as_ref().expect("has one")[0];
    let ips = |list: &Option<Vec<EndpointAddress>>| {
        let list = list.iter().flatten();
        list.map(|a| a.ip.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ips(&subset.addresses), ["10.244.0.2"]);
    assert_eq!(ips(&subset.not_ready_addresses), ["10.244.0.3"]);
    assert_eq!(subset.ports.as_ref().expect("has one")[0].port, 8080);
    world.requests.clear();
    world.change(&own(), |e| e["subsets"] = json!([]));
    world.settle();
    assert_eq!(
        world.requests.len(),
        1,
        "what was changed by hand is repaired"
    );
}

#[test]
fn a_thousand_addresses_are_enough_for_it() {
    let (mut world, _) = world();
    for n in 0..1010 {
        world.create(pod(n, n >= 20));
    }
    world.settle();
    let endpoints = world.get::<Endpoints>(&own());
    let annotations = endpoints.metadata.annotations.as_ref().expect("has some");
    assert_eq!(annotations[OVER_CAPACITY], "truncated");
    let subset = &endpoints.subsets.as_ref().expect("has one")[0];
    let ready = subset.addresses.as_ref().map_or(0, Vec::len);
    let others = subset.not_ready_addresses.as_ref().map_or(0, Vec::len);
    assert_eq!((ready, others), (990, 10));
    for n in 0..10 {
        world.remove(&ObjectKey::new(Resource::PODS, "shop", &format!("web-{n}")));
    }
    world.settle();
    let endpoints = world.get::<Endpoints>(&own());
    assert_eq!(endpoints.metadata.annotations, None);
}

#[test]
fn it_goes_with_its_service() {
    let (mut world, service) = world();
    world.settle();
    assert!(world.view().get(&own()).is_some());
    world.remove(&service);
    world.settle();
    assert!(world.view().get(&own()).is_none());
}
