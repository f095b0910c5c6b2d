use super::*;
use jiff::{SignedDuration, Timestamp};
use kabuki_model::object::canonical_json;
use kabuki_model::{ObjectKey, Resource, Stored};
use serde_json::{Value, json};
use std::sync::Arc;

mod properties;

fn stored(resource: Resource, kind: &str, namespace: &str, object: Value) -> Arc<Stored> {
    let name = object["metadata"]["name"]
        .as_str()
        .expect("a name")
        .to_string();
    let Value::Object(fields) = object else {
        panic!("no object")
    };
    let uid = format!("{namespace}/{name}");
    let key = ObjectKey::new(resource, namespace, &name);
    Arc::new(Stored::new(
        key,
        uid.into(),
        1,
        canonical_json("v1", kind, fields),
    ))
}

fn node_with(name: &str, spec: Value, labels: Value, allocatable: Value) -> Arc<Stored> {
    let mut all = json!({"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "10Gi"});
    for (resource, amount) in allocatable.as_object().into_iter().flatten() {
        all[resource] = amount.clone();
    }
    let object = json!({
        "metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"allocatable": all},
    });
    stored(Resource::NODES, "Node", "", object)
}

fn node(name: &str, allocatable: Value) -> Arc<Stored> {
    node_with(name, json!({}), json!({}), allocatable)
}

fn pod_with(name: &str, requests: Value, spec: Value) -> Arc<Pending> {
    let mut all = json!({
        "containers": [{"name": "c", "image": "web", "resources": {"requests": requests}}],
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        all[field] = value.clone();
    }
    let object = json!({"metadata": {"name": name, "namespace": "default"}, "spec": all});
    let stored = stored(Resource::PODS, "Pod", "default", object);
    Arc::new(Pending::read(&stored).expect("a pod"))
}

fn pod(name: &str, requests: Value) -> Arc<Pending> {
    pod_with(name, requests, json!({}))
}

fn cluster(nodes: &[Arc<Stored>]) -> Cluster {
    let mut cluster = Cluster::default();
    for node in nodes {
        cluster.apply_node(node, false);
    }
    cluster
}

/// The node's name, or why there is none.
fn placed(cluster: &mut Cluster, pod: &Arc<Pending>) -> String {
    let decision = plan(cluster, std::slice::from_ref(pod), 7).remove(0);
    match decision.outcome {
        Ok(node) => node.to_string(),
        Err(failure) => failure.message.clone(),
    }
}

#[test]
fn a_pod_that_fits_nowhere_is_told_why_in_the_words_that_people_know() {
    let mut one = cluster(&[node("a", json!({"cpu": "1"}))]);
    let greedy = pod("greedy", json!({"cpu": "2"}));
    assert_eq!(
        placed(&mut one, &greedy),
        "0/1 nodes are available: 1 Insufficient cpu."
    );
    let taint = json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]});
    let mut three = cluster(&[
        node("a", json!({"cpu": "1", "memory": "1Gi"})),
        node_with("b", taint.clone(), json!({}), json!({})),
        node_with("c", taint, json!({}), json!({})),
    ]);
    let greedy = pod("greedy", json!({"cpu": "2", "memory": "2Gi"}));
    assert_eq!(
        placed(&mut three, &greedy),
        "0/3 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 2 node(s) had untolerated taint(s)."
    );
    let mut none = Cluster::default();
    assert_eq!(
        placed(&mut none, &greedy),
        "no nodes available to schedule pods"
    );
}

