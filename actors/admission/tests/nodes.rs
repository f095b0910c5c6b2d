//! Writes of nodes: what new ones get, what a node may say of itself, and evictions.

use bytes::Bytes;
use kabuki_admission::{Context, Verdict, admit};
use kabuki_model::command::Op;
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::jiff::Timestamp;
use kabuki_model::request::{DeleteOptions, PatchType, Request, Subresource, WriteOptions};
use kabuki_model::status::Reason;
use kabuki_model::view::{MapView, View};
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use serde_json::{Value, json};

/// A state with nodes and pods, and a clock that ticks with each request.
#[derive(Default)]
struct World {
    view: MapView,
    tick: i64,
}

impl World {
    fn ask(&mut self, who: &Identity, request: &Request) -> Result<Option<Value>, StatusError> {
        self.tick += 1;
        let cx = Context {
            now: Timestamp::from_second(1_900_000_000 + self.tick).expect("a time"),
            entropy: u128::from(self.tick.unsigned_abs()) << 64,
            term: 1,
        };
        let ops = match admit(&self.view, who, request, &cx)? {
            Verdict::Answer(answer) => {
                let object = answer.into_object().expect("an object");
                return Ok(Some(object.to_value().expect("JSON")));
            }
            Verdict::Commit(commit) => commit.command.ops,
            Verdict::Each(_) => panic!("one object"),
        };
        let mut last = None;
        for op in ops {
            match op {
                Op::Put { key, uid, json, .. } => {
                    let stored = self.view.put(&Stored::new(key, uid, 0, json));
                    last = Some(stored.to_value().expect("JSON"));
                }
                Op::Delete { key, .. } => drop(self.view.remove(&key)),
                Op::Require { .. } | Op::Vacant { .. } => {}
            }
        }
        Ok(last)
    }

    fn register(&mut self, who: &Identity, node: Value) -> Result<Value, StatusError> {
        let request = Request::Create {
            resource: Resource::NODES,
            namespace: "".into(),
            object: Bytes::from(node.to_string()),
            options: WriteOptions::default(),
        };
        self.ask(who, &request).map(|v| v.expect("is there"))
    }

    fn patch(
        &mut self,
        who: &Identity,
        name: &str,
        subresource: Option<Subresource>,
        patch: Value,
    ) -> Result<Value, StatusError> {
        let request = Request::Patch {
            key: key(name),
            subresource,
            patch_type: PatchType::Merge,
            patch: Bytes::from(patch.to_string()),
            options: WriteOptions::default(),
        };
        self.ask(who, &request).map(|v| v.expect("is there"))
    }

    /// Puts a pod as it may be, without rules.
    fn pod(&mut self, name: &str, phase: &str) -> ObjectKey {
        let key = ObjectKey::new(Resource::PODS, "default", name);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {"nodeName": "a", "containers": [], "terminationGracePeriodSeconds": 30},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]},
        });
        let json = Bytes::from(pod.to_string());
        self.view
            .put(&Stored::new(key.clone(), name.into(), 0, json));
        key
    }

    fn value(&self, key: &ObjectKey) -> Option<Value> {
        self.view.get(key).map(|o| o.to_value().expect("JSON"))
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Resource::NODES, "", name)
}

fn admin() -> Identity {
    Identity::bootstrap()
}

