//! Objects in protobuf, and the entries of managers. The first byte chooses which.

use kabuki_http::representation::{json_of_protobuf, protobuf_of_json};
use kabuki_model::managed_fields;
use serde_json::json;

/// Reads something.
pub fn run(data: &[u8]) {
    let Some((what, bytes)) = data.split_first() else {
        return;
    };
    match what % 2 {
        0 => message(bytes),
        _ => entries(bytes),
    }
}

/// What was once read and written is read as the same again.
fn message(bytes: &[u8]) {
    let Ok(first) = json_of_protobuf(bytes) else {
        return;
    };
    let Ok(written) = protobuf_of_json(&first) else {
        return;
    };
    let second = json_of_protobuf(&written).expect("what was written can be read");
    let written = protobuf_of_json(&second).expect("what was read can be written");
    let third = json_of_protobuf(&written).expect("what was written can be read");
    assert_eq!(second, third, "from {first}");
}

fn entries(bytes: &[u8]) {
    let Ok(entries) = managed_fields::decode(bytes) else {
        return;
    };
    for entry in &entries {
        let written = serde_json::to_vec(&entry.fields).expect("a set can be written");
        let again: managed_fields::FieldSet = serde_json::from_slice(&written).expect("and read");
        assert_eq!(again, entry.fields);
        let own = entry.fields.clone();
        assert_eq!(own.clone().union(&own), own);
        assert!(own.difference(&own).is_empty());
    }
    let _ = managed_fields::encode(entries);
}

/// A pod, a secret, a refusal; entries.
pub fn seeds() -> Vec<Vec<u8>> {
    let objects = [
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {
                "name": "a", "labels": {"a": "b"}, "creationTimestamp": "2026-01-01T00:00:00Z",
                "managedFields": [{"manager": "m", "operation": "Update", "fieldsV1": {"f:spec": {}}}],
            },
            "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1"}}, "livenessProbe": {"httpGet": {"port": "x"}}}]},
        }),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "aGk="}}),
        json!({"apiVersion": "v1", "kind": "Status", "message": "m", "code": 404}),
    ];
    let mut seeds: Vec<Vec<u8>> = objects
        .iter()
        .filter_map(|o| protobuf_of_json(o).ok())
        .map(|bytes| [&[0], bytes.as_slice()].concat())
        .collect();
    let entries = json!([{
        "manager": "m", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:a": {".": {}, "k:{\"name\":\"x\"}": {"f:b": {}}, "v:1": {}, "i:0": {}}},
    }]);
    seeds.push([b"\x01", entries.to_string().as_bytes()].concat());
    seeds
}
