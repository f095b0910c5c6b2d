//! What happened to an object lately.

use super::document::{Document, text};
use crate::cli::failure::Outcome;
use crate::cli::resolver::{self, Found};
use crate::cli::session::Session;
use jiff::Timestamp;
use kabuki_model::object::{Resource, Stored};
use kabuki_model::printing::{UNKNOWN, age};
use kabuki_model::request::ListRequest;
use serde_json::Value;
use std::sync::Arc;

/// The events of an object, oldest first.
pub async fn of(session: &Session, found: &Found) -> Outcome<Vec<Arc<Stored>>> {
    let key = found.key();
    let namespace = Some(&*key.namespace).filter(|n| !n.is_empty());
    let mut request = ListRequest::all(Resource::EVENTS, namespace);
    let mut fields = vec![
        format!("involvedObject.name={}", key.name),
        format!("involvedObject.kind={}", found.kind.names.kind),
    ];
    // A node's events name it by name, not by uid.
    if namespace.is_some() {
        fields.push(format!("involvedObject.uid={}", found.object.uid));
    }
    request.fields = fields.join(",");
    let (_, mut events) = resolver::list(session, request).await?;
    sort(&mut events)?;
    Ok(events)
}

/// Sorts events by when they were last seen. Of one second (times are no finer), being scheduled
/// comes first, as nothing else can, and the others come as they were stored.
pub fn sort(events: &mut [Arc<Stored>]) -> Outcome {
    let mut failed = Ok(());
    events.sort_by_cached_key(|event| match event.to_value() {
        Ok(value) => Some((
            last_seen(&value),
            value["reason"] != "Scheduled",
            event.revision,
        )),
        Err(error) => {
            failed = Err(error.into());
            None
        }
    });
    failed
}

/// When an event was last seen.
pub fn last_seen(event: &Value) -> Option<Timestamp> {
    [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["firstTimestamp"],
    ]
    .into_iter()
    .find_map(|time| text(time).parse().ok())
}

/// The table of events.
pub fn table(doc: &mut Document, events: &[Arc<Stored>], now: Timestamp) {
    let values: Vec<Value> = events.iter().filter_map(|e| e.to_value().ok()).collect();
    if values.is_empty() {
        return doc.field(0, "Events", "<none>");
    }
    doc.line(0, "Events:");
    doc.line(1, "Type\tReason\tAge\tFrom\tMessage");
    doc.line(1, "----\t------\t----\t----\t-------");
    for event in &values {
        let from = match text(&event["source"]["component"]) {
            "" => text(&event["reportingComponent"]),
            component => component,
        };
        let cells = [
            text(&event["type"]).to_string(),
            text(&event["reason"]).to_string(),
            seen(event, now),
            from.to_string(),
            text(&event["message"]).trim().replace('\n', " "),
        ];
        doc.line(1, cells.join("\t"));
    }
}

/// `5s`, `5s (x3 over 2m)`
pub fn seen(event: &Value, now: Timestamp) -> String {
    let since = |at: Option<Timestamp>| at.map_or_else(|| UNKNOWN.to_string(), |at| age(at, now));
    let last = since(last_seen(event));
    let count = event["series"]["count"]
        .as_i64()
        .or(event["count"].as_i64())
        .unwrap_or(1);
    if count <= 1 {
        return last;
    }
    let first = text(&event["firstTimestamp"]).parse().ok();
    let first = first.or_else(|| text(&event["eventTime"]).parse().ok());
    format!("{last} (x{count} over {})", since(first))
}
