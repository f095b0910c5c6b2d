use super::*;

#[test]
fn every_field_of_the_table_is_understood() {
    let written: usize = table::text()
        .lines()
        .filter(|l| !l.starts_with('@'))
        .map(|l| l.split_ascii_whitespace().count() - 1)
        .sum();
    let read: usize = all().map(|(_, m)| m.fields.len()).sum();
    assert_eq!(written, read);
    for (section, message) in all() {
        let mut numbers: Vec<u32> = message.fields.iter().map(|f| f.number).collect();
        numbers.dedup();
        assert_eq!(
            numbers.len(),
            message.fields.len(),
            "{section} {}",
            message.name
        );
        for field in &message.fields {
            let ListType::Map(keys) = &field.list else {
                continue;
            };
            let FieldType::Message(items) = field.kind else {
                panic!("{section} {}.{}", message.name, field.name);
            };
            for key in keys {
                assert!(super::message(items).field(key).is_some(), "{}", field.name);
            }
        }
    }
}

#[test]
fn every_kind_is_in_the_table() {
    for kind in crate::kind::all() {
        let message = find(&kind.api_version(), kind.names.kind);
        assert!(message.is_some_and(Message::has_metadata), "{kind:?}");
    }
}

#[test]
fn inline_structures_lend_their_fields() {
    let volume = find("v1", "Volume").expect("there");
    let secret = volume.field("secret").expect("inline");
    assert_eq!(secret.number, 6);
    let FieldType::Message(secret) = secret.kind else {
        panic!("a structure");
    };
    assert_eq!(message(secret).name, "SecretVolumeSource");
}

/// Every field that the typed objects know is in the table, and the other way round: neither
/// side may fall behind the other.
#[test]
fn the_table_has_the_fields_of_the_typed_objects() {
    for kind in crate::kind::all() {
        let schema = kind.schema();
        let message = find(&kind.api_version(), kind.names.kind).expect("there");
        compare(&schema, &schema, message, kind.names.kind, 0);
    }
}

fn compare(
    root: &serde_json::Value,
    schema: &serde_json::Value,
    message: &Message,
    path: &str,
    depth: usize,
) {
    if depth > 12 {
        return;
    }
    let schema = resolve(root, schema);
    let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) else {
        panic!("{path} has no fields");
    };
    for (name, inner) in properties {
        if matches!(name.as_str(), "apiVersion" | "kind") && message.field(name).is_none() {
            continue;
        }
        let path = format!("{path}.{name}");
        let field = message.field(name).unwrap_or_else(|| panic!("{path}"));
        let inner = resolve(root, inner);
        let below = inner
            .get("items")
            .or(inner.get("additionalProperties"))
            .unwrap_or(inner);
        if let FieldType::Message(index) = field.kind {
            compare(root, below, super::message(index), &path, depth + 1);
        }
    }
    for name in message.by_name.keys() {
        assert!(properties.contains_key(*name), "{path}.{name} is not typed");
    }
}

fn resolve<'a>(
    root: &'a serde_json::Value,
    schema: &'a serde_json::Value,
) -> &'a serde_json::Value {
    let wrapped = ["allOf", "anyOf"].iter().find_map(|w| {
        let mut choices = schema.get(w)?.as_array()?.iter();
        choices.find(|s| s.get("$ref").is_some())
    });
    let reference = wrapped
        .unwrap_or(schema)
        .get("$ref")
        .and_then(|r| r.as_str());
    match reference.and_then(|r| root.pointer(r.strip_prefix('#')?)) {
        Some(target) => target,
        None => schema,
    }
}

#[test]
fn a_value_that_a_field_cannot_hold_is_named_with_its_place() {
    let pod = find("v1", "Pod").expect("there");
    let cases = [
        (
            serde_json::json!({"spec": {"containers": [{"image": 5}]}}),
            "spec.containers[0].image: invalid type: integer `5`, expected a string",
        ),
        (
            serde_json::json!({"spec": {"nodeSelector": {"disk": true}}}),
            "spec.nodeSelector.disk: invalid type: boolean `true`, expected a string",
        ),
        (
            serde_json::json!({"spec": {"containers": {}}}),
            "spec.containers: invalid type: map, expected a sequence",
        ),
        (
            serde_json::json!({"spec": {"priority": 3_000_000_000_i64}}),
            "spec.priority: invalid value: integer `3000000000`, expected i32",
        ),
        (
            serde_json::json!({"spec": {"containers": [null]}}),
            "spec.containers[0]: invalid type: null, expected struct Container",
        ),
    ];
    for (value, told) in cases {
        assert_eq!(check(pod, &value).expect_err("wrong").to_string(), told);
    }
    let time = serde_json::json!({"metadata": {"creationTimestamp": "yesterday"}});
    let error = check(pod, &time).expect_err("no time");
    assert_eq!(error.field, "metadata.creationTimestamp");
    let secret = find("v1", "Secret").expect("there");
    let data = serde_json::json!({"data": {"key": "not base64!"}});
    let error = check(secret, &data).expect_err("no base64");
    assert_eq!(error.field, "data.key");
}

#[test]
fn fields_that_a_type_does_not_have_are_listed_and_null_is_absent() {
    let pod = find("v1", "Pod").expect("there");
    let value = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "odd": 1,
        "metadata": {"kind": "x", "labels": null},
        "spec": {"containers": [{"imag": "a", "ports": [{"containerPort": 80}]}], "volumes": null},
    });
    let unknown = check(pod, &value).expect("nothing is wrong");
    assert_eq!(unknown, ["metadata.kind", "odd", "spec.containers[0].imag"]);
}
