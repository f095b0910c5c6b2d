//! A kind in several groups and versions: whatever it is written in, one form is stored.

use bytes::Bytes;
use kabuki_admission::{Context, Verdict, admit};
use kabuki_model::command::Op;
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::jiff::Timestamp;
use kabuki_model::request::{FieldValidation, PatchType, Request, WriteOptions};
use kabuki_model::view::MapView;
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use serde_json::{Value, json};

const OTHER: &str = "events.k8s.io/v1";

fn options(api_version: &str) -> WriteOptions {
    WriteOptions {
        api_version: api_version.to_string(),
        field_manager: "test".to_string(),
        ..WriteOptions::default()
    }
}

fn ask(view: &mut MapView, request: &Request) -> Result<Value, StatusError> {
    let cx = Context {
        now: Timestamp::from_second(1_700_000_000).expect("a time"),
        entropy: 1,
        term: 1,
    };
    let Verdict::Commit(commit) = admit(view, &Identity::bootstrap(), request, &cx)? else {
        panic!("nothing to write: {request:?}");
    };
    let mut last = Value::Null;
    for op in commit.command.ops {
        if let Op::Put { key, uid, json, .. } = op {
            let stored = view.put(&Stored::new(key, uid, 0, json));
            last = stored.to_value().expect("JSON");
        }
    }
    Ok(last)
}

fn world() -> MapView {
    let mut view = MapView::default();
    let request = Request::Create {
        resource: Resource::NAMESPACES,
        namespace: "".into(),
        object: Bytes::from_static(br#"{"metadata": {"name": "shop"}}"#),
        options: WriteOptions::default(),
    };
    ask(&mut view, &request).expect("a namespace");
    view
}

fn event(api_version: Option<&str>) -> Value {
    let mut event = json!({
        "kind": "Event", "metadata": {"name": "web.1"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Binding", "reason": "Scheduled",
        "regarding": {"kind": "Pod", "name": "web", "namespace": "shop"}, "note": "assigned",
        "reportingController": "scheduler", "reportingInstance": "s-1", "type": "Normal",
    });
    if let Some(version) = api_version {
        event["apiVersion"] = version.into();
    }
    event
}

fn create(view: &mut MapView, object: &Value, options: WriteOptions) -> Result<Value, StatusError> {
    let request = Request::Create {
        resource: Resource::EVENTS,
        namespace: "shop".into(),
        object: object.to_string().into(),
        options,
    };
    ask(view, &request)
}

fn key() -> ObjectKey {
    ObjectKey::new(Resource::EVENTS, "shop", "web.1")
}

#[test]
fn an_event_of_the_other_group_is_stored_as_a_core_one() {
    for (version, how) in [(None, OTHER), (Some(OTHER), OTHER), (Some(OTHER), "")] {
        let stored = create(&mut world(), &event(version), options(how)).expect("created");
        assert_eq!(stored["apiVersion"], "v1");
        assert_eq!(stored["message"], "assigned");
        assert_eq!(stored["involvedObject"]["name"], "web");
        assert_eq!(stored["reportingComponent"], "scheduler");
        assert!(stored.get("note").is_none());
    }
}

#[test]
fn a_version_that_is_not_the_one_of_the_path_is_refused() {
    for (version, how) in [("v1", OTHER), (OTHER, "v1")] {
        let refused = create(&mut world(), &event(Some(version)), options(how));
        let message = refused.expect_err("refused").message;
        assert!(message.contains("does not match the expected"), "{message}");
    }
    let refused = create(&mut world(), &event(None), options("events.k8s.io/v2"));
    let message = refused.expect_err("refused").message;
    assert!(message.contains("is not served in version"), "{message}");
}

#[test]
fn a_field_of_the_other_form_is_unknown() {
    let mut object = event(None);
    object["message"] = "of the core group".into();
    let refused = create(&mut world(), &object, options(OTHER)).expect_err("strict");
    assert!(refused.message.contains("unknown field \"message\""));
    let lenient = WriteOptions {
        validation: FieldValidation::Ignore,
        ..options(OTHER)
    };
    let stored = create(&mut world(), &object, lenient).expect("created");
    assert_eq!(stored["message"], "assigned");
}

#[test]
fn patches_are_of_the_form_that_they_are_written_in() {
    let patches = [
        (PatchType::Merge, json!({"note": "b"})),
        (PatchType::Strategic, json!({"note": "b"})),
        (
            PatchType::Json,
            json!([
                {"op": "test", "path": "/apiVersion", "value": OTHER},
                {"op": "replace", "path": "/note", "value": "b"},
            ]),
        ),
        (
            PatchType::Apply { force: true },
            json!({
                "apiVersion": OTHER, "kind": "Event", "metadata": {"name": "web.1"}, "note": "b",
            }),
        ),
    ];
    for (patch_type, patch) in patches {
        let mut view = world();
        create(&mut view, &event(None), options(OTHER)).expect("created");
        let request = Request::Patch {
            key: key(),
            subresource: None,
            patch_type,
            patch: patch.to_string().into(),
            options: options(OTHER),
        };
        let stored = ask(&mut view, &request).unwrap_or_else(|e| panic!("{patch_type:?}: {e}"));
        assert_eq!(stored["message"], "b", "{patch_type:?}");
        assert_eq!(stored["involvedObject"]["name"], "web");
        assert_eq!(stored["apiVersion"], "v1");
        assert!(stored.get("note").is_none(), "{patch_type:?}");
    }
}

#[test]
fn an_update_replaces_in_either_form() {
    let mut view = world();
    create(&mut view, &event(None), options(OTHER)).expect("created");
    let mut object = event(Some(OTHER));
    object["note"] = "c".into();
    let request = Request::Update {
        key: key(),
        subresource: None,
        object: object.to_string().into(),
        options: options(OTHER),
    };
    let stored = ask(&mut view, &request).expect("updated");
    assert_eq!(stored["message"], "c");
}

#[test]
fn a_malformed_applied_field_is_the_callers_fault() {
    for bad in [
        json!({"note": {"a": 1}}),
        json!({"metadata": {"name": "web.1", "labels": [1]}}),
        json!({"metadata": 7}),
        json!({"deprecatedCount": "three"}),
        json!({"regarding": []}),
        json!({"eventTime": "yesterday"}),
    ] {
        let mut view = world();
        create(&mut view, &event(None), options(OTHER)).expect("created");
        let mut config = json!({
            "apiVersion": OTHER, "kind": "Event", "metadata": {"name": "web.1"},
        });
        for (field, value) in bad.as_object().expect("fields") {
            config[field] = value.clone();
        }
        let request = Request::Patch {
            key: key(),
            subresource: None,
            patch_type: PatchType::Apply { force: true },
            patch: config.to_string().into(),
            options: options(OTHER),
        };
        let refused = ask(&mut view, &request).expect_err("refused");
        assert!(
            (400..500).contains(&refused.reason.code()),
            "{bad}: {refused:?}"
        );
    }
}
