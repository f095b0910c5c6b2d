//! Writes, from the request to the state after the store applied the command.

use bytes::Bytes;
use kabuki_admission::{Context, Verdict, admit};
use kabuki_model::command::{Expect, Op};
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::jiff::Timestamp;
use kabuki_model::request::{
    Binding, DeleteOptions, PatchType, Propagation, Request, Subresource, WriteOptions,
};
use kabuki_model::status::Reason;
use kabuki_model::view::{MapView, View};
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use serde_json::{Value, json};

/// A state, and a clock that ticks with each request.
struct World {
    view: MapView,
    tick: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            view: MapView::default(),
            tick: 0,
        };
        world.create(
            "",
            Resource::NAMESPACES,
            json!({"metadata": {"name": "default"}}),
        );
        world
    }

    fn ask(&mut self, request: &Request) -> Result<Value, StatusError> {
        self.ask_as(&Identity::bootstrap(), request)
    }

    fn ask_as(&mut self, who: &Identity, request: &Request) -> Result<Value, StatusError> {
        self.tick += 1;
        let cx = Context {
            now: Timestamp::from_second(1_700_000_000 + self.tick as i64).expect("a time"),
            entropy: u128::from(self.tick).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
            term: 1,
        };
        match admit(&self.view, who, request, &cx)? {
            Verdict::Answer(answer) => {
                let object = answer.into_object().expect("an object");
                Ok(object.to_value().expect("JSON"))
            }
            Verdict::Commit(commit) => Ok(self.apply(&commit.command.ops)),
            Verdict::Each(each) => {
                for commit in each {
                    self.apply(&commit?.command.ops);
                }
                Ok(Value::Null)
            }
        }
    }

    fn apply(&mut self, ops: &[Op]) -> Value {
        let mut last = Value::Null;
        for op in ops {
            let found = self.view.get(op.key()).map(|o| o.revision);
            let expect = match op {
                Op::Put { expect, .. } | Op::Delete { expect, .. } | Op::Require { expect, .. } => {
                    expect
                }
                Op::Vacant { .. } => &Expect::Any,
            };
            match expect {
                Expect::Absent => assert_eq!(found, None),
                Expect::Revision(r) => assert_eq!(found, Some(*r)),
                Expect::Present | Expect::Uid(_) => assert!(found.is_some()),
                Expect::Any => {}
            }
            match op {
                Op::Put { key, uid, json, .. } => {
                    let object = Stored::new(key.clone(), uid.clone(), 0, json.clone());
                    last = self.view.put(&object).to_value().expect("JSON");
                }
                Op::Delete { key, .. } => {
                    last = self
                        .view
                        .remove(key)
                        .expect("is there")
                        .to_value()
                        .expect("JSON");
                }
                Op::Require { .. } | Op::Vacant { .. } => {}
            }
        }
        last
    }

    fn try_create(
        &mut self,
        namespace: &str,
        resource: Resource,
        object: Value,
    ) -> Result<Value, StatusError> {
        self.ask(&Request::Create {
            resource,
            namespace: namespace.into(),
            object: Bytes::from(object.to_string()),
            options: WriteOptions::default(),
        })
    }

    fn create(&mut self, namespace: &str, resource: Resource, object: Value) -> Value {
        self.try_create(namespace, resource, object)
            .expect("is created")
    }

    fn get(&self, key: &ObjectKey) -> Option<Value> {
        self.view.get(key).map(|o| o.to_value().expect("JSON"))
    }

    fn patch(
        &mut self,
        key: &ObjectKey,
        subresource: Option<Subresource>,
        patch: Value,
    ) -> Result<Value, StatusError> {
        self.ask(&Request::Patch {
            key: key.clone(),
            subresource,
            patch_type: PatchType::Merge,
            patch: Bytes::from(patch.to_string()),
            options: WriteOptions::default(),
        })
    }

    fn delete(&mut self, key: &ObjectKey, options: DeleteOptions) -> Result<Value, StatusError> {
        self.ask(&Request::Delete {
            key: key.clone(),
            options,
        })
    }
}

fn config_map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": "1"}})
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "busybox"}]}})
}

fn key(resource: Resource, name: &str) -> ObjectKey {
    ObjectKey::new(resource, "default", name)
}

#[test]
fn a_created_object_is_stamped_and_defaulted() {
    let mut world = World::new();
    let made = world.create("default", Resource::PODS, pod("web"));
    assert_eq!(made["metadata"]["namespace"], "default");
    assert_eq!(
        made["metadata"]["creationTimestamp"],
        "2023-11-14T22:13:22Z"
    );
    assert_eq!(made["metadata"]["uid"].as_str().map(str::len), Some(36));
    assert_eq!(
        made["metadata"]["uid"].as_str().map(|u| &u[14..15]),
        Some("4")
    );
    assert_eq!(made["spec"]["restartPolicy"], "Always");
    assert_eq!(made["status"]["phase"], "Pending");
}

