use super::*;
use crate::world::World;
use kabuki_model::k8s_openapi::api::discovery::v1::EndpointSlice;
use kabuki_model::request::{DeleteOptions, Request};
use serde_json::{Value, json};

fn world() -> World {
    World::new(vec![Box::new(EndpointSlices)])
}

fn service(spec: Value) -> Value {
    let mut spec = spec;
    spec["selector"] = json!({"app": "web"});
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"team": "a"}}, "spec": spec,
    })
}

fn plain() -> Value {
    service(json!({
        "type": "ClusterIP", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
        "ports": [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}],
    }))
}

fn pod(number: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("web-{number:04}"), "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [
            {"name": "web", "containerPort": 8080, "protocol": "TCP"},
        ]}]},
        "status": {
            "phase": "Running", "podIP": format!("10.244.{}.{}", number / 250, number % 250 + 1),
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

fn slices(world: &World) -> Vec<EndpointSlice> {
    let all = world.view().scan(&Resource::ENDPOINT_SLICES, None, None);
    all.map(|s| (*s.typed::<EndpointSlice>().expect("decodes")).clone())
        .collect()
}

fn endpoints(world: &World) -> Vec<Endpoint> {
    let slices = slices(world).into_iter();
    slices
        .flat_map(|s| s.endpoints.unwrap_or_default())
        .collect()
}

/// Requests since the last look.
fn writes(world: &mut World) -> Vec<Request> {
    std::mem::take(&mut world.requests)
}

fn set_ready(world: &mut World, key: &ObjectKey, ready: &str) {
    world.change(key, |p| {
        p["status"]["conditions"][0]["status"] = ready.into()
    });
}

#[test]
fn a_service_has_its_pods_with_their_conditions() {
    let mut world = world();
    world.create(plain());
    let pods: Vec<ObjectKey> = (0..3).map(|n| world.create(pod(n))).collect();
    world.settle();
    set_ready(&mut world, &pods[1], "False");
    world.delete(&pods[2], &DeleteOptions::default());
    world.settle();

    let all = slices(&world);
    assert_eq!(all.len(), 1);
    let labels = all[0].metadata.labels.clone().expect("has some");
    assert_eq!(labels["team"], "a");
    assert_eq!(labels[SERVICE_NAME_LABEL], "web");
    assert_eq!(labels[MANAGED_BY], CONTROLLER);
    let owner = &all[0].metadata.owner_references.as_ref().expect("has one")[0];
    assert_eq!(
        (owner.kind.as_str(), owner.name.as_str()),
        ("Service", "web")
    );
    let ports = all[0].ports.as_ref().expect("has some");
    assert_eq!(
        (ports[0].name.as_deref(), ports[0].port),
        (Some("http"), Some(8080))
    );

    let shown: Vec<(String, bool, bool, bool)> = endpoints(&world)
        .iter()
        .map(|e| {
            let c = e.conditions.clone().expect("has some");
            let said = |b: Option<bool>| b.expect("is said");
            (
                e.addresses[0].clone(),
                said(c.ready),
                said(c.serving),
                said(c.terminating),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("10.244.0.1".to_string(), true, true, false),
            ("10.244.0.2".to_string(), false, false, false),
            ("10.244.0.3".to_string(), false, true, true),
        ]
    );
}

#[test]
fn each_change_of_a_pod_is_one_write_at_once() {
    let mut world = world();
    world.create(plain());
    let pods: Vec<ObjectKey> = (0..250).map(|n| world.create(pod(n))).collect();
    world.settle();
    assert_eq!(slices(&world).len(), 3);
    writes(&mut world);
    for key in &pods[90..110] {
        set_ready(&mut world, key, "False");
        world.settle();
        assert_eq!(writes(&mut world).len(), 1, "{key}");
    }
    // What services cannot see is no change.
    world.change(&pods[0], |p| {
        p["metadata"]["annotations"] = json!({"a": "b"})
    });
    world.settle();
    assert_eq!(writes(&mut world).len(), 0);
    world.remove(&pods[0]);
    world.settle();
    assert_eq!(writes(&mut world).len(), 1);
    assert_eq!(endpoints(&world).len(), 249);
}

#[test]
fn no_slice_is_larger_than_a_hundred_and_new_endpoints_are_packed() {
    let mut world = world();
    world.create(plain());
    for n in 0..230 {
        world.create(pod(n));
    }
    world.settle();
    let sizes = |world: &World| {
        let count = |s: &EndpointSlice| s.endpoints.as_ref().map_or(0, Vec::len);
        let mut sizes: Vec<usize> = slices(world).iter().map(count).collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(&world), [30, 100, 100]);
    writes(&mut world);
    for n in 230..280 {
        world.create(pod(n));
    }
    world.settle();
    assert_eq!(sizes(&world), [80, 100, 100]);
    assert_eq!(writes(&mut world).len(), 1);
    for n in 280..320 {
        world.create(pod(n));
    }
    world.settle();
    assert_eq!(sizes(&world), [40, 80, 100, 100]);
    assert_eq!(writes(&mut world).len(), 1);
}

#[test]
fn a_rolling_update_writes_as_often_as_pods_change() {
    let mut world = world();
    world.create(plain());
    let mut old: Vec<ObjectKey> = (0..100).map(|n| world.create(pod(n))).collect();
    world.settle();
    writes(&mut world);
    for n in 100..200 {
        world.create(pod(n));
        world.settle();
        let gone = old.pop().expect("one is left");
        world.remove(&gone);
        world.settle();
        let ready = endpoints(&world);
        assert!(ready.len() >= 100, "{}", ready.len());
    }
    assert!(writes(&mut world).len() <= 201);
    assert!(slices(&world).len() <= 2, "{}", slices(&world).len());
}

#[test]
fn a_service_without_pods_has_one_empty_slice() {
    let mut world = world();
    let key = world.create(plain());
    world.settle();
    assert_eq!(slices(&world).len(), 1);
    let first = slices(&world)[0].metadata.uid.clone();
    let pod = world.create(pod(1));
    world.settle();
    world.remove(&pod);
    world.settle();
    let after = slices(&world);
    assert_eq!((after.len(), &after[0].metadata.uid), (1, &first));
    assert_eq!(after[0].endpoints.as_ref().map(Vec::len), Some(0));
    world.remove(&key);
    world.settle();
    assert!(slices(&world).is_empty());
}

#[test]
fn pods_with_other_ports_are_in_slices_of_their_own() {
    let mut world = world();
    world.create(plain());
    world.create(pod(1));
    let mut other = pod(2);
    other["spec"]["containers"][0]["ports"][0]["containerPort"] = 9090.into();
    let other = world.create(other);
    world.settle();
    let ports = |world: &World| {
        let port = |s: &EndpointSlice| s.ports.as_ref().and_then(|p| p.first()?.port);
        let mut ports: Vec<_> = slices(world).iter().map(port).collect();
        ports.sort_unstable();
        ports
    };
    assert_eq!(ports(&world), [Some(8080), Some(9090)]);
    world.remove(&other);
    world.settle();
    assert_eq!(ports(&world), [Some(8080)]);
}

#[test]
fn the_names_of_pods_and_their_readiness_are_published_as_asked() {
    let mut world = world();
    world.create(service(json!({
        "clusterIP": "None", "clusterIPs": ["None"], "publishNotReadyAddresses": true,
    })));
    let mut named = pod(1);
    named["spec"]["hostname"] = "db-0".into();
    named["spec"]["subdomain"] = "web".into();
    named["status"]["conditions"][0]["status"] = "False".into();
    world.create(named);
    let mut elsewhere = pod(2);
    elsewhere["spec"]["hostname"] = "db-1".into();
    elsewhere["spec"]["subdomain"] = "other".into();
    world.create(elsewhere);
    world.settle();
    let all = endpoints(&world);
    assert_eq!(all[0].hostname.as_deref(), Some("db-0"));
    assert_eq!(all[1].hostname, None);
    let first = all[0].conditions.clone().expect("has some");
    assert_eq!((first.ready, first.serving), (Some(true), Some(false)));
    let labels = slices(&world)[0].metadata.labels.clone().expect("has some");
    assert!(labels.contains_key(HEADLESS_LABEL));
}

#[test]
fn hints_follow_the_zones_of_nodes() {
    let mut world = world();
    let node = |zone: &str| {
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": zone}},
        })
    };
    let node = world.create(node("east"));
    let mut object = plain();
    object["spec"]["trafficDistribution"] = "PreferClose".into();
    let key = world.create(object);
    world.create(pod(1));
    world.settle();
    let hints = |world: &World| {
        let hints = endpoints(world)[0].hints.clone().unwrap_or_default();
        let zones = hints
            .for_zones
            .unwrap_or_default()
            .into_iter()
            .map(|z| z.name);
        let nodes = hints
            .for_nodes
            .unwrap_or_default()
            .into_iter()
            .map(|n| n.name);
        (zones.collect::<Vec<_>>(), nodes.collect::<Vec<_>>())
    };
    assert_eq!(hints(&world), (vec!["east".to_string()], vec![]));
    world.change(&node, |n| {
        n["metadata"]["labels"]["topology.kubernetes.io/zone"] = "west".into();
    });
    world.settle();
    assert_eq!(hints(&world), (vec!["west".to_string()], vec![]));
    world.change(&key, |s| {
        s["spec"]["trafficDistribution"] = "PreferSameNode".into()
    });
    world.settle();
    let near = (vec!["west".to_string()], vec!["n1".to_string()]);
    assert_eq!(hints(&world), near);
    world.change(&key, |s| s["spec"]["trafficDistribution"] = Value::Null);
    world.settle();
    assert_eq!(hints(&world), (vec![], vec![]));
}

