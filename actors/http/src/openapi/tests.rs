use super::definitions::{DELETE_OPTIONS, PATCH};
use super::document::{Dialect, document};
use crate::discovery::group_versions;
use crate::served;
use serde_json::Value;

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|i| references(i, found)),
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get("$ref") {
                found.push(target.clone());
            }
            fields.values().for_each(|v| references(v, found));
        }
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let mut documents = vec![document(Dialect::V2, "", "")];
    for (group, version) in group_versions() {
        documents.push(document(Dialect::V3, group, version));
    }
    for document in documents {
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for target in found {
            let pointer = target.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
        assert!(!document.to_string().contains("$defs"));
    }
}

#[test]
fn every_kind_is_found_by_its_group_version_and_kind_and_can_be_patched() {
    for served in served::all() {
        let document = document(Dialect::V3, served.group, served.version);
        let schemas = document["components"]["schemas"].as_object();
        let schemas = schemas.expect("schemas");
        let names = &served.kind.names;
        let marked = schemas.values().filter(|schema| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array();
            kinds.into_iter().flatten().any(|k| {
                k["kind"] == names.kind
                    && k["group"] == served.group
                    && k["version"] == served.version
            })
        });
        assert_eq!(marked.count(), 1, "{}", names.kind);
        let patch = document["paths"].as_object().expect("paths").values();
        let patch = patch.filter_map(|path| path.get("patch"));
        let about = patch.filter(|p| {
            p["x-kubernetes-group-version-kind"]["kind"] == names.kind
                && p["x-kubernetes-group-version-kind"]["group"] == served.group
        });
        let parameters = about.map(|p| p["parameters"].to_string());
        let parameters: Vec<String> = parameters.collect();
        assert!(!parameters.is_empty(), "{}", names.kind);
        for known in parameters {
            assert!(known.contains("fieldValidation") && known.contains("dryRun"));
        }
    }
}

#[test]
fn lists_say_how_they_are_merged() {
    let document = document(Dialect::V3, "apps", "v1");
    let schema = |name: &str| &document["components"]["schemas"][name]["properties"];
    let ports = &schema("io.k8s.api.core.v1.Container")["ports"];
    assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
    assert_eq!(ports["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(
        ports["x-kubernetes-list-map-keys"].to_string(),
        "[\"containerPort\",\"protocol\"]"
    );
    let volumes = &schema("io.k8s.api.core.v1.PodSpec")["volumes"];
    assert_eq!(volumes["x-kubernetes-patch-strategy"], "merge,retainKeys");
    let finalizers = &schema("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")["finalizers"];
    assert_eq!(finalizers["x-kubernetes-list-type"], "set");
    let template = &schema("io.k8s.api.apps.v1.DeploymentSpec")["template"];
    assert_eq!(
        template["allOf"][0]["$ref"],
        "#/components/schemas/io.k8s.api.core.v1.PodTemplateSpec"
    );
    for name in [DELETE_OPTIONS, PATCH] {
        assert!(document["components"]["schemas"].get(name).is_some());
    }
}
