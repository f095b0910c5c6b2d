//! `v1` `Secret` (Kubernetes, "Secrets").

use super::configmap::{MAX_DATA_BYTES, SET_IMMUTABLE, check_key};
use super::rules::{Column, KindRules, Names};
use super::workload::IMMUTABLE;
use crate::printing;
use crate::status::Cause;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;

pub(super) struct SecretRules;

const OPAQUE: &str = "Opaque";

impl KindRules for SecretRules {
    type Object = Secret;

    const NAMES: Names = Names {
        kind: "Secret",
        plural: "secrets",
        singular: "secret",
        short: &[],
        categories: &[],
        group: "",
        version: "v1",
        namespaced: true,
    };
    const FIELDS: &'static [&'static str] = &["type"];

    fn default(object: &mut Secret) {
        // `stringData` is for writing only: it goes over `data` and is not kept.
        if let Some(texts) = object.string_data.take() {
            let data = object.data.get_or_insert_default();
            data.extend(
                texts
                    .into_iter()
                    .map(|(k, v)| (k, ByteString(v.into_bytes()))),
            );
        }
        if object.type_.as_deref().unwrap_or_default().is_empty() {
            object.type_ = Some(OPAQUE.to_string());
        }
    }

    fn validate(object: &Secret) -> Vec<Cause> {
        let mut causes = Vec::new();
        let mut size = 0;
        for (key, value) in object.data.iter().flatten() {
            check_key("data", key, &mut causes);
            size += value.0.len();
        }
        if size > MAX_DATA_BYTES {
            causes.push(Cause::too_long("data", MAX_DATA_BYTES));
        }
        validate_type(object, &mut causes);
        causes
    }

    fn validate_update(new: &Secret, old: &Secret) -> Vec<Cause> {
        let mut causes = Vec::new();
        if new.type_ != old.type_ {
            causes.push(Cause::invalid("type", &new.type_, IMMUTABLE));
        }
        if old.immutable == Some(true) {
            if new.immutable != Some(true) {
                causes.push(Cause::forbidden("immutable", SET_IMMUTABLE));
            }
            if new.data.clone().unwrap_or_default() != old.data.clone().unwrap_or_default() {
                causes.push(Cause::forbidden("data", SET_IMMUTABLE));
            }
        }
        causes
    }

    fn fields(object: &Secret) -> Vec<(&'static str, String)> {
        vec![("type", object.type_.clone().unwrap_or_default())]
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::new("NAME"),
            Column::new("TYPE"),
            Column::new("DATA"),
            Column::new("AGE"),
        ];
        COLUMNS
    }

    fn row(object: &Secret, now: Timestamp) -> Vec<String> {
        vec![
            printing::name(&object.metadata),
            object.type_.clone().unwrap_or_default(),
            object.data.as_ref().map_or(0, |d| d.len()).to_string(),
            printing::creation_age(&object.metadata, now),
        ]
    }
}

/// The keys that a secret of a known type must have (Kubernetes, "Types of Secret").
fn validate_type(object: &Secret, causes: &mut Vec<Cause>) {
    let has = |key: &str| object.data.as_ref().is_some_and(|d| d.contains_key(key));
    let mut require = |keys: &[&str]| {
        for key in keys.iter().filter(|k| !has(k)) {
            causes.push(Cause::required(format!("data[{key}]"), ""));
        }
    };
    match object.type_.as_deref().unwrap_or(OPAQUE) {
        "kubernetes.io/service-account-token" => {
            const ACCOUNT: &str = "kubernetes.io/service-account.name";
            let named = object
                .metadata
                .annotations
                .as_ref()
                .and_then(|a| a.get(ACCOUNT));
            if named.is_none_or(String::is_empty) {
                causes.push(Cause::required(
                    format!("metadata.annotations[{ACCOUNT}]"),
                    "",
                ));
            }
        }
        "kubernetes.io/dockercfg" => validate_json(object, ".dockercfg", causes),
        "kubernetes.io/dockerconfigjson" => validate_json(object, ".dockerconfigjson", causes),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            require(&["username", "password"]);
        }
        "kubernetes.io/ssh-auth" => require(&["ssh-privatekey"]),
        "kubernetes.io/tls" => require(&["tls.crt", "tls.key"]),
        _ => {}
    }
}

fn validate_json(object: &Secret, key: &str, causes: &mut Vec<Cause>) {
    let path = format!("data[{key}]");
    match object.data.as_ref().and_then(|d| d.get(key)) {
        None => causes.push(Cause::required(path, "")),
        Some(value) => {
            if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&value.0) {
                // The position is safe to tell; the content is not.
                let why = format!("{error}");
                causes.push(Cause::invalid(path, "<secret contents redacted>", &why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn secret(value: Value) -> Secret {
        let mut object = serde_json::from_value(value).expect("a Secret");
        SecretRules::default(&mut object);
        object
    }

    #[test]
    fn string_data_goes_over_data() {
        let object = secret(json!({
            "metadata": {"name": "s"}, "data": {"a": "eA==", "b": "eQ=="}, "stringData": {"a": "new"},
        }));
        assert_eq!(object.type_.as_deref(), Some("Opaque"));
        assert_eq!(object.string_data, None);
        let data = object.data.expect("merged");
        assert_eq!(
            (data["a"].0.as_slice(), data["b"].0.as_slice()),
            (&b"new"[..], &b"y"[..])
        );
    }

    #[test]
    fn known_types_need_their_keys() {
        let cases = [
            (
                "kubernetes.io/tls",
                json!({"tls.crt": ""}),
                vec!["data[tls.key]"],
            ),
            (
                "kubernetes.io/ssh-auth",
                json!({}),
                vec!["data[ssh-privatekey]"],
            ),
            (
                "kubernetes.io/basic-auth",
                json!({}),
                vec!["data[username]", "data[password]"],
            ),
            ("kubernetes.io/basic-auth", json!({"password": "p"}), vec![]),
            (
                "kubernetes.io/dockerconfigjson",
                json!({}),
                vec!["data[.dockerconfigjson]"],
            ),
            (
                "kubernetes.io/dockerconfigjson",
                json!({".dockerconfigjson": "{"}),
                vec!["data[.dockerconfigjson]"],
            ),
            (
                "kubernetes.io/dockerconfigjson",
                json!({".dockerconfigjson": "{}"}),
                vec![],
            ),
            (
                "kubernetes.io/service-account-token",
                json!({}),
                vec!["metadata.annotations[kubernetes.io/service-account.name]"],
            ),
            ("example.com/own", json!({}), vec![]),
        ];
        for (kind, data, expected) in cases {
            let object = secret(json!({"metadata": {}, "type": kind, "stringData": data}));
            let fields: Vec<String> = SecretRules::validate(&object)
                .into_iter()
                .map(|c| c.field)
                .collect();
            assert_eq!(fields, expected, "{kind}");
        }
    }

    #[test]
    fn the_type_and_immutable_data_cannot_change() {
        let old = secret(json!({"metadata": {}, "immutable": true, "stringData": {"a": "1"}}));
        let new =
            secret(json!({"metadata": {}, "type": "example.com/x", "stringData": {"a": "2"}}));
        let causes = SecretRules::validate_update(&new, &old);
        let fields: Vec<&str> = causes.iter().map(|c| c.field.as_str()).collect();
        assert_eq!(fields, ["type", "immutable", "data"]);
    }
}