#[test]
fn each_filter_refuses_what_it_must_and_nothing_else() {
    let tainted = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoExecute"}]});
    let disk = json!({"disk": "ssd", "size": "7"});
    let affinity = |operator: &str, values: Value| {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "size", "operator": operator, "values": values}]}],
        }}}})
    };
    let field = |name: &str| {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}],
        }}}})
    };
    let ok = "a";
    let not_chosen =
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
    let repelled = "0/1 nodes are available: 1 node(s) had untolerated taint(s).";
    let closed = "0/1 nodes are available: 1 node(s) were unschedulable.";
    let toleration = |t: Value| json!({"tolerations": [t]});
    let cases: Vec<(Value, Value, Value, &str)> = vec![
        (json!({}), json!({}), json!({}), ok),
        (json!({"unschedulable": true}), json!({}), json!({}), closed),
        (
            json!({"unschedulable": true}),
            json!({}),
            toleration(json!({"operator": "Exists"})),
            ok,
        ),
        (tainted.clone(), json!({}), json!({}), repelled),
        (
            tainted.clone(),
            json!({}),
            toleration(json!({"key": "gpu", "value": "yes"})),
            ok,
        ),
        (
            tainted.clone(),
            json!({}),
            toleration(json!({"key": "gpu", "value": "no"})),
            repelled,
        ),
        (
            tainted.clone(),
            json!({}),
            toleration(json!({"key": "other", "operator": "Exists"})),
            repelled,
        ),
        (
            tainted.clone(),
            json!({}),
            toleration(json!({"key": "gpu", "operator": "Exists", "effect": "NoSchedule"})),
            repelled,
        ),
        // What admission adds to every pod says how long it stays on a node that is lost, not
        // that it goes there.
        (
            json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}),
            json!({}),
            toleration(json!({
                "key": "node.kubernetes.io/not-ready", "operator": "Exists",
                "effect": "NoExecute", "tolerationSeconds": 300,
            })),
            repelled,
        ),
        (
            json!({"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}),
            json!({}),
            json!({}),
            ok,
        ),
        (
            json!({}),
            disk.clone(),
            json!({"nodeSelector": {"disk": "ssd"}}),
            ok,
        ),
        (
            json!({}),
            disk.clone(),
            json!({"nodeSelector": {"disk": "hdd"}}),
            not_chosen,
        ),
        (json!({}), disk.clone(), affinity("Gt", json!(["6"])), ok),
        (
            json!({}),
            disk.clone(),
            affinity("Lt", json!(["6"])),
            not_chosen,
        ),
        (
            json!({}),
            disk.clone(),
            affinity("NotIn", json!(["7"])),
            not_chosen,
        ),
        (json!({}), json!({}), affinity("NotIn", json!(["7"])), ok),
        (
            json!({}),
            json!({}),
            affinity("Exists", json!([])),
            not_chosen,
        ),
        (json!({}), json!({}), field("a"), ok),
        (json!({}), json!({}), field("b"), not_chosen),
    ];
    for (node_spec, labels, pod_spec, expected) in cases {
        let mut cluster = cluster(&[node_with("a", node_spec.clone(), labels, json!({}))]);
        let pod = pod_with("web", json!({}), pod_spec.clone());
        assert_eq!(
            placed(&mut cluster, &pod),
            expected,
            "{node_spec} {pod_spec}"
        );
    }
}

#[test]
fn a_port_of_the_node_is_taken_once() {
    let mut cluster = cluster(&[node("a", json!({}))]);
    let with_port = |name: &str, ip: &str, port: i32| {
        pod_with(
            name,
            json!({}),
            json!({
                "containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": port, "hostIP": ip}]}],
            }),
        )
    };
    assert_eq!(placed(&mut cluster, &with_port("one", "10.0.0.1", 80)), "a");
    assert_eq!(placed(&mut cluster, &with_port("two", "10.0.0.2", 80)), "a");
    let taken =
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";
    assert_eq!(placed(&mut cluster, &with_port("three", "", 80)), taken);
    assert_eq!(placed(&mut cluster, &with_port("four", "", 81)), "a");
}

#[test]
fn resources_beyond_the_usual_and_places_count() {
    let mut cluster = cluster(&[node("a", json!({"example.com/gpu": "1", "pods": "2"}))]);
    let gpu = |name: &str| pod(name, json!({"example.com/gpu": "1"}));
    assert_eq!(placed(&mut cluster, &gpu("one")), "a");
    let message = "0/1 nodes are available: 1 Insufficient example.com/gpu.";
    assert_eq!(placed(&mut cluster, &gpu("two")), message);
    assert_eq!(placed(&mut cluster, &pod("three", json!({}))), "a");
    let message = "0/1 nodes are available: 1 Too many pods.";
    assert_eq!(placed(&mut cluster, &pod("four", json!({}))), message);
}

