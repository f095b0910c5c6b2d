//! `Table`: the rows that `kubectl get` prints, from the columns of the kind's registry entry.

use super::{Include, json};
use crate::served::Served;
use jiff::Timestamp;
use kabuki_model::kind::Column;
use kabuki_model::{StatusError, Stored};
use serde_json::{Value, json};

/// Columns that hold whole numbers, by kind (empty: any).
const NUMBERS: &[(&str, &str)] = &[
    ("", "DESIRED"),
    ("", "CURRENT"),
    ("", "DATA"),
    ("", "SECRETS"),
    ("ReplicaSet", "READY"),
    ("DaemonSet", "READY"),
];

/// Words of headings that are not written like ordinary ones.
const WORDS: &[&str] = &["IP", "IPs", "UID", "OS", "CPU"];

/// The columns as the table defines them.
pub(super) fn columns(served: &Served) -> Value {
    let columns = served.kind.columns.iter();
    let defined = columns.map(|column| {
        let name = heading(column.name);
        json!({
            "name": name,
            "type": if is_number(served, column) { "integer" } else { "string" },
            "format": if column.name == "NAME" { "name" } else { "" },
            "description": description(served, column, &name),
            "priority": i32::from(column.wide),
        })
    });
    Value::Array(defined.collect())
}

fn is_number(served: &Served, column: &Column) -> bool {
    let kind = served.kind.names.kind;
    let fits = |(of, name): &(&str, &str)| column.name == *name && (of.is_empty() || *of == kind);
    NUMBERS.iter().any(fits)
}

/// `NOMINATED NODE` as `Nominated Node`; clients write it in capitals again.
fn heading(name: &str) -> String {
    let word = |word: &str| {
        let upper = word.to_uppercase();
        if let Some(known) = WORDS.iter().find(|w| w.to_uppercase() == upper) {
            return (*known).to_string();
        }
        let mut letters = word.chars();
        let first: String = letters.next().into_iter().collect();
        first + &letters.as_str().to_lowercase()
    };
    let dashed = |part: &str| {
        let words: Vec<String> = part.split('-').map(word).collect();
        words.join("-")
    };
    let parts: Vec<String> = name.split(' ').map(dashed).collect();
    match parts.join(" ").as_str() {
        "Up-To-Date" => "Up-to-date".to_string(),
        other => other.to_string(),
    }
}

fn description(served: &Served, column: &Column, name: &str) -> String {
    let kind = served.kind.names.kind;
    match column.name {
        "NAME" => "Name must be unique within a namespace.".to_string(),
        "AGE" => "How long ago the object was created.".to_string(),
        _ => format!("{name} of the {kind}."),
    }
}

/// Appends the row of an object.
pub(super) fn push_row(
    buffer: &mut Vec<u8>,
    served: &Served,
    object: &Stored,
    version: &str,
    include: Include,
    now: Timestamp,
) -> Result<(), StatusError> {
    let row = served
        .kind
        .row(object, now)
        .map_err(|e| StatusError::internal(format!("{e}: {}", e.source)))?;
    let cells = row.cells.into_iter().zip(served.kind.columns);
    let cells: Vec<Value> = cells
        .map(|(text, column)| match text.parse::<i64>() {
            Ok(number) if is_number(served, column) => number.into(),
            _ => text.into(),
        })
        .collect();
    buffer.extend_from_slice(b"{\"cells\":");
    buffer.extend_from_slice(Value::Array(cells).to_string().as_bytes());
    match include {
        Include::None => {}
        Include::Metadata => {
            buffer.extend_from_slice(b",\"object\":");
            json::push_partial(buffer, object, version, false);
        }
        Include::Object => {
            buffer.extend_from_slice(b",\"object\":");
            buffer.extend_from_slice(&served.shown(object)?.to_json());
        }
    }
    buffer.push(b'}');
    Ok(())
}

/// What precedes the rows. Only the first table of a watch names its columns.
pub(super) fn head(served: &Served, version: &str, meta: &Value, named: bool) -> Vec<u8> {
    let columns = match named {
        true => columns(served),
        false => Value::Null,
    };
    let head = format!(
        "{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":{meta},\
         \"columnDefinitions\":{columns},\"rows\":["
    );
    head.into_bytes()
}

/// A table of one object.
pub(super) fn one(
    served: &Served,
    object: &Stored,
    version: &str,
    include: Include,
    named: bool,
) -> Result<Vec<u8>, StatusError> {
    let meta = json!({"resourceVersion": object.revision.to_string()});
    let mut table = head(served, version, &meta, named);
    push_row(
        &mut table,
        served,
        object,
        version,
        include,
        Timestamp::now(),
    )?;
    table.extend_from_slice(b"]}");
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_written_as_kubernetes_writes_them() {
        for (name, shown) in [
            ("NAME", "Name"),
            ("NOMINATED NODE", "Nominated Node"),
            ("UP-TO-DATE", "Up-to-date"),
            ("CLUSTER-IP", "Cluster-IP"),
            ("IP", "IP"),
            ("PORT(S)", "Port(s)"),
            ("OS-IMAGE", "OS-Image"),
        ] {
            assert_eq!(heading(name), shown);
        }
    }

    #[test]
    fn every_kind_has_a_column_for_names() {
        for served in crate::served::all() {
            let columns = columns(served);
            let named = columns.as_array().expect("a list").iter();
            let names = named.filter(|c| c["format"] == "name").count();
            let events = served.kind.names.kind == "Event";
            assert!(names == 1 || events, "{:?}", served.kind);
        }
    }
}
