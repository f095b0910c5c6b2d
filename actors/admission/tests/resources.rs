//! What concerns a pod's resources: resizes, runtime classes, and the mirrors of static pods.

use bytes::Bytes;
use kabuki_admission::{Context, Verdict, admit};
use kabuki_model::command::Op;
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::jiff::Timestamp;
use kabuki_model::request::{PatchType, Request, Subresource, WriteOptions};
use kabuki_model::view::MapView;
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use serde_json::{Value, json};

/// A state, and a clock that ticks with each request.
#[derive(Default)]
struct World {
    view: MapView,
    tick: i64,
}

impl World {
    fn new() -> Self {
        let mut world = Self::default();
        let namespace = json!({"metadata": {"name": "default"}});
        world.made("", Resource::NAMESPACES, namespace);
        world
    }

    fn ask(&mut self, who: &Identity, request: &Request) -> Result<Value, StatusError> {
        self.tick += 1;
        let cx = Context {
            now: Timestamp::from_second(1_900_000_000 + self.tick).expect("a time"),
            entropy: u128::from(self.tick.unsigned_abs()) << 64,
            term: 1,
        };
        let ops = match admit(&self.view, who, request, &cx)? {
            Verdict::Answer(answer) => {
                let object = answer.into_object().expect("an object");
                return Ok(object.to_value().expect("JSON"));
            }
            Verdict::Commit(commit) => commit.command.ops,
            Verdict::Each(_) => panic!("one object"),
        };
        let mut last = Value::Null;
        for op in ops {
            if let Op::Put { key, uid, json, .. } = op {
                let stored = self.view.put(&Stored::new(key, uid, 0, json));
                last = stored.to_value().expect("JSON");
            }
        }
        Ok(last)
    }

    fn create(
        &mut self,
        who: &Identity,
        namespace: &str,
        resource: Resource,
        object: Value,
    ) -> Result<Value, StatusError> {
        let request = Request::Create {
            resource,
            namespace: namespace.into(),
            object: Bytes::from(object.to_string()),
            options: WriteOptions::default(),
        };
        self.ask(who, &request)
    }

    fn made(&mut self, namespace: &str, resource: Resource, object: Value) -> Value {
        let made = self.create(&Identity::bootstrap(), namespace, resource, object);
        made.expect("is created")
    }

    fn patch(&mut self, part: Option<Subresource>, patch: Value) -> Result<Value, StatusError> {
        let request = Request::Patch {
            key: ObjectKey::new(Resource::PODS, "default", "web"),
            subresource: part,
            patch_type: PatchType::Strategic,
            patch: Bytes::from(patch.to_string()),
            options: WriteOptions::default(),
        };
        self.ask(&Identity::bootstrap(), &request)
    }
}

