//! Objects that were made for one answer: as they are, in a list, as a table.

use super::{Include, Negotiated, Transform};
use bytes::Bytes;
use kabuki_model::StatusError;
use serde_json::{Value, json};

/// Objects that were made for one answer.
pub struct Made {
    /// `metrics.k8s.io/v1beta1`
    pub api_version: String,
    /// `NodeMetrics`
    pub kind: &'static str,
    /// The columns of their table with their formats.
    pub columns: &'static [(&'static str, &'static str)],
    /// Whether one is asked for, and no list.
    pub one: bool,
    /// Objects without their type, each with its cells.
    pub rows: Vec<(Value, Vec<Value>)>,
}

impl Made {
    fn typed(&self, mut value: Value) -> Value {
        value["kind"] = self.kind.into();
        value["apiVersion"] = self.api_version.as_str().into();
        value
    }

    fn plain(self) -> Value {
        if self.one {
            let first = self.rows.first().map(|(object, _)| object.clone());
            return self.typed(first.unwrap_or_default());
        }
        let kind = format!("{}List", self.kind);
        let api_version = self.api_version;
        let items: Vec<Value> = self.rows.into_iter().map(|(object, _)| object).collect();
        json!({"kind": kind, "apiVersion": api_version, "metadata": {}, "items": items})
    }

    fn partial(self, version: &str) -> Value {
        let api_version = format!("meta.k8s.io/{version}");
        let metadata = |object: &Value| object["metadata"].clone();
        if self.one {
            let first = self.rows.first().map(|(object, _)| metadata(object));
            let kind = "PartialObjectMetadata";
            return json!({"kind": kind, "apiVersion": api_version, "metadata": first});
        }
        let items = self.rows.iter();
        let items: Vec<Value> = items
            .map(|(o, _)| json!({"metadata": metadata(o)}))
            .collect();
        let kind = "PartialObjectMetadataList";
        json!({"kind": kind, "apiVersion": api_version, "metadata": {}, "items": items})
    }

    fn table(self, version: &str, include: Include) -> Value {
        let columns = self.columns.iter().map(|(name, format)| {
            let description = match *format {
                "name" => "Name must be unique within a namespace.",
                _ => "",
            };
            json!({
                "name": name, "type": "string", "format": format, "description": description,
                "priority": 0,
            })
        });
        let columns: Vec<Value> = columns.collect();
        let rows = self.rows.iter().map(|(object, cells)| {
            let mut row = json!({"cells": cells});
            match include {
                Include::None => {}
                Include::Metadata => {
                    row["object"] = json!({
                        "kind": "PartialObjectMetadata",
                        "apiVersion": format!("meta.k8s.io/{version}"),
                        "metadata": object["metadata"],
                    });
                }
                Include::Object => row["object"] = self.typed(object.clone()),
            }
            row
        });
        let rows: Vec<Value> = rows.collect();
        json!({
            "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": {},
            "columnDefinitions": columns, "rows": rows,
        })
    }
}

impl Negotiated {
    /// Objects that were made for this answer.
    pub fn made(&self, made: Made) -> Result<Bytes, StatusError> {
        let value = match self.transform {
            Transform::None => made.plain(),
            Transform::Metadata(version) => made.partial(version),
            Transform::Table(version) => made.table(version, self.include),
        };
        self.value(&value)
    }
}
