//! Fields that a kind does not have, fields that are there twice, and values of a wrong type: who
//! creates or replaces an object sent a bad request, who patches one an invalid patch.

use kabuki_admission::{Context, Verdict, admit};
use kabuki_model::command::Op;
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::jiff::Timestamp;
use kabuki_model::request::{FieldValidation, PatchType, Request, Subresource, WriteOptions};
use kabuki_model::status::Reason;
use kabuki_model::view::MapView;
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use serde_json::{Value, json};

const DEPLOYMENT: &str = r#"{
  "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
  "spec": {
    "selector": {"matchLabels": {"app": "web"}},
    "template": {
      "metadata": {"labels": {"app": "web"}},
      "spec": {"containers": [{"name": "web", "image": "web:1", "imagePullPolicy": "Always"}]}
    }
  }
}"#;

const UNKNOWN_AND_TWICE: &str = r#"{"spec": {
  "unknown1": "val1", "unknownDupe": "valDupe", "unknownDupe": "valDupe2",
  "paused": true, "paused": false,
  "template": {"spec": {"containers": [{
    "name": "web", "image": "web:1", "unknownNested": "val1",
    "imagePullPolicy": "Always", "imagePullPolicy": "Never"
  }]}}
}}"#;

const TWICE: &str = r#"{"spec": {"paused": true, "paused": false}}"#;

const OPERATIONS: &str = r#"[
  {"op": "add", "path": "/spec/unknown1", "value": "val1", "foo": "bar"},
  {"op": "add", "path": "/spec/unknown2", "path": "/spec/unknown3", "value": "val1"},
  {"op": "add", "path": "/spec/paused", "value": true},
  {"op": "add", "path": "/spec/template/spec/containers/0/unknownNested", "value": "val1"}
]"#;

/// What Kubernetes says of [`UNKNOWN_AND_TWICE`] and [`OPERATIONS`], in this order.
const FAULTS: &[&str] = &[
    "duplicate field \"spec.unknownDupe\"",
    "duplicate field \"spec.paused\"",
    "duplicate field \"spec.template.spec.containers[0].imagePullPolicy\"",
    "unknown field \"spec.template.spec.containers[0].unknownNested\"",
    "unknown field \"spec.unknown1\"",
    "unknown field \"spec.unknownDupe\"",
];
const FAULTS_OF_OPERATIONS: &[&str] = &[
    "json patch unknown field \"[0].foo\"",
    "json patch duplicate field \"[1].path\"",
    "unknown field \"spec.template.spec.containers[0].unknownNested\"",
    "unknown field \"spec.unknown1\"",
    "unknown field \"spec.unknown3\"",
];

struct World(MapView);

impl World {
    fn new() -> Self {
        let mut world = Self(MapView::default());
        let create = |resource, namespace: &str, object: &'static str| Request::Create {
            resource,
            namespace: namespace.into(),
            object: object.as_bytes().into(),
            options: WriteOptions::default(),
        };
        let namespace = create(
            Resource::NAMESPACES,
            "",
            r#"{"metadata": {"name": "shop"}}"#,
        );
        world.ask(&namespace).expect("a namespace");
        let deployment = create(Resource::DEPLOYMENTS, "shop", DEPLOYMENT);
        world.ask(&deployment).expect("a deployment");
        world
    }

    /// The object as it was written, if it was, and the warnings.
    fn ask(&mut self, request: &Request) -> Result<(Value, Vec<String>), StatusError> {
        let cx = Context {
            now: Timestamp::from_second(1_700_000_000).expect("a time"),
            entropy: 1,
            term: 1,
        };
        match admit(&self.0, &Identity::bootstrap(), request, &cx)? {
            Verdict::Answer(answer) => Ok((Value::Null, answer.warnings)),
            Verdict::Commit(commit) => {
                let mut last = Value::Null;
                for op in commit.command.ops {
                    if let Op::Put { key, uid, json, .. } = op {
                        let stored = self.0.put(&Stored::new(key, uid, 0, json));
                        last = stored.to_value().expect("JSON");
                    }
                }
                Ok((last, commit.warnings))
            }
            Verdict::Each(_) => panic!("one object was meant"),
        }
    }

    fn patch(
        &mut self,
        part: Option<Subresource>,
        how: PatchType,
        validation: FieldValidation,
        patch: &str,
    ) -> Result<(Value, Vec<String>), StatusError> {
        self.ask(&Request::Patch {
            key: key(),
            subresource: part,
            patch_type: how,
            patch: patch.to_string().into(),
            options: options(validation),
        })
    }
}

fn key() -> ObjectKey {
    ObjectKey::new(Resource::DEPLOYMENTS, "shop", "web")
}

fn options(validation: FieldValidation) -> WriteOptions {
    WriteOptions {
        validation,
        ..WriteOptions::default()
    }
}

fn strict(faults: &[&str]) -> String {
    format!("strict decoding error: {}", faults.join(", "))
}

/// The text that the cause of a refused patch shows, without the reason.
fn shown(error: &StatusError, why: &str) -> String {
    assert_eq!(error.reason, Reason::Invalid, "{error}");
    let [cause] = error.causes.as_slice() else {
        panic!("one cause: {error:?}");
    };
    assert_eq!(cause.field, "patch");
    assert_eq!(
        error.message,
        format!(" \"\" is invalid: patch: {}", cause.message)
    );
    let text = cause
        .message
        .strip_prefix("Invalid value: ")
        .expect("a value");
    let text = text.strip_suffix(&format!(": {why}"));
    let text = text.unwrap_or_else(|| panic!("{why}: {}", cause.message));
    serde_json::from_str(text).expect("it is quoted")
}

