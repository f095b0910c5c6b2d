use super::*;
use crate::world::World;
use jiff::SignedDuration;
use kabuki_model::taint::{NO_EXECUTE, NOT_READY, UNREACHABLE, written};
use serde_json::json;

fn node(name: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"conditions": [
            {"type": "MemoryPressure", "status": "False"},
            {"type": "Ready", "status": ready, "lastTransitionTime": "2030-01-01T00:00:00Z"},
        ]},
    })
}

fn in_zone(name: &str, ready: &str, zone: &str) -> Value {
    let mut node = node(name, ready);
    node["metadata"]["labels"] = json!({"topology.kubernetes.io/zone": zone});
    node
}

fn world(nodes: impl IntoIterator<Item = Value>) -> World {
    let mut world = World::new(vec![Box::new(NodeLifecycle)]);
    for node in nodes {
        world.create(node);
    }
    world.settle();
    world
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Resource::NODES, "", name)
}

fn taints(world: &World, name: &str) -> Vec<String> {
    let node = world.get::<Node>(&key(name));
    let mut texts: Vec<String> = taints::held(&node).iter().map(written).collect();
    texts.sort();
    texts
}

fn turn(world: &mut World, name: &str, condition: &str, status: &str) {
    let now = world.now().to_string();
    world.change(&key(name), |node| {
        let conditions = node["status"]["conditions"].as_array_mut().expect("a list");
        let found = conditions.iter_mut().find(|c| c["type"] == condition);
        let found = found.expect("the condition");
        found["status"] = status.into();
        found["lastTransitionTime"] = now.into();
    });
    world.settle();
}

/// The nodes that pods are driven away from.
fn driven(world: &World) -> Vec<String> {
    let nodes = world.view().scan(&Resource::NODES, None, None);
    let driven = nodes.filter(|n| {
        let node = n.typed::<Node>().expect("a node");
        taints::held(&node).iter().any(|t| t.effect == NO_EXECUTE)
    });
    driven.map(|n| n.key.name.to_string()).collect()
}

#[test]
fn conditions_and_cordons_keep_new_pods_away_for_as_long_as_they_last() {
    let mut world = world([node("a", "True"), node("b", "True")]);
    assert!(taints(&world, "a").is_empty());
    turn(&mut world, "a", "MemoryPressure", "True");
    world.change(&key("a"), |n| n["spec"]["unschedulable"] = true.into());
    world.settle();
    assert_eq!(
        taints(&world, "a"),
        [
            "node.kubernetes.io/memory-pressure:NoSchedule",
            "node.kubernetes.io/unschedulable:NoSchedule",
        ]
    );
    turn(&mut world, "a", "MemoryPressure", "Unknown");
    world.change(&key("a"), |n| n["spec"]["unschedulable"] = false.into());
    world.settle();
    assert!(taints(&world, "a").is_empty());
    assert!(taints(&world, "b").is_empty());
}

