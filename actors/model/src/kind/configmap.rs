//! `v1` `ConfigMap` (Kubernetes, "ConfigMaps").

use super::rules::{Column, KindRules, Names};
use crate::status::Cause;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;

pub(super) struct ConfigMapRules;

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

    fn validate(_object: &ConfigMap) -> Vec<Cause> {
        Vec::new()
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[Column::new("NAME"), Column::new("DATA"), Column::new("AGE")];
        COLUMNS
    }

    fn row(object: &ConfigMap, _now: Timestamp) -> Vec<String> {
        let count = object.data.as_ref().map_or(0, |d| d.len())
            + object.binary_data.as_ref().map_or(0, |d| d.len());
        let name = object.metadata.name.clone().unwrap_or_default();
        vec![name, count.to_string(), String::new()]
    }
}