#[test]
fn the_emptier_the_preferred_and_the_node_with_the_image_are_better() {
    let mut two = cluster(&[node("a", json!({})), node("b", json!({}))]);
    let first = placed(&mut two, &pod("one", json!({"cpu": "1"})));
    let second = placed(&mut two, &pod("two", json!({"cpu": "1"})));
    assert_ne!(first, second, "the second goes where there is more room");

    let avoided = json!({"taints": [{"key": "k", "effect": "PreferNoSchedule"}]});
    let mut two = cluster(&[
        node_with("a", avoided, json!({}), json!({})),
        node("b", json!({})),
    ]);
    for index in 0..5 {
        assert_eq!(placed(&mut two, &pod(&format!("p{index}"), json!({}))), "b");
    }

    let labelled = node_with("a", json!({}), json!({"disk": "ssd"}), json!({}));
    let mut two = cluster(&[labelled, node("b", json!({}))]);
    let preferring = pod_with(
        "web",
        json!({}),
        json!({"affinity": {"nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 10, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}},
            ],
        }}}),
    );
    assert_eq!(placed(&mut two, &preferring), "a");

    let labelled = |name: &str| node_with(name, json!({}), json!({"name": name}), json!({}));
    let term = |name: &str, weight: i32| {
        json!({"weight": weight, "preference": {"matchExpressions": [
            {"key": "name", "operator": "In", "values": [name]}]}})
    };
    for (heavier, weights) in [("a", (90, 10)), ("b", (10, 90))] {
        let mut two = cluster(&[labelled("a"), labelled("b")]);
        let terms = json!([term("a", weights.0), term("b", weights.1)]);
        let spec = json!({"affinity": {"nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": terms}}});
        assert_eq!(placed(&mut two, &pod_with("web", json!({}), spec)), heavier);
    }

    let mut object: Value = node("b", json!({})).to_value().expect("valid");
    object["status"]["images"] = json!([{"names": ["web:latest"], "sizeBytes": 900 << 20}]);
    let with_image = stored(Resource::NODES, "Node", "", object);
    let mut two = cluster(&[node("a", json!({})), with_image]);
    assert_eq!(placed(&mut two, &pod("web", json!({}))), "b");
}

#[test]
fn what_is_assumed_counts_until_it_is_forgotten() {
    let mut cluster = cluster(&[node("a", json!({"cpu": "1"}))]);
    let (one, two) = (
        pod("one", json!({"cpu": "1"})),
        pod("two", json!({"cpu": "1"})),
    );
    assert_eq!(placed(&mut cluster, &one), "a");
    assert_eq!(cluster.apply_pod(&one, false), None, "its status changed");
    assert_ne!(placed(&mut cluster, &two), "a");
    assert_eq!(cluster.forget(&one.uid).as_deref(), Some("a"));
    assert_eq!(placed(&mut cluster, &two), "a");
    let bound = pod_with("two", json!({"cpu": "1"}), json!({"nodeName": "a"}));
    cluster.apply_pod(&bound, false);
    assert_eq!(cluster.forget(&two.uid), None, "it was seen to be stored");
    assert_ne!(placed(&mut cluster, &one), "a");
    assert_eq!(cluster.apply_pod(&bound, true).as_deref(), Some("a"));
    assert_eq!(placed(&mut cluster, &one), "a");
}

