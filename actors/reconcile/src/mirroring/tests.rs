use super::*;
use crate::world::World;
use kabuki_model::k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

fn service(selector: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"selector": selector, "ports": [{"port": 5432}]},
    })
}

fn endpoints(labels: Value, addresses: usize) -> Value {
    let addresses: Vec<Value> = (0..addresses)
        .map(|n| json!({"ip": format!("192.0.2.{}", n % 250), "hostname": format!("h{n}")}))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "db", "namespace": "shop", "labels": labels},
        "subsets": [{
            "addresses": addresses, "notReadyAddresses": [{"ip": "2001:db8::1"}],
            "ports": [{"port": 5432, "protocol": "TCP"}],
        }],
    })
}

fn slices(world: &World) -> Vec<EndpointSlice> {
    let all = world.view().scan(&Resource::ENDPOINT_SLICES, None, None);
    all.map(|s| (*s.typed::<EndpointSlice>().expect("decodes")).clone())
        .collect()
}

#[test]
fn hand_made_endpoints_become_slices_of_each_address_type() {
    let mut world = World::new(vec![Box::new(Mirroring)]);
    let service = world.create(service(Value::Null));
    let key = world.create(endpoints(json!({"team": "a"}), 130));
    world.settle();
    let mut shown: Vec<(String, usize)> = slices(&world)
        .iter()
        .map(|s| {
            (
                s.address_type.clone(),
                s.endpoints.as_ref().map_or(0, Vec::len),
            )
        })
        .collect();
    shown.sort();
    let of = |t: &str, n| (t.to_string(), n);
    assert_eq!(shown, [of("IPv4", 30), of("IPv4", 100), of("IPv6", 1)]);
    let six = slices(&world)
        .into_iter()
        .find(|s| s.address_type == "IPv6");
    let six = six.expect("one");
    let labels = six.metadata.labels.expect("has some");
    assert_eq!(
        (labels["team"].as_str(), labels[MANAGED_BY].as_str()),
        ("a", CONTROLLER)
    );
    assert_eq!(
        six.metadata.owner_references.expect("has one")[0].kind,
        "Endpoints"
    );
    let ready = six.endpoints.expect("has one")[0].conditions.clone();
    assert_eq!(ready.and_then(|c| c.ready), Some(false));
    world.requests.clear();
    world.change(&key, |e| {
        e["subsets"][0]["addresses"][7]["hostname"] = "other".into()
    });
    world.settle();
    assert_eq!(world.requests.len(), 1);
    world.remove(&service);
    world.settle();
    assert!(slices(&world).is_empty());
}

#[test]
fn what_others_keep_in_step_is_not_mirrored() {
    let skipped = [
        (json!({}), json!({"app": "db"})),
        (json!({SKIP: "true"}), Value::Null),
        (
            json!({endpoints::MANAGED_BY: endpoints::CONTROLLER}),
            Value::Null,
        ),
    ];
    for (labels, selector) in skipped {
        let mut world = World::new(vec![Box::new(Mirroring)]);
        world.create(service(selector));
        world.create(self::endpoints(labels, 3));
        world.settle();
        assert!(slices(&world).is_empty());
    }
    let mut world = World::new(vec![Box::new(Mirroring)]);
    world.create(endpoints(json!({}), 3));
    world.settle();
    assert!(slices(&world).is_empty(), "there is no service");
    world.create(service(Value::Null));
    world.settle();
    assert_eq!(slices(&world).len(), 2);
}
