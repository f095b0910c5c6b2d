//! The volumes of a pod or of a pod template.

use super::document::{Document, items, plain, text};
use serde_json::Value;

/// A list of volumes.
pub fn list(doc: &mut Document, volumes: &Value, level: usize) {
    if items(volumes).next().is_none() {
        return doc.field(level, "Volumes", "<none>");
    }
    doc.line(level, "Volumes:");
    for volume in items(volumes) {
        match level {
            0 => doc.line(1, format!("{}:", text(&volume["name"]))),
            _ => doc.line(level, format!(" {}:", text(&volume["name"]))),
        }
        source(doc, volume);
    }
}

/// The fields of a volume stand this deep.
const LEVEL: usize = 2;

fn source(doc: &mut Document, volume: &Value) {
    let optional = |value: &Value| (value["optional"] == true).to_string();
    if let Some(dir) = volume.get("emptyDir") {
        let what = "EmptyDir (a temporary directory that shares a pod's lifetime)";
        doc.field(LEVEL, "Type", what);
        doc.field(LEVEL, "Medium", text(&dir["medium"]));
        let limit = match &dir["sizeLimit"] {
            Value::Null => "<unset>".to_string(),
            limit => plain(limit),
        };
        doc.field(LEVEL, "SizeLimit", limit);
    } else if let Some(host) = volume.get("hostPath") {
        doc.field(LEVEL, "Type", "HostPath (bare host directory volume)");
        doc.field(LEVEL, "Path", text(&host["path"]));
        doc.field(LEVEL, "HostPathType", text(&host["type"]));
    } else if let Some(map) = volume.get("configMap") {
        doc.field(
            LEVEL,
            "Type",
            "ConfigMap (a volume populated by a ConfigMap)",
        );
        doc.field(LEVEL, "Name", text(&map["name"]));
        doc.field(LEVEL, "Optional", optional(map));
    } else if let Some(secret) = volume.get("secret") {
        doc.field(LEVEL, "Type", "Secret (a volume populated by a Secret)");
        doc.field(LEVEL, "SecretName", text(&secret["secretName"]));
        doc.field(LEVEL, "Optional", optional(secret));
    } else if let Some(about) = volume.get("downwardAPI") {
        let what = "DownwardAPI (a volume populated by information about the pod)";
        doc.field(LEVEL, "Type", what);
        doc.line(LEVEL, "Items:");
        for item in items(&about["items"]) {
            let field = match item.get("fieldRef") {
                Some(field) => &field["fieldPath"],
                None => &item["resourceFieldRef"]["resource"],
            };
            let shown = format!("{} -> {}", text(field), text(&item["path"]));
            doc.line(LEVEL + 1, shown);
        }
    } else if let Some(projected) = volume.get("projected") {
        let what = "Projected (a volume that contains injected data from multiple sources)";
        doc.field(LEVEL, "Type", what);
        items(&projected["sources"]).for_each(|source| part(doc, source));
    } else {
        let kind = volume
            .as_object()
            .and_then(|v| v.keys().find(|k| *k != "name"));
        doc.field(LEVEL, "Type", kind.map_or("<unknown>", |k| k.as_str()));
    }
}

/// One source of a projected volume.
fn part(doc: &mut Document, source: &Value) {
    let optional = |value: &Value| (value["optional"] == true).to_string();
    if let Some(token) = source.get("serviceAccountToken") {
        let seconds = plain(&token["expirationSeconds"]);
        doc.field(LEVEL, "TokenExpirationSeconds", seconds);
    } else if let Some(map) = source.get("configMap") {
        doc.field(LEVEL, "ConfigMapName", text(&map["name"]));
        doc.field(LEVEL, "Optional", optional(map));
    } else if let Some(secret) = source.get("secret") {
        doc.field(LEVEL, "SecretName", text(&secret["name"]));
        doc.field(LEVEL, "Optional", optional(secret));
    } else if source.get("downwardAPI").is_some() {
        doc.field(LEVEL, "DownwardAPI", "true");
    }
}
