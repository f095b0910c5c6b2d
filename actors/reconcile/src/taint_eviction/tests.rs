use super::*;
use crate::node_lifecycle::NodeLifecycle;
use crate::world::World;
use kabuki_model::taint::UNREACHABLE;
use serde_json::Value;

fn node(name: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    })
}

fn pod(name: &str, tolerations: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": "a", "containers": [], "tolerations": tolerations},
        "status": {"phase": "Running", "conditions": [{
            "type": "PodScheduled", "status": "True",
            "lastTransitionTime": "2029-12-31T00:00:00Z",
        }]},
    })
}

fn bears(key: &str, seconds: Option<i64>) -> Value {
    let mut toleration = json!({"key": key, "operator": "Exists", "effect": "NoExecute"});
    if let Some(seconds) = seconds {
        toleration["tolerationSeconds"] = seconds.into();
    }
    toleration
}

fn world() -> (World, ObjectKey) {
    let mut world = World::new(vec![Box::new(TaintEviction)]);
    let key = world.create(node("a", "True"));
    (world, key)
}

fn taint(world: &mut World, node: &ObjectKey, keys: &[&str]) {
    let now = world.now().to_string();
    world.change(node, |node| {
        let taint = |k: &&str| json!({"key": k, "effect": "NoExecute", "timeAdded": now});
        node["spec"]["taints"] = keys.iter().map(taint).collect();
    });
    world.settle();
}

fn is_leaving(world: &World, pod: &ObjectKey) -> bool {
    let stored = world.view().get(pod).expect("there");
    stored.meta().deletion_timestamp.is_some()
}

#[test]
fn a_pod_that_does_not_bear_a_taint_leaves_at_once_and_is_told_why() {
    let (mut world, node) = world();
    let key = world.create(pod("web", json!([bears("other", None)])));
    world.settle();
    assert!(!is_leaving(&world, &key));
    taint(&mut world, &node, &["x"]);
    assert!(is_leaving(&world, &key));
    assert_eq!(
        world.messages("TaintManagerEviction"),
        ["Marking for deletion Pod default/web"]
    );
    let pod = world.get::<Pod>(&key);
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.clone());
    let conditions = conditions.expect("conditions");
    let told = conditions.last().expect("one");
    assert_eq!(told.type_, "DisruptionTarget");
    assert_eq!(told.reason.as_deref(), Some("DeletionByTaintManager"));
}

#[test]
fn other_effects_drive_nobody_away() {
    let (mut world, node) = world();
    let key = world.create(pod("web", json!([])));
    world.change(&node, |n| {
        n["spec"]["taints"] = json!([{"key": "x", "effect": "NoSchedule"}]);
    });
    world.settle();
    assert!(!is_leaving(&world, &key));
}

#[test]
fn the_shortest_toleration_that_is_needed_decides() {
    let (mut world, node) = world();
    let tolerations = [
        bears("x", Some(100)),
        bears("y", Some(50)),
        bears("z", Some(10)),
    ];
    let key = world.create(pod("web", json!(tolerations)));
    let forever = world.create(pod("forever", json!([bears("x", None), bears("y", None)])));
    taint(&mut world, &node, &["x", "y"]);
    world.advance(SignedDuration::from_secs(49));
    assert!(!is_leaving(&world, &key));
    world.advance(SignedDuration::from_secs(1));
    assert!(is_leaving(&world, &key));
    world.advance(SignedDuration::from_hours(100));
    assert!(!is_leaving(&world, &forever));
}

#[test]
fn the_first_toleration_that_fits_is_the_one_that_counts() {
    let (mut world, node) = world();
    let key = world.create(pod("web", json!([bears("x", None), bears("x", Some(1))])));
    taint(&mut world, &node, &["x"]);
    world.advance(SignedDuration::from_secs(60));
    assert!(!is_leaving(&world, &key));
}