#[test]
fn a_strict_patch_with_faults_is_an_invalid_patch() {
    let mut world = World::new();
    for (how, patch, faults) in [
        (PatchType::Merge, UNKNOWN_AND_TWICE, FAULTS),
        (PatchType::Strategic, UNKNOWN_AND_TWICE, FAULTS),
        (PatchType::Json, OPERATIONS, FAULTS_OF_OPERATIONS),
        (PatchType::Merge, TWICE, &FAULTS[1..2]),
        (PatchType::Strategic, TWICE, &FAULTS[1..2]),
    ] {
        let refused = world.patch(None, how, FieldValidation::Strict, patch);
        let text = shown(&refused.expect_err("refused"), &strict(faults));
        match how {
            PatchType::Strategic => {
                let begin = "map[spec:map[paused:false";
                assert!(text.starts_with(begin), "{text}");
            }
            // The object as the patch made it.
            _ => {
                let object: Value = serde_json::from_str(&text).expect("an object");
                assert_eq!(object["kind"], "Deployment");
                assert_eq!(object["spec"]["selector"]["matchLabels"]["app"], "web");
            }
        }
        let error = world.patch(None, how, FieldValidation::Strict, patch);
        let status = error.expect_err("refused").to_json();
        assert_eq!(status["code"], 422);
        let details = status["details"].as_object().expect("details");
        assert_eq!(details.keys().collect::<Vec<_>>(), ["causes"]);
    }
}

#[test]
fn other_patches_with_faults_are_performed_with_and_without_warnings() {
    for (how, patch, faults) in [
        (PatchType::Merge, UNKNOWN_AND_TWICE, FAULTS),
        (PatchType::Strategic, UNKNOWN_AND_TWICE, FAULTS),
        (PatchType::Json, OPERATIONS, FAULTS_OF_OPERATIONS),
    ] {
        let warned = World::new().patch(None, how, FieldValidation::Warn, patch);
        let (object, warnings) = warned.expect("performed");
        assert_eq!(warnings, faults);
        assert_eq!(object["spec"].get("unknown1"), None);
        let ignored = World::new().patch(None, how, FieldValidation::Ignore, patch);
        let (_, warnings) = ignored.expect("performed");
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

#[test]
fn a_patch_that_makes_a_value_of_a_wrong_type_is_invalid() {
    let mut world = World::new();
    let merge = r#"{"spec": {"replicas": "two"}}"#;
    let json = r#"[{"op": "add", "path": "/spec/replicas", "value": "two"}]"#;
    for (how, patch, begin) in [
        (PatchType::Merge, merge, "{\""),
        (PatchType::Strategic, merge, "map[spec:map[replicas:two]]"),
        (PatchType::Json, json, "{\""),
    ] {
        for validation in [FieldValidation::Strict, FieldValidation::Ignore] {
            let error = world
                .patch(None, how, validation, patch)
                .expect_err("refused");
            let why = "spec.replicas: invalid type: string \"two\", expected i32";
            assert!(shown(&error, why).starts_with(begin), "{error}");
        }
    }
}

#[test]
fn whole_objects_with_faults_are_bad_requests() {
    let mut world = World::new();
    let mut object: Value = serde_json::from_str(DEPLOYMENT).expect("an object");
    object["spec"]["unknown1"] = json!(1);
    let text = object.to_string();
    let text = format!(
        r#"{{"metadata": {{}}, {}"#,
        text.strip_prefix('{').expect("an object")
    );
    let strict = options(FieldValidation::Strict);
    let update = Request::Update {
        key: key(),
        subresource: None,
        object: text.clone().into(),
        options: strict.clone(),
    };
    let create = Request::Create {
        resource: Resource::DEPLOYMENTS,
        namespace: "shop".into(),
        object: text.into(),
        options: strict,
    };
    for request in [update, create] {
        let refused = world.ask(&request).expect_err("refused");
        assert_eq!(refused.reason, Reason::BadRequest);
        let want = "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding \
                    error: duplicate field \"metadata\", unknown field \"spec.unknown1\"";
        assert_eq!(refused.message, want);
    }
}

#[test]
fn what_a_part_does_not_write_must_be_right_all_the_same() {
    let mut world = World::new();
    let status = r#"{"status": {"replicas": 1}, "spec": {"unknown1": 1}}"#;
    let mut refuse = |part, patch, what: &str| {
        let refused = world.patch(part, PatchType::Merge, FieldValidation::Strict, patch);
        let why = strict(&[&format!("unknown field {what:?}")]);
        shown(&refused.expect_err("refused"), &why);
    };
    refuse(Some(Subresource::Status), status, "spec.unknown1");
    refuse(None, r#"{"status": {"unknown1": 1}}"#, "status.unknown1");
    let scale = r#"{"spec": {"replicas": 2, "unknown1": 1}}"#;
    refuse(Some(Subresource::Scale), scale, "spec.unknown1");
    let fine = r#"{"status": {"replicas": 1}}"#;
    let part = Some(Subresource::Status);
    let written = world.patch(part, PatchType::Merge, FieldValidation::Strict, fine);
    assert_eq!(written.expect("written").0["status"]["replicas"], 1);
}
