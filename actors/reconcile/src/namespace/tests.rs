use super::*;
use crate::world::World;

fn namespace() -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
    })
}

fn object(kind: &str, name: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": {"containers": []}})
}

#[test]
fn a_namespace_goes_when_all_in_it_is_gone_and_pods_go_first() {
    let mut world = World::new(vec![Box::new(Namespaces)]);
    let key = world.create(namespace());
    let pod = world.create(object("Pod", "web"));
    let map = world.create(object("ConfigMap", "settings"));
    world.settle();
    assert!(
        world
            .view()
            .get(&pod)
            .expect("untouched")
            .meta()
            .deletion_timestamp
            .is_none()
    );
    world.delete(&key, &DeleteOptions::default());
    world.settle();
    let left = world.view().get(&pod).expect("ends slowly");
    assert!(left.meta().deletion_timestamp.is_some());
    assert!(
        world
            .view()
            .get(&map)
            .expect("waits")
            .meta()
            .deletion_timestamp
            .is_none()
    );
    let conditions = world
        .get::<Namespace>(&key)
        .status
        .clone()
        .and_then(|s| s.conditions);
    let remaining = conditions
        .into_iter()
        .flatten()
        .find(|c| c.type_ == "NamespaceContentRemaining")
        .expect("said");
    assert_eq!(remaining.status, "True");
    let message = "Some resources are remaining: configmaps. has 1 resource instances, pods. has 1 resource instances";
    assert_eq!(remaining.message.as_deref(), Some(message));
    world.remove(&pod);
    world.settle();
    assert!(world.view().get(&map).is_none());
    assert!(world.view().get(&key).is_none());
}

#[test]
fn a_finalizer_in_the_namespace_is_named_and_waited_for() {
    let mut world = World::new(vec![Box::new(Namespaces)]);
    let key = world.create(namespace());
    let mut kept = object("ConfigMap", "settings");
    kept["metadata"]["finalizers"] = json!(["example.com/keep"]);
    let map = world.create(kept);
    world.delete(&key, &DeleteOptions::default());
    world.settle();
    let conditions = world
        .get::<Namespace>(&key)
        .status
        .clone()
        .and_then(|s| s.conditions);
    let said = conditions
        .into_iter()
        .flatten()
        .find(|c| c.type_ == "NamespaceFinalizersRemaining");
    let message = "Some content in the namespace has finalizers remaining: example.com/keep in 1 resource instances";
    assert_eq!(said.expect("said").message.as_deref(), Some(message));
    world.change(&map, |object| object["metadata"]["finalizers"] = json!([]));
    world.settle();
    assert!(world.view().get(&key).is_none());
}
