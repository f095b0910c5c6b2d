use super::*;
use crate::world::World;
use jiff::SignedDuration;
use kabuki_model::status::Reason;
use serde_json::{Value, json};

fn world() -> World {
    World::new(vec![Box::new(ReplicaSets)])
}

fn set(replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    })
}

fn loose_pod(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    })
}

fn pods_of(view: &dyn View) -> Vec<Arc<Stored>> {
    view.scan(&Resource::PODS, None, None).cloned().collect()
}

fn make_ready(world: &mut World, key: &ObjectKey) {
    let now = world.now().to_string();
    world.change(key, |pod| {
        pod["spec"]["nodeName"] = "a".into();
        pod["status"] = json!({"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": now},
        ]});
    });
}

#[test]
fn as_many_pods_are_made_as_are_wanted() {
    let mut world = world();
    let key = world.create(set(3));
    world.settle();
    let pods = pods_of(world.view());
    assert_eq!(pods.len(), 3);
    for pod in &pods {
        let owner = ownership::controller_of(pod.meta()).expect("owned");
        assert_eq!((&*owner.kind, &*owner.name), ("ReplicaSet", "web"));
        assert_eq!(pod.meta().generate_name.as_deref(), Some("web-"));
        assert_eq!(pod.key.name.len(), "web-".len() + 5);
        let message = format!("Created pod: {}", pod.key.name);
        assert!(world.messages("SuccessfulCreate").contains(&&*message));
    }
    let status = world
        .get::<ReplicaSet>(&key)
        .status
        .clone()
        .expect("written");
    assert_eq!((status.replicas, status.ready_replicas), (3, Some(0)));
    assert_eq!(status.fully_labeled_replicas, Some(3));
    assert_eq!(status.observed_generation, Some(1));
}

#[test]
fn acting_twice_on_one_state_asks_for_the_same_pods() {
    let mut world = world();
    let key = world.create(set(4));
    let first = ReplicaSets.reconcile(world.view(), &key, world.now());
    assert_eq!(
        ReplicaSets.reconcile(world.view(), &key, world.now()),
        first
    );
    world.settle();
    let settled = ReplicaSets.reconcile(world.view(), &key, world.now());
    assert_eq!(settled, Outcome::done());
}

#[test]
fn a_deleted_pod_is_replaced_by_one_of_another_name() {
    let mut world = world();
    world.create(set(1));
    world.settle();
    let first = pods_of(world.view())[0].clone();
    world.remove(&first.key);
    world.settle();
    let pods = pods_of(world.view());
    assert_eq!(pods.len(), 1);
    assert_ne!(pods[0].key, first.key);
}

#[test]
fn the_pods_that_are_missed_least_go_first() {
    let mut world = world();
    let key = world.create(set(4));
    world.settle();
    let keys: Vec<ObjectKey> = pods_of(world.view())
        .iter()
        .map(|p| p.key.clone())
        .collect();
    make_ready(&mut world, &keys[0]);
    make_ready(&mut world, &keys[1]);
    make_ready(&mut world, &keys[2]);
    world.change(&keys[0], |pod| {
        pod["metadata"]["annotations"] =
            json!({"controller.kubernetes.io/pod-deletion-cost": "-5"});
    });
    world.settle();
    world.change(&key, |set| set["spec"]["replicas"] = 2.into());
    world.settle();
    let left: Vec<ObjectKey> = pods_of(world.view())
        .iter()
        .filter(|p| p.meta().deletion_timestamp.is_none())
        .map(|p| p.key.clone())
        .collect();
    // The one that never ran went, and the cheapest of the others.
    assert_eq!(left, [keys[1].clone(), keys[2].clone()]);
    assert_eq!(world.messages("SuccessfulDelete").len(), 2);
}

#[test]
fn orphans_that_match_are_adopted_and_what_no_longer_matches_is_released() {
    let mut world = world();
    let loose = world.create(loose_pod("loose", "web"));
    world.create(loose_pod("other", "db"));
    world.create(set(1));
    world.settle();
    let pods = pods_of(world.view());
    assert_eq!(pods.len(), 2, "the orphan is the one that was wanted");
    assert!(ownership::controller_of(world.view().get(&loose).expect("there").meta()).is_some());
    world.change(&loose, |pod| {
        pod["metadata"]["labels"]["app"] = "debug".into()
    });
    world.settle();
    assert!(ownership::controller_of(world.view().get(&loose).expect("kept").meta()).is_none());
    assert_eq!(pods_of(world.view()).len(), 3, "it was replaced");
}

#[test]
fn a_pod_is_available_when_it_was_ready_long_enough() {
    let mut world = world();
    let mut object = set(1);
    object["spec"]["minReadySeconds"] = 10.into();
    let key = world.create(object);
    world.settle();
    let pod = pods_of(world.view())[0].key.clone();
    make_ready(&mut world, &pod);
    world.settle();
    let available = |world: &World| {
        let status = world
            .get::<ReplicaSet>(&key)
            .status
            .clone()
            .expect("written");
        (status.ready_replicas, status.available_replicas)
    };
    assert_eq!(available(&world), (Some(1), Some(0)));
    world.advance(SignedDuration::from_secs(11));
    assert_eq!(available(&world), (Some(1), Some(1)));
}

#[test]
fn a_refused_creation_shows_in_an_event_and_a_condition_until_it_works() {
    let mut world = world();
    world.refuse = Box::new(|request| {
        let create = matches!(request, Request::Create { .. });
        create.then(|| StatusError::new(Reason::Forbidden, "exceeded quota"))
    });
    let key = world.create(set(2));
    world.settle();
    assert_eq!(
        world.messages("FailedCreate")[0],
        "Error creating: exceeded quota"
    );
    let failed = |world: &World| {
        let conditions = world
            .get::<ReplicaSet>(&key)
            .status
            .clone()
            .and_then(|s| s.conditions);
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|c| c.type_.as_deref() == Some("ReplicaFailure"))
    };
    assert!(failed(&world));
    world.refuse = Box::new(|_| None);
    world.advance(SignedDuration::from_secs(1));
    assert!(!failed(&world));
    assert_eq!(pods_of(world.view()).len(), 2);
}
