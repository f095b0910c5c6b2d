//! Namespaces, config maps, secrets and service accounts.

use super::document::{Document, items, text};
use base64::Engine;
use serde_json::Value;

/// A namespace.
pub fn namespace(doc: &mut Document, value: &Value) {
    doc.heading(value);
    doc.metadata(value);
    doc.field(0, "Status", text(&value["status"]["phase"]));
    let columns = [
        ("Type", "type"),
        ("Status", "status"),
        ("LastTransitionTime", "lastTransitionTime"),
        ("Reason", "reason"),
        ("Message", "message"),
    ];
    doc.conditions(&columns, &value["status"]["conditions"]);
}

/// A config map.
pub fn config_map(doc: &mut Document, value: &Value) {
    doc.heading(value);
    doc.metadata(value);
    doc.line(0, "");
    doc.line(0, "Data");
    doc.line(0, "====");
    for (key, entry) in value["data"].as_object().into_iter().flatten() {
        doc.line(0, format!("{key}:"));
        doc.line(0, "----");
        // A tab in an entry is its own, no column of ours.
        doc.line(0, text(entry).replace('\t', "    "));
        doc.line(0, "");
    }
    doc.line(0, "");
    doc.line(0, "BinaryData");
    doc.line(0, "====");
    for (key, entry) in value["binaryData"].as_object().into_iter().flatten() {
        doc.line(0, format!("{key}: {} bytes", size(entry)));
    }
    doc.line(0, "");
}

/// A secret: of its entries only the sizes.
pub fn secret(doc: &mut Document, value: &Value) {
    doc.heading(value);
    doc.metadata(value);
    doc.line(0, "");
    doc.field(0, "Type", text(&value["type"]));
    doc.line(0, "");
    doc.line(0, "Data");
    doc.line(0, "====");
    for (key, entry) in value["data"].as_object().into_iter().flatten() {
        doc.line(0, format!("{key}:\t{} bytes", size(entry)));
    }
}

fn size(entry: &Value) -> usize {
    base64::engine::general_purpose::STANDARD
        .decode(text(entry))
        .map_or(0, |b| b.len())
}

/// A service account.
pub fn service_account(doc: &mut Document, value: &Value) {
    doc.heading(value);
    doc.metadata(value);
    for (name, field) in [
        ("Image pull secrets", "imagePullSecrets"),
        ("Mountable secrets", "secrets"),
    ] {
        let names: Vec<String> = items(&value[field])
            .map(|s| text(&s["name"]).to_string())
            .collect();
        doc.lines(0, name, &names);
    }
}
