use super::*;
use crate::world::World;

fn server(name: &str, address: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "annotations": {
            "cluster.kabuki.dev/role": "server", "cluster.kabuki.dev/address": address,
        }},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "addresses": [{"type": "InternalIP", "address": "192.0.2.99"}],
        },
    })
}

fn world() -> World {
    let mut world = World::new(vec![Box::new(ClusterServices)]);
    for name in ["default", "kube-system"] {
        world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    }
    world.create(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "kabuki-cluster", "namespace": "kube-system"},
        "data": {"serviceCidr": "10.96.0.0/16"},
    }));
    world
}

fn key(resource: Resource, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey::new(resource, namespace, name)
}

fn behind(world: &World, name: &str) -> Vec<String> {
    let slice = world.get::<EndpointSlice>(&key(Resource::ENDPOINT_SLICES, "default", name));
    let endpoints = slice.endpoints.clone().unwrap_or_default();
    endpoints.into_iter().flat_map(|e| e.addresses).collect()
}

#[test]
fn the_clusters_own_services_are_there_and_come_back() {
    let mut world = world();
    world.create(server("a", "192.0.2.1:6443", "True"));
    world.settle();
    let range = key(Resource::SERVICE_CIDRS, "", API);
    assert!(world.view().get(&range).is_some());
    let api = key(Resource::SERVICES, "default", API);
    let dns = key(Resource::SERVICES, "kube-system", DNS);
    let address = |world: &World, key: &ObjectKey| {
        let service = world.get::<Service>(key);
        service.spec.clone().and_then(|s| s.cluster_ip)
    };
    assert_eq!(address(&world, &api).as_deref(), Some("10.96.0.1"));
    assert_eq!(address(&world, &dns).as_deref(), Some("10.96.0.10"));
    let labels = world.get::<Service>(&dns).metadata.labels.clone();
    assert!(labels.is_some_and(|l| l.contains_key(PROXY_NAME_LABEL)));
    for key in [&range, &api, &dns] {
        world.remove(key);
        world.settle();
        assert!(world.view().get(key).is_some(), "{key}");
    }
    world.change(&api, |s| s["spec"]["ports"][0]["targetPort"] = 1.into());
    world.settle();
    let ports = world
        .get::<Service>(&api)
        .spec
        .clone()
        .and_then(|s| s.ports);
    let target = serde_json::to_value(&ports.expect("has one")[0].target_port);
    assert_eq!(target.expect("JSON"), 6443);
    world.requests.clear();
    world.relisted(&Resource::SERVICES);
    world.settle();
    assert!(world.requests.is_empty(), "{:?}", world.requests);
}

#[test]
fn ready_servers_are_behind_the_api_and_all_when_none_is_ready() {
    let mut world = world();
    let a = world.create(server("a", "192.0.2.1:6443", "True"));
    let b = world.create(server("b", "192.0.2.2:6443", "True"));
    let mut worker = server("w", "192.0.2.3:6443", "True");
    worker["metadata"]["annotations"]["cluster.kabuki.dev/role"] = "worker".into();
    world.create(worker);
    world.settle();
    assert_eq!(behind(&world, API), ["192.0.2.1", "192.0.2.2"]);
    let endpoints = world.get::<Endpoints>(&key(Resource::ENDPOINTS, "default", API));
    let subset = &endpoints.subsets.as_ref().expect("has one")[0];
    assert_eq!(subset.addresses.as_ref().map(Vec::len), Some(2));
    let set = |world: &mut World, node: &ObjectKey, status: &str| {
        world.change(node, |n| {
            n["status"]["conditions"][0]["status"] = status.into()
        });
        world.settle();
    };
    set(&mut world, &a, "Unknown");
    assert_eq!(behind(&world, API), ["192.0.2.2"]);
    set(&mut world, &b, "Unknown");
    assert_eq!(behind(&world, API), ["192.0.2.1", "192.0.2.2"]);
    set(&mut world, &a, "True");
    assert_eq!(behind(&world, API), ["192.0.2.1"]);
    world.remove(&a);
    world.settle();
    assert_eq!(behind(&world, API), ["192.0.2.2"]);
}

#[test]
fn servers_with_ports_of_their_own_have_slices_of_their_own() {
    let mut world = world();
    world.create(server("a", "192.0.2.1:6443", "True"));
    let b = world.create(server("b", "192.0.2.2:7443", "True"));
    world.create(server("c", "127.0.0.1:6443", "True"));
    world.settle();
    assert_eq!(behind(&world, API), ["192.0.2.1", "192.0.2.99"]);
    assert_eq!(behind(&world, "kubernetes-7443"), ["192.0.2.2"]);
    world.remove(&b);
    world.settle();
    let gone = key(Resource::ENDPOINT_SLICES, "default", "kubernetes-7443");
    assert!(world.view().get(&gone).is_none());
}
