//! Server-side apply and the ownership of fields, from the request to the stored object.

use bytes::Bytes;
use kabuki_admission::{Context, Verdict, admit};
use kabuki_model::command::Op;
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::jiff::Timestamp;
use kabuki_model::request::{Binding, PatchType, Request, Subresource, WriteOptions};
use kabuki_model::status::{CauseReason, Reason};
use kabuki_model::view::{MapView, View};
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use serde_json::{Value, json};

/// A state, and a clock that ticks with each request.
#[derive(Default)]
struct World {
    view: MapView,
    tick: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self::default();
        let namespace = json!({"metadata": {"name": "default"}});
        let who = Identity::bootstrap();
        world.create(&who, Resource::NAMESPACES, "", namespace);
        world
    }

    fn ask(&mut self, who: &Identity, request: &Request) -> Result<Value, StatusError> {
        self.tick += 1;
        let cx = Context {
            now: Timestamp::from_second(1_700_000_000 + self.tick as i64).expect("a time"),
            entropy: u128::from(self.tick),
            term: 1,
        };
        let ops = match admit(&self.view, who, request, &cx)? {
            Verdict::Answer(answer) => {
                let object = answer.into_object().expect("an object");
                return Ok(object.to_value().expect("JSON"));
            }
            Verdict::Commit(commit) => commit.command.ops,
            Verdict::Each(each) => each
                .into_iter()
                .flat_map(|c| c.expect("admitted").command.ops)
                .collect(),
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

    fn create(&mut self, who: &Identity, resource: Resource, ns: &str, object: Value) -> Value {
        let request = Request::Create {
            resource,
            namespace: ns.into(),
            object: Bytes::from(object.to_string()),
            options: WriteOptions::default(),
        };
        self.ask(who, &request).expect("is created")
    }

    fn patch(
        &mut self,
        who: &Identity,
        key: &ObjectKey,
        how: (PatchType, Option<Subresource>, &str),
        patch: Value,
    ) -> Result<Value, StatusError> {
        let (patch_type, subresource, manager) = how;
        let options = WriteOptions {
            field_manager: manager.to_string(),
            ..WriteOptions::default()
        };
        self.ask(
            who,
            &Request::Patch {
                key: key.clone(),
                subresource,
                patch_type,
                patch: Bytes::from(patch.to_string()),
                options,
            },
        )
    }

    fn apply(
        &mut self,
        key: &ObjectKey,
        manager: &str,
        config: Value,
    ) -> Result<Value, StatusError> {
        let how = (PatchType::Apply { force: false }, None, manager);
        self.patch(&Identity::bootstrap(), key, how, config)
    }

    fn managers(&self, key: &ObjectKey) -> Vec<String> {
        let object = self.view.get(key).expect("is there");
        let object = object.to_value().expect("JSON");
        let entries = object["metadata"]["managedFields"].as_array().cloned();
        let name = |e: &Value| {
            let part = e["subresource"].as_str().map(|s| format!("/{s}"));
            let manager = e["manager"].as_str().unwrap_or_default();
            let operation = e["operation"].as_str().unwrap_or_default();
            format!("{manager}{}:{operation}", part.unwrap_or_default())
        };
        entries.unwrap_or_default().iter().map(name).collect()
    }
}

fn settings() -> ObjectKey {
    ObjectKey::new(Resource::CONFIG_MAPS, "default", "settings")
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data})
}

#[test]
fn applying_creates_changes_and_removes() {
    let mut world = World::new();
    let key = settings();
    let made = world.apply(&key, "a", config_map(json!({"x": "1", "y": "2"})));
    assert_eq!(made.expect("created")["data"], json!({"x": "1", "y": "2"}));
    assert_eq!(world.managers(&key), ["a:Apply"]);
    let before = world.view.revision();
    let same = world.apply(&key, "a", config_map(json!({"x": "1", "y": "2"})));
    assert!(same.is_ok());
    assert_eq!(world.view.revision(), before, "nothing was written");
    let less = world.apply(&key, "a", config_map(json!({"x": "3"})));
    assert_eq!(less.expect("applied")["data"], json!({"x": "3"}));
}

#[test]
fn what_others_own_is_refused_with_its_fields() {
    let mut world = World::new();
    let key = settings();
    let admin = Identity::bootstrap();
    world.create(
        &admin,
        Resource::CONFIG_MAPS,
        "default",
        config_map(json!({"x": "1"})),
    );
    assert_eq!(world.managers(&key), ["kabuki:Update"]);
    let error = world
        .apply(&key, "a", config_map(json!({"x": "2"})))
        .expect_err("a conflict");
    assert_eq!(error.reason, Reason::Conflict);
    assert_eq!(error.causes[0].reason, CauseReason::FieldManagerConflict);
    assert_eq!(error.causes[0].field, ".data.x");
    let how = (PatchType::Apply { force: true }, None, "a");
    let forced = world.patch(&admin, &key, how, config_map(json!({"x": "2"})));
    assert_eq!(forced.expect("forced")["data"]["x"], "2");
    assert_eq!(world.managers(&key), ["a:Apply", "kabuki:Update"]);
}