#[test]
fn what_somebody_else_does_to_a_slice_is_undone() {
    let mut world = world();
    world.create(plain());
    world.create(pod(1));
    world.settle();
    let all = world.view().scan(&Resource::ENDPOINT_SLICES, None, None);
    let key = all.map(|s| s.key.clone()).next().expect("one");
    world.change(&key, |s| s["endpoints"] = json!([]));
    world.settle();
    assert_eq!(endpoints(&world).len(), 1);
    world.remove(&key);
    world.settle();
    assert_eq!(endpoints(&world).len(), 1);
    world.change(&key_of(&world), |s| {
        s["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = "me".into();
    });
    world.settle();
    let ours = slices(&world);
    assert!(ours.iter().any(|s| {
        s.metadata
            .labels
            .as_ref()
            .is_some_and(|l| l[MANAGED_BY] == CONTROLLER)
    }));
}

fn key_of(world: &World) -> ObjectKey {
    let mut all = world.view().scan(&Resource::ENDPOINT_SLICES, None, None);
    all.next().expect("one").key.clone()
}

#[test]
fn services_without_a_selector_are_left_to_people() {
    let mut world = world();
    let mut object = plain();
    object["spec"]["selector"] = Value::Null;
    world.create(object);
    world.create(pod(1));
    world.settle();
    assert!(slices(&world).is_empty());
}

/// Nodes `n1`, `n2`, ... with two processors each, in these zones.
fn nodes(world: &mut World, zones: &[&str]) -> Vec<ObjectKey> {
    let node = |(number, zone): (usize, &&str)| {
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": format!("n{}", number + 1),
                "labels": {"topology.kubernetes.io/zone": zone},
            },
            "status": {
                "allocatable": {"cpu": "2"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        })
    };
    let nodes = zones.iter().enumerate().map(node);
    nodes.map(|n| world.create(n)).collect()
}