fn pod(fields: Value) -> Value {
    let mut spec = json!({"containers": [{"name": "main", "image": "demo",
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]});
    for (field, value) in fields.as_object().expect("fields") {
        spec[field] = value.clone();
    }
    json!({"metadata": {"name": "web"}, "spec": spec})
}

#[test]
fn only_the_resize_subresource_changes_resources() {
    let mut world = World::new();
    let made = world.made("default", Resource::PODS, pod(json!({})));
    assert_eq!(made["metadata"]["generation"], 1);
    let more = json!({"spec": {"containers": [{"name": "main", "image": "other",
        "resources": {"requests": {"cpu": "300m"}}}]}});
    let error = world.patch(None, more.clone()).expect_err("refused");
    assert!(
        error
            .message
            .contains("pod updates may not change fields other than"),
        "{error:?}"
    );
    let resized = world
        .patch(Some(Subresource::Resize), more)
        .expect("is resized");
    let container = &resized["spec"]["containers"][0];
    assert_eq!(container["resources"]["requests"]["cpu"], "300m");
    assert_eq!(container["resources"]["requests"]["memory"], "64Mi");
    assert_eq!(container["image"], "demo", "nothing else is taken over");
    assert_eq!(resized["metadata"]["generation"], 2);
    let limits = json!({"cpu": "300m", "memory": "64Mi"});
    let other_class = json!({"spec": {"containers": [{"name": "main",
        "resources": {"limits": limits}}]}});
    let error = world
        .patch(Some(Subresource::Resize), other_class)
        .expect_err("refused");
    assert!(
        error.message.contains("Pod QOS Class may not change"),
        "{error:?}"
    );
    for shapeless in [
        json!({"spec": "text"}),
        json!({"spec": [1]}),
        json!({"spec": {"containers": "text"}}),
        json!({"spec": {"containers": ["text"], "resources": 1}}),
        json!({"spec": {"containers": [{"name": "main", "resources": []}]}}),
        json!({"spec": {"initContainers": [[]]}}),
    ] {
        let request = Request::Patch {
            key: ObjectKey::new(Resource::PODS, "default", "web"),
            subresource: Some(Subresource::Resize),
            patch_type: PatchType::Merge,
            patch: Bytes::from(shapeless.to_string()),
            options: WriteOptions::default(),
        };
        let answer = world.ask(&Identity::bootstrap(), &request);
        assert!(answer.is_err(), "{shapeless}: {answer:?}");
    }
    let who = Identity::node("n1");
    let request = Request::Patch {
        key: ObjectKey::new(Resource::PODS, "default", "web"),
        subresource: Some(Subresource::Resize),
        patch_type: PatchType::Merge,
        patch: Bytes::from_static(b"{}"),
        options: WriteOptions::default(),
    };
    assert!(world.ask(&who, &request).is_err(), "nodes resize nothing");
}

#[test]
fn a_pod_gets_the_overhead_and_the_place_of_its_runtime_class() {
    let mut world = World::new();
    let class = json!({"metadata": {"name": "slow"}, "handler": "kabuki",
        "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {"nodeSelector": {"kind": "slow"},
            "tolerations": [{"key": "slow", "operator": "Exists"}]}});
    let admin = Identity::bootstrap();
    world.made("", Resource::RUNTIME_CLASSES, class);
    let made = world.made(
        "default",
        Resource::PODS,
        pod(json!({"runtimeClassName": "slow", "overhead": {"cpu": "0.25"}})),
    );
    assert_eq!(made["spec"]["overhead"], json!({"cpu": "250m"}));
    assert_eq!(made["spec"]["nodeSelector"], json!({"kind": "slow"}));
    let tolerations = made["spec"]["tolerations"].as_array().expect("tolerations");
    assert!(
        tolerations.iter().any(|t| t["key"] == "slow"),
        "{tolerations:?}"
    );
    for (fields, why) in [
        (
            json!({"runtimeClassName": "none"}),
            "pod rejected: RuntimeClass \"none\" not found",
        ),
        (
            json!({"runtimeClassName": "slow", "overhead": {"cpu": "1"}}),
            "Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            json!({"overhead": {"cpu": "1"}}),
            "Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            json!({"runtimeClassName": "slow", "nodeSelector": {"kind": "fast"}}),
            "conflict: runtimeClass.scheduling.nodeSelector[kind] = slow",
        ),
    ] {
        let mut other = pod(fields);
        other["metadata"]["name"] = "other".into();
        let error = world.create(&admin, "default", Resource::PODS, other);
        let error = error.expect_err(why);
        assert!(error.message.contains(why), "{why}: {error:?}");
        assert_eq!(error.reason, kabuki_model::status::Reason::Forbidden);
    }
}

#[test]
fn a_node_creates_mirrors_of_its_own_pods_and_nothing_else() {
    let mut world = World::new();
    let node = world.made("", Resource::NODES, json!({"metadata": {"name": "n1"}}));
    let uid = node["metadata"]["uid"].clone();
    let mirror = || {
        let mut mirror = pod(json!({"nodeName": "n1"}));
        mirror["metadata"] = json!({"name": "web-n1",
            "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1",
                "uid": uid, "controller": true}]});
        mirror
    };
    let who = Identity::node("n1");
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut mirror = mirror();
        change(&mut mirror);
        mirror
    };
    for (object, why) in [
        (
            changed(&|m| m["metadata"]["annotations"] = json!({})),
            "can only create mirror pods",
        ),
        (
            changed(&|m| m["spec"]["nodeName"] = "n2".into()),
            "with spec.nodeName set to itself",
        ),
        (
            changed(&|m| m["metadata"]["ownerReferences"] = json!([])),
            "owner reference set to itself",
        ),
        (
            changed(&|m| m["metadata"]["ownerReferences"][0]["uid"] = "z".into()),
            "UID mismatch",
        ),
        (
            changed(&|m| {
                m["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "s"}}]);
            }),
            "reference secrets",
        ),
    ] {
        let error = world.create(&who, "default", Resource::PODS, object);
        let error = error.expect_err(why);
        assert!(error.message.contains(why), "{why}: {error:?}");
    }
    let made = world.create(&who, "default", Resource::PODS, mirror());
    assert_eq!(made.expect("is created")["metadata"]["name"], "web-n1");
}
