//! `v1` `ConfigMap` (Kubernetes, "ConfigMaps").

use super::rules::{Column, KindRules, Names};
use crate::printing;
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;

pub(super) struct ConfigMapRules;

/// The most that the values of a ConfigMap or Secret may hold together.
pub(super) const MAX_DATA_BYTES: usize = 1 << 20;
pub(super) const SET_IMMUTABLE: &str = "field is immutable when `immutable` is set";

impl KindRules for ConfigMapRules {
    type Object = ConfigMap;

    const NAMES: Names = Names {
        kind: "ConfigMap",
        plural: "configmaps",
        singular: "configmap",
        short: &["cm"],
        categories: &[],
        group: "",
        version: "v1",
        namespaced: true,
    };

    fn validate(object: &ConfigMap) -> Vec<Cause> {
        let mut causes = Vec::new();
        let mut size = 0;
        let binary = object.binary_data.as_ref();
        for (key, value) in object.data.iter().flatten() {
            check_key("data", key, &mut causes);
            if binary.is_some_and(|b| b.contains_key(key)) {
                let why = "duplicate of key present in binaryData";
                causes.push(Cause::invalid(format!("data[{key}]"), key, why));
            }
            size += value.len();
        }
        for (key, value) in binary.into_iter().flatten() {
            check_key("binaryData", key, &mut causes);
            size += value.0.len();
        }
        if size > MAX_DATA_BYTES {
            // Kubernetes gives this fault no field of its own, and writes `[]`.
            causes.push(Cause::too_long("[]", MAX_DATA_BYTES));
        }
        causes
    }

    fn validate_update(new: &ConfigMap, old: &ConfigMap) -> Vec<Cause> {
        let mut causes = Vec::new();
        if old.immutable != Some(true) {
            return causes;
        }
        let changed = [
            (new.immutable != Some(true), "immutable"),
            (
                new.data.clone().unwrap_or_default() != old.data.clone().unwrap_or_default(),
                "data",
            ),
            (
                new.binary_data.clone().unwrap_or_default()
                    != old.binary_data.clone().unwrap_or_default(),
                "binaryData",
            ),
        ];
        for (_, field) in changed.into_iter().filter(|(changed, _)| *changed) {
            causes.push(Cause::forbidden(field, SET_IMMUTABLE));
        }
        causes
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[Column::new("NAME"), Column::new("DATA"), Column::new("AGE")];
        COLUMNS
    }

    fn row(object: &ConfigMap, now: Timestamp) -> Vec<String> {
        let count = object.data.as_ref().map_or(0, |d| d.len())
            + object.binary_data.as_ref().map_or(0, |d| d.len());
        vec![
            printing::name(&object.metadata),
            count.to_string(),
            printing::creation_age(&object.metadata, now),
        ]
    }
}

/// Checks one key of `data` at field `field`.
pub(super) fn check_key(field: &str, key: &str, causes: &mut Vec<Cause>) {
    if let Some(why) = syntax::config_key(key) {
        causes.push(Cause::invalid(format!("{field}[{key}]"), key, &why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn config_map(value: Value) -> ConfigMap {
        serde_json::from_value(value).expect("a ConfigMap")
    }

    #[test]
    fn keys_and_size_are_checked() {
        let object = config_map(json!({
            "metadata": {"name": "c"},
            "data": {"a b": "", "twice": ""}, "binaryData": {"twice": ""},
        }));
        let fields: Vec<String> = ConfigMapRules::validate(&object)
            .into_iter()
            .map(|c| c.field)
            .collect();
        assert_eq!(fields, ["data[a b]", "data[twice]"]);
        let large = |n: usize| config_map(json!({"metadata": {}, "data": {"a": "x".repeat(n)}}));
        assert!(ConfigMapRules::validate(&large(MAX_DATA_BYTES)).is_empty());
        let causes = ConfigMapRules::validate(&large(MAX_DATA_BYTES + 1));
        assert_eq!(
            causes[0].message,
            "Too long: may not be more than 1048576 bytes"
        );
    }

    #[test]
    fn an_immutable_one_stays_as_it_is() {
        let old = config_map(json!({"metadata": {}, "immutable": true, "data": {"a": "1"}}));
        let new = config_map(json!({"metadata": {}, "data": {"a": "2"}}));
        let causes = ConfigMapRules::validate_update(&new, &old);
        let fields: Vec<&str> = causes.iter().map(|c| c.field.as_str()).collect();
        assert_eq!(fields, ["immutable", "data"]);
        assert!(ConfigMapRules::validate_update(&old, &new).is_empty());
        assert!(ConfigMapRules::validate_update(&old, &old).is_empty());
    }
}
