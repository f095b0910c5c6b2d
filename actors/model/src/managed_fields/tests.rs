use super::*;
use crate::schema;
use serde_json::json;

mod properties;

fn writer(manager: &str) -> Writer<'_> {
    Writer {
        message: schema::find("apps/v1", "Deployment").expect("there"),
        manager,
        api_version: "apps/v1",
        subresource: "",
        has_status: true,
        now: Timestamp::from_second(1_700_000_000).expect("a time"),
    }
}

fn deployment(replicas: i64, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [
            {"name": "web", "image": image, "ports": [{"containerPort": 80}]},
        ]}}},
    })
}

/// Applies and follows the object.
fn applied(
    manager: &str,
    live: &mut Value,
    held: &mut Vec<Entry>,
    config: &Value,
    force: bool,
) -> Result<bool, String> {
    let is_new = live.is_null();
    let present = (!is_new).then_some(&*live);
    let done = apply(&writer(manager), present, config, held.clone(), force);
    match done.map_err(|e| e.to_string())? {
        None => Ok(false),
        Some(done) => {
            *live = done.object;
            *held = done.entries;
            Ok(true)
        }
    }
}

fn written(entry: &Entry) -> Value {
    serde_json::to_value(&entry.fields).expect("written")
}

#[test]
fn an_applier_owns_what_it_applied() {
    let (mut live, mut held) = (Value::Null, Vec::new());
    let config = deployment(3, "nginx:1");
    assert_eq!(
        applied("kubectl", &mut live, &mut held, &config, false),
        Ok(true)
    );
    assert_eq!(live, config);
    assert_eq!(
        written(&held[0]),
        json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {}, "f:ports": {
                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}},
            }},
        }}}}})
    );
    // The same again changes nothing.
    assert_eq!(
        applied("kubectl", &mut live, &mut held, &config, false),
        Ok(false)
    );
}

#[test]
fn what_others_own_is_a_conflict_unless_it_is_forced() {
    let (mut live, mut held) = (Value::Null, Vec::new());
    applied("a", &mut live, &mut held, &deployment(3, "nginx:1"), false).expect("applied");
    let other = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 5}});
    let refused = applied("b", &mut live, &mut held, &other, false).expect_err("a conflict");
    assert_eq!(
        refused,
        "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas"
    );
    // The same value is shared.
    let same = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3}});
    assert_eq!(applied("c", &mut live, &mut held, &same, false), Ok(true));
    let refused = applied("b", &mut live, &mut held, &other, false).expect_err("a conflict");
    assert_eq!(
        refused,
        "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.replicas\nconflicts with \"c\":\n- .spec.replicas"
    );
    assert_eq!(applied("b", &mut live, &mut held, &other, true), Ok(true));
    assert_eq!(live["spec"]["replicas"], 5);
    let owners: Vec<&str> = held
        .iter()
        .filter(|e| written(e)["f:spec"]["f:replicas"].is_object())
        .map(|e| &*e.manager)
        .collect();
    assert_eq!(owners, ["b"]);
}

#[test]
fn a_conflict_is_refused_in_kubernetes_shape() {
    let live = deployment(3, "nginx:1");
    let held = update(&writer("kubectl-edit"), &json!({}), &live, Vec::new());
    let error = apply(
        &writer("me"),
        Some(&live),
        &deployment(3, "nginx:2"),
        held,
        false,
    )
    .expect_err("a conflict");
    let status = StatusError::from(error);
    assert_eq!(status.reason, Reason::Conflict);
    assert_eq!(
        status.causes,
        [Cause {
            reason: CauseReason::FieldManagerConflict,
            field: ".spec.template.spec.containers[name=\"web\"].image".to_string(),
            message: "conflict with \"kubectl-edit\" using apps/v1 at 2023-11-14T22:13:20Z"
                .to_string(),
        }]
    );
}