#[test]
fn taints_that_people_gave_stay() {
    let mut given = node("a", "False");
    given["spec"]["taints"] = json!([
        {"key": "gpu", "value": "yes", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"},
    ]);
    let mut world = world([given, node("b", "True")]);
    turn(&mut world, "a", "Ready", "True");
    assert_eq!(
        taints(&world, "a"),
        [
            "gpu=yes:NoSchedule",
            "node.kubernetes.io/out-of-service:NoExecute"
        ]
    );
}

#[test]
fn a_new_node_keeps_its_taint_until_it_says_that_it_is_ready() {
    let mut new = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}});
    new["spec"]["taints"] = json!([{"key": NOT_READY, "effect": "NoSchedule"}]);
    let mut world = world([new]);
    assert_eq!(taints(&world, "a").len(), 1);
    world.change(&key("a"), |n| {
        n["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    });
    world.settle();
    assert!(taints(&world, "a").is_empty());
    assert_eq!(world.requests.len(), 1, "in one step");
    assert!(world.messages("NodeNotReady").is_empty());
}

#[test]
fn a_lost_node_gets_both_taints_and_loses_them_in_one_step() {
    let mut world = world([node("a", "True"), node("b", "True")]);
    turn(&mut world, "a", "Ready", "Unknown");
    assert_eq!(
        taints(&world, "a"),
        [
            "node.kubernetes.io/unreachable:NoExecute",
            "node.kubernetes.io/unreachable:NoSchedule"
        ]
    );
    assert_eq!(
        world.messages("NodeNotReady"),
        ["Node a status is now: NodeNotReady"]
    );
    world.requests.clear();
    turn(&mut world, "a", "Ready", "True");
    assert!(taints(&world, "a").is_empty());
    assert_eq!(world.requests.len(), 1);
}

#[test]
fn pods_count_on_from_the_first_taint_when_its_key_changes() {
    let mut world = world([node("a", "Unknown"), node("b", "True")]);
    let time = |world: &World| {
        let node = world.get::<Node>(&key("a"));
        let all = taints::held(&node).to_vec();
        let one = all.into_iter().find(|t| t.effect == NO_EXECUTE);
        let one = one.expect("a taint");
        (one.key, one.time_added.expect("a time"))
    };
    let (before, given) = time(&world);
    assert_eq!(before, UNREACHABLE);
    world.advance(SignedDuration::from_secs(60));
    turn(&mut world, "a", "Ready", "False");
    assert_eq!(time(&world), (NOT_READY.to_string(), given));
    assert_eq!(taints(&world, "a").len(), 2);
}

#[test]
fn lost_nodes_of_a_zone_are_driven_one_every_ten_seconds() {
    let well = ["c", "d", "e", "f"].map(|n| node(n, "True"));
    let mut world = world(
        well.into_iter()
            .chain([node("a", "True"), node("b", "True")]),
    );
    turn(&mut world, "b", "Ready", "False");
    turn(&mut world, "a", "Ready", "False");
    assert_eq!(driven(&world), ["b"], "the first that was lost");
    assert_eq!(taints(&world, "a").len(), 1, "new pods keep away at once");
    world.advance(SignedDuration::from_millis(9_900));
    assert_eq!(driven(&world), ["b"]);
    world.advance(SignedDuration::from_millis(200));
    assert_eq!(driven(&world), ["a", "b"]);
}

#[test]
fn each_zone_has_its_own_pace() {
    let world = world([
        in_zone("a", "False", "x"),
        in_zone("b", "True", "x"),
        in_zone("c", "Unknown", "y"),
        in_zone("d", "True", "y"),
    ]);
    assert_eq!(driven(&world), ["a", "c"]);
}

#[test]
fn a_small_zone_that_is_mostly_lost_loses_no_pods() {
    let lost = ["a", "b", "c"].map(|n| node(n, "True"));
    let well = ["d", "e"].map(|n| node(n, "True"));
    let mut world = world(lost.into_iter().chain(well));
    for name in ["a", "b", "c"] {
        turn(&mut world, name, "Ready", "Unknown");
    }
    world.advance(SignedDuration::from_hours(1));
    assert_eq!(driven(&world), ["a"], "only what was lost before");
    turn(&mut world, "c", "Ready", "True");
    assert_eq!(driven(&world), ["a", "b"]);
}

#[test]
fn a_large_zone_that_is_mostly_lost_loses_them_slowly() {
    let names: Vec<String> = (0..60).map(|i| format!("n{i:02}")).collect();
    let lost = |i: usize| if i < 40 { "Unknown" } else { "True" };
    let nodes = names.iter().enumerate().map(|(i, n)| node(n, lost(i)));
    let mut world = World::new(vec![Box::new(NodeLifecycle)]);
    nodes.for_each(|n| drop(world.create(n)));
    world.settle();
    assert_eq!(driven(&world), ["n00"]);
    world.advance(SignedDuration::from_secs(99));
    assert_eq!(driven(&world).len(), 1);
    world.advance(SignedDuration::from_secs(2));
    assert_eq!(driven(&world), ["n00", "n01"]);
}

#[test]
fn a_zone_that_is_lost_whole_is_left_for_another_one() {
    let world = world([
        in_zone("a", "Unknown", "x"),
        in_zone("b", "True", "y"),
        in_zone("c", "True", "y"),
    ]);
    assert_eq!(driven(&world), ["a"]);
}

#[test]
fn nothing_is_driven_away_when_every_node_is_lost() {
    let mut world = world([in_zone("a", "True", "x"), in_zone("b", "True", "y")]);
    turn(&mut world, "a", "Ready", "Unknown");
    assert_eq!(driven(&world), ["a"]);
    turn(&mut world, "b", "Ready", "Unknown");
    world.advance(SignedDuration::from_hours(1));
    assert!(driven(&world).is_empty(), "what was begun is taken back");
    assert_eq!(taints(&world, "a").len(), 1);
    turn(&mut world, "b", "Ready", "True");
    assert_eq!(driven(&world), ["a"]);
}

#[test]
fn excluded_nodes_say_nothing_about_their_zone() {
    let mut excluded = node("x", "True");
    let label = "node.kubernetes.io/exclude-disruption";
    excluded["metadata"]["labels"] = json!({label: ""});
    let world = world([excluded, node("a", "Unknown")]);
    assert!(driven(&world).is_empty(), "all that count are lost");
}

#[test]
fn a_clock_that_was_set_back_delays_the_next_by_one_pace_at_most() {
    let mut first = node("a", "Unknown");
    first["spec"]["taints"] =
        json!([{"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "2031-01-01T00:00:00Z"}]);
    let nodes = [
        first,
        node("b", "Unknown"),
        node("c", "True"),
        node("d", "True"),
    ];
    let mut world = world(nodes);
    assert_eq!(driven(&world), ["a"]);
    let view = world.view();
    let outcome = zones::reconcile(view, world.now());
    let soon = world.now() + SignedDuration::from_secs(10);
    assert_eq!(outcome.again_at, Some(soon));
    world.advance(SignedDuration::from_secs(1));
}

fn pod(name: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": "a", "containers": []},
        "status": {"phase": "Running", "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Ready", "status": ready},
        ]},
    })
}

#[test]
fn the_pods_of_a_lost_node_are_not_ready_whenever_they_come() {
    let mut world = world([node("a", "True"), node("b", "True")]);
    let web = world.create(pod("web", "True"));
    let slow = world.create(pod("slow", "False"));
    world.settle();
    assert!(pods::is_ready(&world.get::<Pod>(&web)));
    let before = world.view().get(&slow).expect("there").revision;
    turn(&mut world, "a", "Ready", "Unknown");
    let status = world.get::<Pod>(&web).status.clone().expect("a status");
    let conditions = status.conditions.expect("conditions");
    assert_eq!(conditions.len(), 2, "the others stay");
    assert_eq!(conditions[1].status, "False");
    assert_eq!(conditions[1].reason.as_deref(), Some("NodeNotReady"));
    assert_eq!(world.view().get(&slow).expect("there").revision, before);
    let late = world.create(pod("late", "True"));
    world.settle();
    assert!(!pods::is_ready(&world.get::<Pod>(&late)));
    let said = world.messages("NodeNotReady");
    assert_eq!(
        said.iter().filter(|m| **m == "Node is not ready").count(),
        2
    );
}

#[test]
fn whatever_happens_it_ends_where_the_last_conditions_lead() {
    let mut seed = 7u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    let names = ["a", "b", "c", "d", "e"];
    let mut world = world(names.map(|n| in_zone(n, "True", if n < "c" { "x" } else { "y" })));
    for _ in 0..300 {
        let name = names[usize::try_from(next(5)).expect("small")];
        let status = ["True", "False", "Unknown"][usize::try_from(next(3)).expect("small")];
        turn(&mut world, name, "Ready", status);
        world.advance(SignedDuration::from_millis(
            i64::try_from(next(15_000)).expect("small"),
        ));
    }
    world.advance(SignedDuration::from_secs(100));
    let statuses = names.map(|n| {
        ready(&world.get::<Node>(&key(n)))
            .expect("one")
            .status
            .clone()
    });
    let all_lost = statuses.iter().all(|s| s != "True");
    for (name, status) in names.iter().zip(&statuses) {
        let all = taints(&world, name);
        let wanted = match (status.as_str(), all_lost) {
            ("True", _) => 0,
            (_, true) => 1,
            _ => 2,
        };
        assert_eq!(all.len(), wanted, "{name} is {status}: {all:?}");
    }
}