#[test]
fn pods_that_are_seen_before_their_node_count_on_it() {
    let mut cluster = Cluster::default();
    cluster.apply_pod(
        &pod_with("early", json!({"cpu": "1"}), json!({"nodeName": "a"})),
        false,
    );
    assert_eq!(
        placed(&mut cluster, &pod("x", json!({}))),
        "no nodes available to schedule pods"
    );
    cluster.apply_node(&node("a", json!({"cpu": "1"})), false);
    let message = "0/1 nodes are available: 1 Insufficient cpu.";
    assert_eq!(
        placed(&mut cluster, &pod("late", json!({"cpu": "1"}))),
        message
    );
    cluster.apply_node(&node("a", json!({})), true);
    cluster.apply_node(&node("a", json!({"cpu": "1"})), false);
    assert_eq!(
        placed(&mut cluster, &pod("late", json!({"cpu": "1"}))),
        message
    );
}

#[test]
fn only_pods_for_this_scheduler_are_ours() {
    assert!(pod("web", json!({})).is_ours);
    for spec in [
        json!({"schedulerName": "other"}),
        json!({"nodeName": "a"}),
        json!({"schedulingGates": [{"name": "g"}]}),
    ] {
        assert!(!pod_with("web", json!({}), spec.clone()).is_ours, "{spec}");
    }
}

fn names(pods: &[Arc<Pending>]) -> Vec<&str> {
    pods.iter().map(|p| &*p.key.name).collect()
}

#[test]
fn the_queue_is_by_priority_and_then_by_arrival() {
    let (mut queue, now) = (Queue::default(), Timestamp::UNIX_EPOCH);
    for (name, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
        queue.put(
            pod_with(name, json!({}), json!({"priority": priority})),
            now,
        );
    }
    assert_eq!(names(&queue.take(now, 3)), ["b", "d", "a"]);
    assert_eq!(names(&queue.take(now, 3)), ["c"]);
    assert!(queue.take(now, 3).is_empty(), "all are being decided about");
}

#[test]
fn a_parked_pod_comes_again_when_a_change_could_help_and_its_back_off_has_passed() {
    let (mut queue, start) = (Queue::default(), Timestamp::UNIX_EPOCH);
    let mut cluster = cluster(&[node("a", json!({"cpu": "1"}))]);
    let greedy = pod("greedy", json!({"cpu": "2"}));
    queue.put(greedy.clone(), start);
    queue.take(start, 9);
    queue.park(&greedy.uid, start);
    let later = start + SignedDuration::from_secs(60);
    assert!(queue.take(later, 9).is_empty(), "time alone does not help");
    cluster.apply_node(&node("b", json!({"cpu": "1"})), false);
    queue.node_changed(&cluster, "b", later);
    assert!(!queue.has_ready(), "another small node does not help");
    cluster.apply_node(&node("c", json!({"cpu": "2"})), false);
    queue.node_changed(&cluster, "c", later);
    assert_eq!(names(&queue.take(later, 9)), ["greedy"]);
    // It fails again, and something helps at once: the back-off has doubled to two seconds.
    queue.park(&greedy.uid, later);
    queue.node_changed(&cluster, "c", later);
    assert_eq!(
        queue.next_wakeup(),
        Some(later + SignedDuration::from_secs(2))
    );
    assert!(
        queue
            .take(later + SignedDuration::from_secs(1), 9)
            .is_empty()
    );
    assert_eq!(
        names(&queue.take(later + SignedDuration::from_secs(2), 9)),
        ["greedy"]
    );
    queue.remove(&greedy.uid);
    assert!(queue.is_empty());
}

#[test]
fn a_pod_whose_wishes_changed_is_tried_again() {
    let (mut queue, start) = (Queue::default(), Timestamp::UNIX_EPOCH);
    let picky = pod_with("web", json!({}), json!({"nodeSelector": {"x": "y"}}));
    queue.put(picky.clone(), start);
    queue.take(start, 9);
    queue.park(&picky.uid, start);
    let later = start + SignedDuration::from_secs(5);
    queue.put(picky.clone(), later);
    assert!(!queue.has_ready(), "nothing of it changed");
    queue.put(pod("web", json!({})), later);
    assert_eq!(names(&queue.take(later, 9)), ["web"]);
}