#[test]
fn fields_that_are_no_longer_applied_go_unless_others_own_them() {
    let (mut live, mut held) = (Value::Null, Vec::new());
    let mut config = deployment(3, "nginx:1");
    config["metadata"]["labels"] = json!({"a": "1", "b": "2"});
    config["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"name": "side", "image": "s"}));
    applied("a", &mut live, &mut held, &config, false).expect("applied");
    let shared = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"b": "2"}}});
    applied("b", &mut live, &mut held, &shared, false).expect("applied");
    // Defaults and status belong to nobody, and stay.
    live["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst".into();
    live["status"] = json!({"replicas": 1});
    let less = deployment(3, "nginx:1");
    applied("a", &mut live, &mut held, &less, false).expect("applied");
    assert_eq!(live["metadata"]["labels"], json!({"b": "2"}));
    let containers = live["spec"]["template"]["spec"]["containers"]
        .as_array()
        .expect("a list");
    assert_eq!(containers.len(), 1);
    assert_eq!(
        live["spec"]["template"]["spec"]["dnsPolicy"],
        "ClusterFirst"
    );
    assert_eq!(live["status"]["replicas"], 1);
}

#[test]
fn ordinary_writes_own_what_they_change() {
    let first = deployment(3, "nginx:1");
    let held = update(&writer("kubectl-create"), &json!({}), &first, Vec::new());
    assert_eq!(held.len(), 1);
    let containers = &written(&held[0])["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"web\"}"];
    assert_eq!(containers["f:ports"]["."], json!({}));
    let second = deployment(3, "nginx:2");
    let held = update(&writer("kubectl-edit"), &first, &second, held);
    assert_eq!(held.len(), 2);
    assert_eq!(
        written(&held[1]),
        json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {"f:image": {}}}}}}})
    );
    let containers = &written(&held[0])["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"web\"}"];
    assert!(containers.get("f:image").is_none());
    // What is removed belongs to nobody.
    let mut third = second.clone();
    third["spec"]
        .as_object_mut()
        .expect("an object")
        .remove("replicas");
    let held = update(&writer("x"), &second, &third, held);
    assert!(
        held.iter()
            .all(|e| written(e)["f:spec"].get("f:replicas").is_none())
    );
}

#[test]
fn an_object_of_nobody_belongs_to_a_manager_of_its_own_from_the_first_apply() {
    let mut live = deployment(3, "nginx:1");
    assert_eq!(
        update(&writer("x"), &live, &deployment(4, "nginx:1"), Vec::new()),
        []
    );
    let mut held = Vec::new();
    let refused = applied("me", &mut live, &mut held, &deployment(4, "nginx:1"), false)
        .expect_err("a conflict");
    assert!(
        refused.contains("\"before-first-apply\" using apps/v1"),
        "{refused}"
    );
    applied("me", &mut live, &mut held, &deployment(4, "nginx:1"), true).expect("applied");
    let names: Vec<&str> = held.iter().map(|e| &*e.manager).collect();
    assert_eq!(names, ["before-first-apply", "me"]);
}

#[test]
fn of_many_updaters_the_oldest_become_one() {
    let mut live = json!({"metadata": {"name": "web"}, "spec": {}});
    let mut held = update(
        &writer("first"),
        &json!({}),
        &deployment(1, "a"),
        Vec::new(),
    );
    for number in 0..20 {
        let mut new = live.clone();
        new["metadata"]["labels"][format!("l{number}")] = "x".into();
        let manager = format!("m{number:02}");
        let mut writer = writer(&manager);
        writer.now = Timestamp::from_second(1_700_000_100 + number).expect("a time");
        held = update(&writer, &live, &new, held);
        live = new;
    }
    assert_eq!(held.len(), 10);
    let names: Vec<&str> = held.iter().map(|e| &*e.manager).collect();
    assert_eq!(names.iter().filter(|n| **n == "ancient-changes").count(), 1);
    assert!(names.contains(&"m19"));
}

#[test]
fn kubectl_takes_over_what_it_applied_from_its_own_side() {
    let mut live = deployment(3, "nginx:1");
    crate::patch::set_last_applied(&mut live);
    let mut held = update(
        &writer("kubectl-client-side-apply"),
        &json!({}),
        &live,
        Vec::new(),
    );
    let refused = applied(
        "other",
        &mut live.clone(),
        &mut held.clone(),
        &deployment(4, "nginx:1"),
        false,
    );
    assert!(refused.is_err());
    applied(
        "kubectl",
        &mut live,
        &mut held,
        &deployment(4, "nginx:1"),
        false,
    )
    .expect("applied");
    assert_eq!(live["spec"]["replicas"], 4);
    let last = crate::patch::last_applied(&live).expect("still there");
    assert_eq!(last["spec"]["replicas"], 4);
    // But not what somebody else has changed since.
    let mut edited = live.clone();
    edited["spec"]["replicas"] = 9.into();
    held = update(&writer("kubectl-edit"), &live, &edited, held);
    live = edited;
    let config = deployment(4, "nginx:1");
    let refused = applied("kubectl", &mut live, &mut held, &config, false);
    assert!(refused.expect_err("a conflict").contains("kubectl-edit"));
}