#[test]
fn what_exists_is_not_created_again_and_names_are_generated() {
    let mut world = World::new();
    world.create("default", Resource::CONFIG_MAPS, config_map("a"));
    let again = world.try_create("default", Resource::CONFIG_MAPS, config_map("a"));
    assert_eq!(
        again.expect_err("refused").message,
        "configmaps \"a\" already exists"
    );
    let generated = json!({"metadata": {"generateName": "job-"}});
    let one = world.create("default", Resource::CONFIG_MAPS, generated.clone());
    let two = world.create("default", Resource::CONFIG_MAPS, generated);
    let (one, two) = (
        one["metadata"]["name"].clone(),
        two["metadata"]["name"].clone(),
    );
    assert!(
        one.as_str()
            .is_some_and(|n| n.starts_with("job-") && n.len() == 9)
    );
    assert_ne!(one, two);
}

#[test]
fn a_namespace_must_exist_and_not_be_going() {
    let mut world = World::new();
    let nowhere = world.try_create("nowhere", Resource::CONFIG_MAPS, config_map("a"));
    assert_eq!(
        nowhere.expect_err("refused").message,
        "namespaces \"nowhere\" not found"
    );
    world.create(
        "",
        Resource::NAMESPACES,
        json!({"metadata": {"name": "going"}}),
    );
    let namespace = ObjectKey::new(Resource::NAMESPACES, "", "going");
    let marked = world
        .delete(&namespace, DeleteOptions::default())
        .expect("is marked");
    assert_eq!(marked["status"]["phase"], "Terminating");
    assert!(
        world.get(&namespace).is_some(),
        "its own finalizer keeps it"
    );
    let late = world.try_create("going", Resource::CONFIG_MAPS, config_map("a"));
    let late = late.expect_err("refused");
    assert_eq!(late.reason, Reason::Forbidden);
    assert!(
        late.message.contains("because it is being terminated"),
        "{late}"
    );
    // Its controller finalizes it when it is empty.
    let finalized = world.patch(
        &namespace,
        Some(Subresource::Finalize),
        json!({"spec": {"finalizers": null}}),
    );
    finalized.expect("finalizes");
    assert!(world.get(&namespace).is_none());
}

#[test]
fn unknown_fields_and_wrong_types_are_refused_with_their_path() {
    let mut world = World::new();
    let mut wrong = pod("web");
    wrong["spec"]["containers"][0]["imag"] = json!("x");
    let error = world
        .try_create("default", Resource::PODS, wrong)
        .expect_err("refused");
    assert_eq!(
        error.message,
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \
         \"spec.containers[0].imag\""
    );
    let mut wrong = pod("web");
    wrong["spec"]["containers"][0]["image"] = json!(5);
    let error = world
        .try_create("default", Resource::PODS, wrong)
        .expect_err("refused");
    assert!(
        error.message.contains("spec.containers[0].image"),
        "{error}"
    );
}

#[test]
fn an_update_at_an_old_revision_conflicts() {
    let mut world = World::new();
    let mut object = world.create("default", Resource::CONFIG_MAPS, config_map("a"));
    let at = key(Resource::CONFIG_MAPS, "a");
    world
        .patch(&at, None, json!({"data": {"b": "2"}}))
        .expect("patches");
    object["data"]["c"] = json!("3");
    let update = Request::Update {
        key: at,
        subresource: None,
        object: Bytes::from(object.to_string()),
        options: WriteOptions::default(),
    };
    let error = world.ask(&update).expect_err("refused");
    assert_eq!(error.reason, Reason::Conflict);
    assert!(
        error.message.contains("the object has been modified"),
        "{error}"
    );
}

#[test]
fn status_and_spec_are_written_apart() {
    let mut world = World::new();
    world.create("default", Resource::PODS, pod("web"));
    let at = key(Resource::PODS, "web");
    let both = json!({"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Running"}});
    let plain = world.patch(&at, None, both.clone()).expect("patches");
    assert_eq!(plain["status"]["phase"], "Pending");
    assert_eq!(plain["metadata"]["labels"]["a"], "b");
    let both = json!({"metadata": {"labels": {"a": "c"}}, "status": {"phase": "Running"}});
    let status = world
        .patch(&at, Some(Subresource::Status), both)
        .expect("patches");
    assert_eq!(status["status"]["phase"], "Running");
    assert_eq!(status["metadata"]["labels"]["a"], "b");
}

