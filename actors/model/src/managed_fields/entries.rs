//! `metadata.managedFields`: who owns which fields, as it is written.

use super::set::FieldSet;
use serde::{Deserialize, Serialize};

/// What a manager did to own its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Operation {
    /// It applied a configuration.
    Apply,
    /// It wrote them in any other way.
    Update,
}

/// One manager's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub manager: String,
    /// What it did.
    pub operation: Operation,
    /// The version of the API in which it wrote.
    pub api_version: String,
    /// When the set last changed, in RFC 3339.
    pub time: Option<String>,
    /// The part of the object that it wrote to; empty for the object itself.
    pub subresource: String,
    /// Its fields.
    pub fields: FieldSet,
}

/// The form in which an entry is written.
#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    #[serde(skip_serializing_if = "String::is_empty")]
    api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    fields_type: String,
    #[serde(rename = "fieldsV1", skip_serializing_if = "Option::is_none")]
    fields_v1: Option<FieldSet>,
    #[serde(skip_serializing_if = "String::is_empty")]
    manager: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<Operation>,
    #[serde(skip_serializing_if = "String::is_empty")]
    subresource: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
}

impl Entry {
    /// Whether both are one manager's, done in the same way (an applier may change versions).
    pub(super) fn same_manager(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// As conflicts name it.
    pub(super) fn shown(&self) -> String {
        let mut shown = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            shown.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            shown.push_str(&format!(" using {}", self.api_version));
            if let Some(time) = &self.time {
                shown.push_str(&format!(" at {time}"));
            }
        }
        shown
    }
}

/// Reads entries.
///
/// # Errors
/// What cannot be understood.
pub fn decode(json: &[u8]) -> Result<Vec<Entry>, String> {
    let written: Vec<Written> = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    written.into_iter().map(entry).collect()
}

fn entry(written: Written) -> Result<Entry, String> {
    if !matches!(&*written.fields_type, "" | "FieldsV1") {
        return Err(format!(
            "the type of fields {:?} is not FieldsV1",
            written.fields_type
        ));
    }
    Ok(Entry {
        manager: written.manager,
        operation: written.operation.ok_or("an entry has no operation")?,
        api_version: written.api_version,
        time: written.time,
        subresource: written.subresource,
        fields: written.fields_v1.unwrap_or_default(),
    })
}

/// Writes entries in the order that Kubernetes has them; nothing when there are none.
pub fn encode(mut entries: Vec<Entry>) -> Option<Vec<u8>> {
    entries.retain(|e| !e.fields.is_empty());
    if entries.is_empty() {
        return None;
    }
    // Times are written alike, so their text has their order.
    entries.sort_by(|a, b| {
        let key = |e: &Entry| {
            (
                e.operation,
                e.time.clone().unwrap_or_default(),
                e.manager.clone(),
                e.api_version.clone(),
                e.subresource.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    let written: Vec<Written> = entries
        .into_iter()
        .map(|e| Written {
            api_version: e.api_version,
            fields_type: "FieldsV1".to_string(),
            fields_v1: Some(e.fields),
            manager: e.manager,
            operation: Some(e.operation),
            subresource: e.subresource,
            time: e.time,
        })
        .collect();
    serde_json::to_vec(&written).ok()
}