#[test]
fn a_taint_that_goes_takes_its_deadline_with_it() {
    let (mut world, node) = world();
    let key = world.create(pod("web", json!([bears("x", Some(60))])));
    taint(&mut world, &node, &["x"]);
    world.advance(SignedDuration::from_secs(59));
    taint(&mut world, &node, &[]);
    world.advance(SignedDuration::from_secs(60));
    assert!(!is_leaving(&world, &key));
    taint(&mut world, &node, &["x"]);
    world.advance(SignedDuration::from_secs(59));
    assert!(!is_leaving(&world, &key), "it counts anew");
    world.advance(SignedDuration::from_secs(1));
    assert!(is_leaving(&world, &key));
}

#[test]
fn a_new_leader_counts_on_from_the_state() {
    let (mut world, node) = world();
    let key = world.create(pod("web", json!([bears("x", Some(60))])));
    taint(&mut world, &node, &["x"]);
    world.advance(SignedDuration::from_secs(40));
    // The queue of a new incarnation is empty until its watches have told it of everything.
    let core = TaintEviction;
    let object = world.view().get(&node).expect("there").clone();
    let keys = core.keys(world.view(), &object, None, false);
    assert_eq!(keys, std::slice::from_ref(&key));
    let outcome = core.reconcile(world.view(), &key, world.now());
    let end = world.now() + SignedDuration::from_secs(20);
    assert_eq!(outcome.again_at, Some(end));
}

#[test]
fn a_pod_that_comes_to_a_tainted_node_has_its_whole_time() {
    let (mut world, node) = world();
    taint(&mut world, &node, &["x"]);
    world.advance(SignedDuration::from_secs(600));
    let mut late = pod("late", json!([bears("x", Some(60))]));
    late["status"]["conditions"][0]["lastTransitionTime"] = world.now().to_string().into();
    let key = world.create(late);
    world.advance(SignedDuration::from_secs(59));
    assert!(!is_leaving(&world, &key));
    world.advance(SignedDuration::from_secs(1));
    assert!(is_leaving(&world, &key));
}

#[test]
fn a_toleration_that_is_added_is_noticed() {
    let (mut world, node) = world();
    let key = world.create(pod("web", json!([bears("x", Some(60))])));
    taint(&mut world, &node, &["x"]);
    world.change(&key, |p| {
        p["spec"]["tolerations"] = json!([bears("x", Some(5))])
    });
    world.advance(SignedDuration::from_secs(6));
    assert!(is_leaving(&world, &key));
}

#[test]
fn pods_of_a_lost_node_leave_five_minutes_after_their_node_was_tainted() {
    let cores: Vec<Box<dyn Reconciler>> = vec![Box::new(NodeLifecycle), Box::new(TaintEviction)];
    let mut world = World::new(cores);
    let a = world.create(node("a", "True"));
    world.create(node("b", "True"));
    let key = world.create(pod("web", json!([bears(UNREACHABLE, Some(300))])));
    world.settle();
    world.change(&a, |n| {
        n["status"]["conditions"][0]["status"] = "Unknown".into()
    });
    world.advance(SignedDuration::from_secs(299));
    assert!(!is_leaving(&world, &key));
    world.advance(SignedDuration::from_secs(1));
    assert!(is_leaving(&world, &key));
}

#[test]
fn a_node_that_comes_back_in_time_keeps_its_pods() {
    let cores: Vec<Box<dyn Reconciler>> = vec![Box::new(NodeLifecycle), Box::new(TaintEviction)];
    let mut world = World::new(cores);
    let a = world.create(node("a", "Unknown"));
    world.create(node("b", "True"));
    let key = world.create(pod("web", json!([bears(UNREACHABLE, Some(300))])));
    world.advance(SignedDuration::from_secs(290));
    world.change(&a, |n| {
        n["status"]["conditions"][0]["status"] = "True".into()
    });
    world.advance(SignedDuration::from_secs(600));
    assert!(!is_leaving(&world, &key));
}