#[test]
fn what_cannot_be_applied_is_refused() {
    let mut world = World::new();
    let key = settings();
    let nobody = world
        .apply(&key, "", config_map(json!({})))
        .expect_err("refused");
    assert!(
        nobody.message.contains("fieldManager: Required value"),
        "{nobody}"
    );
    let mut other = config_map(json!({}));
    other["kind"] = "Secret".into();
    assert!(world.apply(&key, "a", other).is_err());
    let mut managed = config_map(json!({}));
    managed["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    let error = world.apply(&key, "a", managed).expect_err("refused");
    assert_eq!(error.message, "metadata.managedFields must be nil");
    let mut unknown = config_map(json!({}));
    unknown["dta"] = json!({});
    let error = world.apply(&key, "a", unknown).expect_err("refused");
    assert_eq!(
        error.message,
        "failed to create typed patch object (default/settings; v1, Kind=ConfigMap): .dta: field not declared in schema"
    );
    let mut named = config_map(json!({}));
    named["metadata"]["name"] = "other".into();
    assert!(world.apply(&key, "a", named).is_err());
    let mut uid = config_map(json!({}));
    uid["metadata"]["uid"] = "u".into();
    let error = world.apply(&key, "a", uid).expect_err("refused");
    assert_eq!(error.reason, Reason::Conflict);
}

#[test]
fn clients_may_take_all_ownership_away_but_not_by_accident() {
    let mut world = World::new();
    let (key, admin) = (settings(), Identity::bootstrap());
    world
        .apply(&key, "a", config_map(json!({"x": "1"})))
        .expect("applied");
    let merge = (PatchType::Merge, None, "kubectl-edit");
    let changed = world.patch(
        &admin,
        &key,
        merge,
        json!({"metadata": {"managedFields": []}, "data": {"y": "1"}}),
    );
    assert!(changed.is_ok());
    assert_eq!(world.managers(&key), ["a:Apply", "kubectl-edit:Update"]);
    let reset = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]);
    let how = (PatchType::Json, None, "kubectl-patch");
    world.patch(&admin, &key, how, reset).expect("reset");
    assert_eq!(world.managers(&key), Vec::<String>::new());
}

#[test]
fn a_status_and_a_scale_have_owners_of_their_own() {
    let mut world = World::new();
    let admin = Identity::bootstrap();
    let key = ObjectKey::new(Resource::DEPLOYMENTS, "default", "web");
    let config = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"memory": "1024Mi"}}}]},
        }},
        "status": {"replicas": 7},
    });
    let made = world.apply(&key, "a", config.clone()).expect("created");
    assert!(made["status"].get("replicas").is_none());
    // Quantities are the same however they are written.
    let before = world.view.revision();
    world.apply(&key, "a", config).expect("applied");
    assert_eq!(world.view.revision(), before);
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment", "status": {"replicas": 7}, "spec": {"replicas": 9}});
    let how = (
        PatchType::Apply { force: false },
        Some(Subresource::Status),
        "s",
    );
    let applied = world.patch(&admin, &key, how, status).expect("applied");
    assert_eq!(
        (&applied["status"]["replicas"], &applied["spec"]["replicas"]),
        (&json!(7), &json!(1))
    );
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 3}});
    let how = |force| (PatchType::Apply { force }, Some(Subresource::Scale), "hpa");
    let error = world
        .patch(&admin, &key, how(false), scale.clone())
        .expect_err("a conflict");
    assert_eq!(error.causes[0].field, ".spec.replicas");
    world.patch(&admin, &key, how(true), scale).expect("forced");
    assert_eq!(
        world.managers(&key),
        ["a:Apply", "s/status:Apply", "hpa/scale:Apply"]
    );
}

#[test]
fn the_clusters_own_writes_carry_managers_and_keep_those_of_others() {
    let mut world = World::new();
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let key = ObjectKey::new(Resource::PODS, "default", "p");
    let controller = Identity::controller("replicaset");
    let made = world.create(&controller, Resource::PODS, "default", pod);
    assert_eq!(world.managers(&key), ["kabuki-controller:Update"]);
    let node = json!({"metadata": {"name": "n"}});
    world.create(&Identity::bootstrap(), Resource::NODES, "", node);
    let binding = Binding {
        pod: key.clone(),
        uid: made["metadata"]["uid"].as_str().expect("a uid").into(),
        node: "n".into(),
    };
    world
        .ask(&Identity::scheduler(), &Request::Bind(vec![binding]))
        .expect("bound");
    assert_eq!(world.managers(&key), ["kabuki-controller:Update"]);
    let agent = Identity::node("n");
    let how = (PatchType::Merge, Some(Subresource::Status), "");
    for phase in ["Running", "Succeeded"] {
        world
            .patch(&agent, &key, how, json!({"status": {"phase": phase}}))
            .expect("written");
        assert_eq!(
            world.managers(&key),
            ["kabuki-controller:Update", "kabuki-agent/status:Update"]
        );
    }
    let size = world
        .view
        .get(&key)
        .expect("there")
        .managed_fields()
        .expect("entries")
        .len();
    assert!(size < 400, "{size} bytes");
    // Now a person applies a label.
    let config =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}}});
    world.apply(&key, "me", config).expect("applied");
    let object = world
        .view
        .get(&key)
        .expect("there")
        .to_value()
        .expect("JSON");
    let entries = &object["metadata"]["managedFields"];
    assert_eq!(
        entries[0]["fieldsV1"],
        json!({"f:metadata": {"f:labels": {"f:a": {}}}})
    );
    assert_eq!(
        entries[1]["fieldsV1"]["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"]["f:image"],
        json!({})
    );
    assert_eq!(entries[2]["fieldsV1"]["f:status"]["f:phase"], json!({}));
    // And its owner goes on writing the status as before.
    world
        .patch(&agent, &key, how, json!({"status": {"phase": "Failed"}}))
        .expect("written");
    assert_eq!(world.managers(&key)[0], "me:Apply");
}