#[test]
fn a_write_that_changes_nothing_writes_nothing() {
    let mut world = World::new();
    world.create("default", Resource::CONFIG_MAPS, config_map("a"));
    let before = world.view.revision();
    world
        .patch(
            &key(Resource::CONFIG_MAPS, "a"),
            None,
            json!({"data": {"a": "1"}}),
        )
        .expect("patches");
    assert_eq!(world.view.revision(), before);
}

#[test]
fn a_running_pod_goes_gracefully_and_can_be_hurried() {
    let mut world = World::new();
    world.create("", Resource::NODES, json!({"metadata": {"name": "n1"}}));
    let made = world.create("default", Resource::PODS, pod("web"));
    let at = key(Resource::PODS, "web");
    let uid = made["metadata"]["uid"].as_str().expect("a uid");
    let bind = |uid: &str| {
        Request::Bind(vec![Binding {
            pod: at.clone(),
            uid: uid.into(),
            node: "n1".into(),
        }])
    };
    world
        .ask(&bind("another"))
        .expect_err("another pod of that name");
    world.ask(&bind(uid)).expect("binds");
    let bound = world.get(&at).expect("is there");
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    world.ask(&bind(uid)).expect_err("is bound already");

    let marked = world
        .delete(&at, DeleteOptions::default())
        .expect("is marked");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    let first = marked["metadata"]["deletionTimestamp"].clone();
    let again = world
        .delete(&at, DeleteOptions::default())
        .expect("changes nothing");
    assert_eq!(again["metadata"]["deletionTimestamp"], first);
    let now = DeleteOptions {
        grace_period_s: Some(0),
        ..DeleteOptions::default()
    };
    world.delete(&at, now).expect("goes");
    assert!(world.get(&at).is_none());
}

#[test]
fn finalizers_and_propagation_keep_an_object() {
    let mut world = World::new();
    let mut object = config_map("a");
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    world.create("default", Resource::CONFIG_MAPS, object);
    let at = key(Resource::CONFIG_MAPS, "a");
    let foreground = DeleteOptions {
        propagation: Some(Propagation::Foreground),
        ..DeleteOptions::default()
    };
    let marked = world.delete(&at, foreground).expect("is marked");
    let finalizers = json!(["example.com/wait", "foregroundDeletion"]);
    assert_eq!(marked["metadata"]["finalizers"], finalizers);
    let more = json!({"metadata": {"finalizers": ["example.com/wait", "example.com/more"]}});
    world.patch(&at, None, more).expect_err("no new finalizers");
    world
        .patch(&at, None, json!({"metadata": {"finalizers": []}}))
        .expect("releases");
    assert!(world.get(&at).is_none());
}

#[test]
fn a_scale_is_read_and_written() {
    let mut world = World::new();
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": pod("x")["spec"]});
    let deployment = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    });
    world.create("default", Resource::DEPLOYMENTS, deployment);
    let at = key(Resource::DEPLOYMENTS, "web");
    let get = Request::Get {
        key: at.clone(),
        subresource: Some(Subresource::Scale),
    };
    let scale = world.ask(&get).expect("reads");
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!(2))
    );
    let scaled = world.patch(
        &at,
        Some(Subresource::Scale),
        json!({"spec": {"replicas": 5}}),
    );
    let scaled = scaled.expect("scales");
    assert_eq!(scaled["spec"]["replicas"], 5);
    assert_eq!(scaled["metadata"]["generation"], 2);
    let wrong = world.patch(
        &at,
        Some(Subresource::Scale),
        json!({"spec": {"replicas": -1}}),
    );
    assert_eq!(wrong.expect_err("refused").reason, Reason::Invalid);
}

#[test]
fn a_node_reaches_only_what_its_pods_name() {
    let mut world = World::new();
    world.create(
        "default",
        Resource::SECRETS,
        json!({"metadata": {"name": "mine"}}),
    );
    world.create(
        "default",
        Resource::SECRETS,
        json!({"metadata": {"name": "other"}}),
    );
    let mut bound = pod("web");
    bound["spec"]["nodeName"] = json!("n1");
    bound["spec"]["volumes"] = json!([{"name": "keys", "secret": {"secretName": "mine"}}]);
    world.create("default", Resource::PODS, bound);
    let node = Identity::node("n1");
    let read = |name: &str| Request::Get {
        key: key(Resource::SECRETS, name),
        subresource: None,
    };
    world
        .ask_as(&node, &read("mine"))
        .expect("is named by its pod");
    world.ask_as(&node, &read("other")).expect_err("is not");
    world
        .ask_as(&Identity::node("n2"), &read("mine"))
        .expect_err("is another node");
}