#[test]
fn what_does_not_fit_its_type_is_refused() {
    let cases = [
        (
            json!({"spec": {"replica": 1}}),
            ".spec.replica: field not declared in schema",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}}}),
            ".spec.template.spec.containers: duplicate entries for key [name=\"a\"]",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}}),
            "omits key field \"name\"",
        ),
        (json!({"spec": 1}), ".spec: expected map, got 1"),
        (
            json!({"spec": {"template": {"spec": {"containers": {}}}}}),
            "expected list",
        ),
    ];
    for (config, why) in cases {
        let error = apply(&writer("a"), None, &config, Vec::new(), false).expect_err("refused");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn own_parts_own_whole_parts_until_somebody_else_writes() {
    let pods = Writer {
        message: schema::find("v1", "Pod").expect("there"),
        api_version: "v1",
        ..writer("kabuki-controller")
    };
    let agent = Writer {
        manager: "kabuki-agent",
        subresource: "status",
        ..pods
    };
    let Part::Changed(first) = of_part(&pods, None, &["metadata", "spec"]) else {
        panic!("entries");
    };
    let Part::Changed(second) = of_part(&agent, Some(&first), &["status"]) else {
        panic!("entries");
    };
    assert_eq!(of_part(&agent, Some(&second), &["status"]), Part::Kept);
    assert!(second.len() < 400, "{}", second.len());
    let live = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"a": "1"}},
        "spec": {"nodeName": "n"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    // A person writes a label: nothing else changes hands, but now it is known in full who owns
    // what.
    let mut new = live.clone();
    new["metadata"]["labels"]["b"] = "2".into();
    let person = Writer {
        manager: "kubectl-label",
        ..pods
    };
    let held = update(&person, &live, &new, decode(&second).expect("valid"));
    let of = |name: &str| written(held.iter().find(|e| e.manager == name).expect("there"));
    assert_eq!(
        of("kubectl-label"),
        json!({"f:metadata": {"f:labels": {"f:b": {}}}})
    );
    assert_eq!(
        of("kabuki-controller"),
        json!({"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:nodeName": {}}})
    );
    assert_eq!(
        of("kabuki-agent"),
        json!({"f:status": {"f:phase": {}, "f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}, "f:type": {}, "f:status": {}}}}})
    );
    // Somebody else owns a part of the status: its next write is looked at field by field.
    let status = Writer {
        manager: "operator",
        subresource: "status",
        ..pods
    };
    let mut with = new.clone();
    with["status"]["conditions"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"type": "x/y", "status": "True"}));
    let held = encode(update(&status, &new, &with, held)).expect("entries");
    assert_eq!(of_part(&agent, Some(&held), &["status"]), Part::Touched);
}

#[test]
fn entries_are_read_and_written() {
    let text = br#"[{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:x":{"v:\"s\"":{},"i:3":{},"k:{\"a\":1,\"b\":\"c\"}":{".":{},"f:d":{}}}}},"manager":"m","operation":"Update","subresource":"status","time":"2026-01-01T00:00:00Z"}]"#;
    let entries = decode(text).expect("valid");
    let again = encode(entries.clone()).expect("entries");
    let value = |json: &[u8]| serde_json::from_slice::<Value>(json).expect("valid");
    assert_eq!(value(&again), value(text));
    assert_eq!(
        entries[0].fields.paths(),
        [
            ".metadata.labels",
            ".metadata.labels.a",
            ".spec.x[a=1,b=\"c\"]",
            ".spec.x[=\"s\"]",
            ".spec.x[3]",
            ".spec.x[a=1,b=\"c\"].d",
        ]
    );
    for broken in [
        "{}",
        "[{}]",
        r#"[{"operation":"Apply","fieldsV1":{"x":{}}}]"#,
        r#"[{"operation":"Apply","fieldsV1":{"k:1":{}}}]"#,
        r#"[{"operation":"Apply","fieldsV1":1}]"#,
    ] {
        assert!(decode(broken.as_bytes()).is_err(), "{broken}");
    }
}
