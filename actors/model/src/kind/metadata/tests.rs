use super::*;
use serde_json::{Value, json};

fn of(value: Value) -> Vec<String> {
    let meta: ObjectMeta = serde_json::from_value(value).expect("metadata");
    let causes = validate_metadata(&meta, true);
    causes
        .iter()
        .map(|c| format!("{}: {}", c.field, c.message))
        .collect()
}

#[test]
fn metadata_is_refused_in_kubernetes_words() {
    let long = "a".repeat(64);
    let owner = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "u", "controller": true});
    let cases = [
        (
            json!({"namespace": ""}),
            "metadata.namespace: Required value",
        ),
        (
            json!({"namespace": "A"}),
            "metadata.namespace: Invalid value: \"A\": a lowercase RFC 1123 label",
        ),
        (
            json!({"generation": -1}),
            "metadata.generation: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            json!({"labels": {"a b": "c"}}),
            "metadata.labels: Invalid value: \"a b\": name part must consist of",
        ),
        (
            json!({"labels": {"a": long}}),
            "must be no more than 63 bytes",
        ),
        (
            json!({"labels": {"a": "-"}}),
            "metadata.labels: Invalid value: \"-\": a valid label must be",
        ),
        (
            json!({"annotations": {"/a": ""}}),
            "metadata.annotations: Invalid value: \"/a\": prefix part must be non-empty",
        ),
        (
            json!({"annotations": {"a": "x".repeat(256 << 10)}}),
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
        (
            json!({"finalizers": ["a b"]}),
            "metadata.finalizers: Invalid value: \"a b\": name part must consist of",
        ),
        (
            json!({"finalizers": ["mine"]}),
            "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified",
        ),
        (
            json!({"finalizers": ["orphan", "foregroundDeletion"]}),
            "finalizer orphan and foregroundDeletion cannot be both set",
        ),
        (
            json!({"ownerReferences": [{"apiVersion": "", "kind": "", "name": "", "uid": ""}]}),
            "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
        ),
        (
            json!({"ownerReferences": [{"apiVersion": "apps/", "kind": "A", "name": "a", "uid": "u"}]}),
            "metadata.ownerReferences.apiVersion: Invalid value: \"apps/\": version must not be empty",
        ),
        (
            json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "a", "uid": "u"}]}),
            "is disallowed from being an owner",
        ),
        (
            json!({"ownerReferences": [owner("a"), owner("b")]}),
            "Found \"true\" in references for Pod/a and Pod/b",
        ),
        (
            json!({"managedFields": [{"operation": "Patch"}]}),
            "metadata.managedFields[0].operation: Invalid value: \"Patch\": must be `Apply` or `Update`",
        ),
    ];
    for (mut value, expected) in cases {
        if value.get("namespace").is_none() {
            value["namespace"] = json!("default");
        }
        let found = of(value.clone());
        assert!(
            found.iter().any(|f| f.contains(expected)),
            "{value}: {found:?}"
        );
    }
}

#[test]
fn well_formed_metadata_passes() {
    let meta = json!({
        "namespace": "default", "generation": 1,
        "labels": {"app.kubernetes.io/name": "web", "empty": ""},
        "annotations": {"Example.COM/Upper": "any text\n"},
        "finalizers": ["example.com/keep", "orphan"],
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "u", "controller": true}],
    });
    assert_eq!(of(meta), Vec::<String>::new());
}

#[test]
fn a_cluster_scoped_object_has_no_namespace() {
    let meta = ObjectMeta {
        namespace: Some("default".to_string()),
        ..ObjectMeta::default()
    };
    let causes = validate_metadata(&meta, false);
    assert_eq!(causes[0].message, "Forbidden: not allowed on this type");
    assert!(validate_metadata(&ObjectMeta::default(), false).is_empty());
}
