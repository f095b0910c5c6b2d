use super::*;
use crate::world::World;
use jiff::SignedDuration;
use serde_json::Value;

fn node(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {}, "annotations": {
            "cluster.kabuki.dev/address": format!("{address}:6443"),
        }},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": address}],
        },
    })
}

fn service(name: &str, port: i32, class: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": class,
            "ports": [{"port": port, "protocol": "TCP"}],
        },
    })
}

fn ingress(world: &World, key: &ObjectKey) -> Vec<String> {
    let service = world.get::<Service>(key);
    let balancer = service.status.clone().and_then(|s| s.load_balancer);
    let ingress = balancer.and_then(|b| b.ingress).unwrap_or_default();
    ingress.into_iter().filter_map(|i| i.ip).collect()
}

#[test]
fn the_nodes_that_are_ready_answer() {
    let mut world = World::new(vec![Box::new(LoadBalancers)]);
    let a = world.create(node("a", "192.0.2.1"));
    let b = world.create(node("b", "192.0.2.2"));
    let plain = world.create(service("plain", 80, Value::Null));
    let ours = world.create(service("ours", 81, CLASS.into()));
    let other = world.create(service("other", 80, "example.com/lb".into()));
    world.settle();
    for key in [&plain, &ours] {
        assert_eq!(ingress(&world, key), ["192.0.2.1", "192.0.2.2"]);
    }
    assert!(ingress(&world, &other).is_empty());
    world.change(&a, |n| {
        n["status"]["conditions"][0]["status"] = "Unknown".into()
    });
    world.settle();
    assert_eq!(ingress(&world, &plain), ["192.0.2.2"]);
    world.change(&a, |n| {
        n["status"]["conditions"][0]["status"] = "True".into()
    });
    world.change(&b, |n| {
        n["metadata"]["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"] =
            "".into();
    });
    world.settle();
    assert_eq!(ingress(&world, &plain), ["192.0.2.1"]);
    world.requests.clear();
    world.change(&a, |n| n["status"]["nodeInfo"] = json!({"machineID": "x"}));
    world.settle();
    assert!(
        world.requests.is_empty(),
        "what does not matter is no change"
    );
}

#[test]
fn the_older_of_two_services_keeps_a_port() {
    let mut world = World::new(vec![Box::new(LoadBalancers)]);
    world.create(node("a", "192.0.2.1"));
    let first = world.create(service("z", 80, Value::Null));
    world.advance(SignedDuration::from_secs(1));
    let second = world.create(service("a", 80, Value::Null));
    world.settle();
    assert_eq!(ingress(&world, &first), ["192.0.2.1"]);
    assert!(ingress(&world, &second).is_empty());
    let why = "port 80/TCP of the nodes is that of service shop/z";
    assert_eq!(world.messages(CONFLICT), [why]);
    let conditions = world.get::<Service>(&second).status.clone();
    let conditions = conditions.and_then(|s| s.conditions).expect("has one");
    assert_eq!(
        (conditions[0].type_.as_str(), conditions[0].message.as_str()),
        (PORTS_ERROR, why)
    );
    world.remove(&first);
    world.settle();
    assert_eq!(ingress(&world, &second), ["192.0.2.1"]);
    let conditions = world.get::<Service>(&second).status.clone();
    assert_eq!(
        conditions.and_then(|s| s.conditions).unwrap_or_default(),
        []
    );
}

#[test]
fn the_nodes_own_port_is_not_given_away() {
    let mut world = World::new(vec![Box::new(LoadBalancers)]);
    world.create(node("a", "192.0.2.1"));
    let key = world.create(service("web", 6443, Value::Null));
    world.settle();
    assert!(ingress(&world, &key).is_empty());
    assert_eq!(world.messages(CONFLICT).len(), 1);
}