fn node(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

#[test]
fn a_new_node_takes_no_pods_until_somebody_lifts_its_taint() {
    let mut world = World::default();
    let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
    let made = world
        .register(&Identity::node("a"), node("a"))
        .expect("made");
    assert_eq!(made["spec"]["taints"], json!([taint]));
    let mut own = node("b");
    own["spec"] = json!({"taints": [{"key": "gpu", "effect": "NoExecute"}, taint]});
    let made = world.register(&Identity::node("b"), own).expect("made");
    let taints = made["spec"]["taints"].as_array().expect("a list");
    assert_eq!(taints.len(), 2, "once is enough");
    assert_eq!(taints[0]["timeAdded"], "2030-03-17T17:46:42Z");
    let mut wrong = node("c");
    wrong["spec"] = json!({"taints": "gpu"});
    let error = world.register(&admin(), wrong).expect_err("refused");
    assert_eq!(error.reason, Reason::BadRequest);
}

#[test]
fn taints_that_drive_pods_away_keep_the_time_at_which_they_were_given() {
    let mut world = World::default();
    world.register(&admin(), node("a")).expect("made");
    let taint = |value: &str| json!({"key": "x", "value": value, "effect": "NoExecute"});
    let given = |world: &mut World, taints: Value| {
        let made = world.patch(&admin(), "a", None, json!({"spec": {"taints": taints}}));
        made.expect("changes")["spec"]["taints"][0]["timeAdded"].clone()
    };
    let first = given(&mut world, json!([taint("1")]));
    assert_eq!(first, "2030-03-17T17:46:42Z");
    assert_eq!(given(&mut world, json!([taint("2")])), first);
    given(&mut world, json!([]));
    assert_ne!(given(&mut world, json!([taint("2")])), first);
    let quiet = json!([{"key": "x", "effect": "NoSchedule"}]);
    assert_eq!(given(&mut world, quiet), Value::Null);
}

#[test]
fn a_node_registers_itself_only_and_with_its_own_labels() {
    let mut world = World::default();
    let own = Identity::node("a");
    let error = world.register(&own, node("b")).expect_err("refused");
    assert_eq!(
        error.message,
        "nodes \"b\" is forbidden: node \"a\" cannot create node \"b\""
    );
    let mut marked = node("a");
    marked["metadata"]["labels"] = json!({
        "disk": "ssd", "kubernetes.io/hostname": "a",
        "node-restriction.kubernetes.io/fips": "1", "node-role.kubernetes.io/db": "",
    });
    let error = world.register(&own, marked).expect_err("refused");
    assert_eq!(
        error.message,
        "nodes \"a\" is forbidden: node \"a\" is not allowed to set the following labels: \
         node-restriction.kubernetes.io/fips, node-role.kubernetes.io/db"
    );
    let mut member = node("a");
    member["metadata"]["annotations"] = json!({"cluster.kabuki.dev/role": "server"});
    let error = world.register(&own, member).expect_err("refused");
    assert!(
        error.message.ends_with("cluster.kabuki.dev/role"),
        "{error:?}"
    );
    let mut fine = node("a");
    fine["metadata"]["labels"] = json!({"disk": "ssd", "topology.kubernetes.io/zone": "x"});
    fine["spec"] =
        json!({"podCIDR": "10.1.0.0/24", "taints": [{"key": "x", "effect": "NoSchedule"}]});
    world.register(&own, fine).expect("its own business");
}

#[test]
fn a_node_changes_nothing_by_which_others_steer_pods() {
    let mut world = World::default();
    let mut object = node("a");
    object["metadata"]["finalizers"] = json!(["example.com/keep"]);
    object["metadata"]["annotations"] = json!({"cluster.kabuki.dev/role": "worker"});
    object["metadata"]["labels"] = json!({"node-restriction.kubernetes.io/fips": "1"});
    world.register(&admin(), object).expect("made");
    world.register(&admin(), node("b")).expect("made");
    let own = Identity::node("a");
    for (patch, why) in [
        (
            json!({"spec": {"taints": null}}),
            "is not allowed to modify taints",
        ),
        (
            json!({"spec": {"unschedulable": true}}),
            "is not allowed to modify spec.unschedulable",
        ),
        (
            json!({"spec": {"podCIDR": "10.9.0.0/24", "podCIDRs": ["10.9.0.0/24"]}}),
            "is not allowed to modify spec.podCIDR",
        ),
        (
            json!({"metadata": {"labels": {"node-restriction.kubernetes.io/fips": null}}}),
            "is not allowed to modify labels: node-restriction.kubernetes.io/fips",
        ),
        (
            json!({"metadata": {"labels": {"kubernetes.io/role": "db"}}}),
            "is not allowed to modify labels: kubernetes.io/role",
        ),
        (
            json!({"metadata": {"annotations": {"cluster.kabuki.dev/role": "server"}}}),
            "is not allowed to modify annotations: cluster.kabuki.dev/role",
        ),
        (
            json!({"metadata": {"finalizers": null}}),
            "is not allowed to remove finalizer \"example.com/keep\"",
        ),
    ] {
        let error = world
            .patch(&own, "a", None, patch.clone())
            .expect_err("refused");
        assert_eq!(error.reason, Reason::Forbidden, "{patch}");
        assert!(error.message.ends_with(why), "{patch}: {}", error.message);
    }
    let other = world.patch(&own, "b", Some(Subresource::Status), json!({"status": {}}));
    assert_eq!(other.expect_err("refused").reason, Reason::Forbidden);
    let fine = json!({"metadata": {"labels": {"disk": "ssd"}, "annotations": {"note": "x"}}});
    world
        .patch(&own, "a", None, fine)
        .expect("its own business");
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let status = world.patch(&own, "a", Some(Subresource::Status), status);
    assert_eq!(
        status.expect("says so")["status"]["conditions"][0]["status"],
        "True"
    );
    let cordon = json!({"spec": {"unschedulable": true}});
    world
        .patch(&admin(), "a", None, cordon)
        .expect("people may");
}

fn evict(pod: &ObjectKey, options: DeleteOptions) -> Request {
    let pod = pod.clone();
    Request::Evict { pod, options }
}

#[test]
fn an_eviction_deletes_with_its_own_options_and_says_why() {
    let mut world = World::default();
    let pod = world.pod("web", "Running");
    let options = DeleteOptions {
        grace_period_s: Some(7),
        ..DeleteOptions::default()
    };
    let dry = DeleteOptions {
        dry_run: true,
        ..options.clone()
    };
    world.ask(&admin(), &evict(&pod, dry)).expect("could");
    assert!(world.value(&pod).expect("there")["metadata"]["deletionTimestamp"].is_null());
    world.ask(&admin(), &evict(&pod, options)).expect("evicts");
    let left = world.value(&pod).expect("there");
    assert_eq!(left["metadata"]["deletionGracePeriodSeconds"], 7);
    let conditions = left["status"]["conditions"].as_array().expect("a list");
    assert_eq!(conditions.len(), 2, "the others stay");
    assert_eq!(conditions[1]["type"], "DisruptionTarget");
    assert_eq!(conditions[1]["reason"], "EvictionByEvictionAPI");
    let before = world.view.revision();
    world
        .ask(&admin(), &evict(&pod, DeleteOptions::default()))
        .expect("is leaving");
    assert_eq!(world.view.revision(), before, "once is enough");
}

#[test]
fn what_has_ended_just_goes_and_what_is_not_there_is_said_so() {
    let mut world = World::default();
    let pod = world.pod("job", "Succeeded");
    world
        .ask(&admin(), &evict(&pod, DeleteOptions::default()))
        .expect("evicts");
    assert!(world.value(&pod).is_none());
    let error = world.ask(&admin(), &evict(&pod, DeleteOptions::default()));
    assert_eq!(error.expect_err("gone").reason, Reason::NotFound);
    let error = world.ask(&admin(), &evict(&key("a"), DeleteOptions::default()));
    let error = error.expect_err("no pod");
    assert_eq!(error.message, "nodes have no subresource \"eviction\"");
    let pod = world.pod("web", "Running");
    let other = DeleteOptions {
        uid: Some("older".into()),
        ..DeleteOptions::default()
    };
    let error = world
        .ask(&admin(), &evict(&pod, other))
        .expect_err("another");
    assert_eq!(error.reason, Reason::Conflict);
}

#[test]
fn a_node_evicts_its_own_pods_only() {
    let mut world = World::default();
    let pod = world.pod("web", "Running");
    let request = evict(&pod, DeleteOptions::default());
    let error = world
        .ask(&Identity::node("b"), &request)
        .expect_err("refused");
    assert_eq!(error.reason, Reason::Forbidden);
    let user = Identity::new("jo", []);
    assert!(world.ask(&user, &request).is_err());
    world.ask(&Identity::node("a"), &request).expect("its own");
}

#[test]
fn a_node_makes_its_own_lease_alone() {
    let mut world = World::default();
    let namespace = Request::Create {
        resource: Resource::NAMESPACES,
        namespace: "".into(),
        object: Bytes::from_static(br#"{"metadata": {"name": "kube-node-lease"}}"#),
        options: WriteOptions::default(),
    };
    world.ask(&admin(), &namespace).expect("a namespace");
    let lease = |name: &str| Request::Create {
        resource: Resource::LEASES,
        namespace: "kube-node-lease".into(),
        object: node(name).to_string().into(),
        options: WriteOptions::default(),
    };
    let refused = world.ask(&Identity::node("a"), &lease("b"));
    assert_eq!(
        refused.expect_err("refused").message,
        "leases.coordination.k8s.io \"b\" is forbidden: can only access node lease with the same \
         name as the requesting node"
    );
    world.ask(&Identity::node("a"), &lease("a")).expect("made");
    world.ask(&admin(), &lease("b")).expect("made");
}