fn pod_on(number: u32, node: &str) -> Value {
    let mut pod = pod(number);
    pod["spec"]["nodeName"] = node.into();
    pod
}

/// For which zone each endpoint is; `-` for those that are for all.
fn hinted(world: &World) -> Vec<String> {
    let zone = |e: &Endpoint| {
        let zones = e.hints.clone().unwrap_or_default().for_zones;
        zones.map_or("-".to_string(), |z| z[0].name.clone())
    };
    endpoints(world).iter().map(zone).collect()
}

#[test]
fn topology_mode_gives_endpoints_to_zones_only_while_that_is_safe() {
    let mut world = world();
    let nodes = nodes(&mut world, &["east", "west"]);
    let mut automatic = plain();
    automatic["metadata"]["annotations"] = json!({"service.kubernetes.io/topology-mode": "Auto"});
    let service = world.create(automatic);
    for n in 0..2 {
        world.create(pod_on(n, "n1"));
    }
    let last = [world.create(pod_on(2, "n2")), world.create(pod_on(3, "n2"))];
    world.settle();
    assert_eq!(hinted(&world), ["east", "east", "west", "west"]);
    // One of three cannot be given to two zones without loading one of them too much.
    world.remove(&last[1]);
    world.settle();
    assert_eq!(hinted(&world), ["-", "-", "-"]);
    world.create(pod_on(4, "n1"));
    world.settle();
    let mut zones = hinted(&world);
    zones.sort();
    assert_eq!(zones, ["east", "east", "west", "west"]);
    // A node that goes, loses its zone or is not ready.
    let label = |zone: Value| {
        move |n: &mut Value| n["metadata"]["labels"]["topology.kubernetes.io/zone"] = zone.clone()
    };
    world.change(&nodes[1], |n| {
        n["status"]["conditions"][0]["status"] = "False".into()
    });
    world.settle();
    assert_eq!(hinted(&world), ["-", "-", "-", "-"]);
    world.change(&nodes[1], |n| {
        n["status"]["conditions"][0]["status"] = "True".into()
    });
    world.settle();
    assert!(!hinted(&world).contains(&"-".to_string()));
    world.change(&nodes[1], label("".into()));
    world.settle();
    assert_eq!(hinted(&world), ["-", "-", "-", "-"]);
    world.change(&nodes[1], label("west".into()));
    world.settle();
    assert!(!hinted(&world).contains(&"-".to_string()));
    // Without the annotation, nobody is preferred.
    world.change(&service, |s| {
        s["metadata"]["annotations"]["service.kubernetes.io/topology-mode"] = "Disabled".into();
    });
    world.settle();
    assert_eq!(hinted(&world), ["-", "-", "-", "-"]);
}

#[test]
fn a_node_whose_share_stays_the_same_is_no_work_for_balanced_services() {
    let mut world = world();
    let nodes = nodes(&mut world, &["east", "west"]);
    let mut automatic = plain();
    automatic["metadata"]["annotations"] = json!({"service.kubernetes.io/topology-mode": "Auto"});
    world.create(automatic);
    for n in 0..4 {
        world.create(pod_on(n, if n % 2 == 0 { "n1" } else { "n2" }));
    }
    world.settle();
    writes(&mut world);
    world.change(&nodes[0], |n| n["status"]["images"] = json!([]));
    world.settle();
    assert_eq!(writes(&mut world).len(), 0);
    // Sound as it was: one more endpoint is one write.
    world.create(pod_on(9, "n1"));
    world.create(pod_on(10, "n2"));
    world.settle();
    assert_eq!(hinted(&world).iter().filter(|z| *z == "east").count(), 3);
}
