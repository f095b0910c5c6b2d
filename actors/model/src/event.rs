//! Recording events (API reference, "Event v1 core"), as a pure function of what happened and
//! when: the same thing again is counted on the event that there is, much of the same becomes
//! one combined event, and a source that says too much of one object is not heard for a while.
//!
//! Controllers, the scheduler and the agent each hold one [`Correlator`] and send the requests
//! that it makes. Losing its state costs nothing but some duplicate events.

mod correlator;

pub use correlator::Correlator;

use crate::object::{ObjectKey, Resource};
use crate::request::{PatchType, Request, WriteOptions};
use bytes::Bytes;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

/// Whether an event is bad news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// It is not.
    Normal,
    /// It is.
    Warning,
}

impl EventType {
    /// The word in the event's `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Something that happened to an object.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    /// The object.
    pub regarding: ObjectReference,
    /// Whether it is bad news.
    pub event_type: EventType,
    /// Why it happened, in one word: `Scheduled`, `BackOff`.
    pub reason: String,
    /// What happened, for people.
    pub message: String,
    /// Who says so: `kubelet`, `default-scheduler`, `deployment-controller`.
    pub component: String,
    /// The node that it happened on; empty when on none.
    pub node: String,
}

impl EventRecord {
    /// The namespace of the event: its object's, or `default` for objects without one.
    pub fn namespace(&self) -> &str {
        match self.regarding.namespace.as_deref() {
            None | Some("") => "default",
            Some(namespace) => namespace,
        }
    }
}

/// The event that stands for one or more equal occurrences.
#[derive(Debug, Clone, PartialEq)]
struct Observed {
    name: String,
    count: i32,
    first: Timestamp,
}

fn text(time: Timestamp) -> String {
    // Kubernetes' times have whole seconds.
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `<object>.<hexadecimal time>`: unique as long as one source does not record two events of one
/// object in the same nanosecond, which `entropy` settles for sources that might.
fn event_name(record: &EventRecord, now: Timestamp, entropy: u64) -> String {
    let object = record.regarding.name.as_deref().unwrap_or_default();
    let nanos = now.as_nanosecond() as u64 ^ entropy;
    // 253 bytes for the whole name, 17 of them behind the object's.
    let kept: String = object.chars().take(236).collect();
    format!("{kept}.{nanos:016x}")
}

fn create(
    record: &EventRecord,
    message: &str,
    observed: &Observed,
    now: Timestamp,
    field_manager: &str,
) -> Request {
    let mut source = json!({"component": record.component});
    if !record.node.is_empty() {
        source["host"] = record.node.clone().into();
    }
    let event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": observed.name, "namespace": record.namespace()},
        "involvedObject": record.regarding,
        "type": record.event_type.as_str(),
        "reason": record.reason,
        "message": message,
        "source": source,
        "reportingComponent": record.component,
        "reportingInstance": record.node,
        "count": observed.count,
        "firstTimestamp": text(observed.first),
        "lastTimestamp": text(now),
    });
    Request::Create {
        resource: Resource::EVENTS,
        namespace: record.namespace().into(),
        object: Bytes::from(event.to_string()),
        options: written_by(field_manager),
    }
}

fn update(
    record: &EventRecord,
    message: &str,
    observed: &Observed,
    now: Timestamp,
    field_manager: &str,
) -> Request {
    let patch = json!({
        "count": observed.count, "lastTimestamp": text(now), "message": message,
    });
    Request::Patch {
        key: ObjectKey::new(Resource::EVENTS, record.namespace(), &observed.name),
        subresource: None,
        patch_type: PatchType::Merge,
        patch: Bytes::from(patch.to_string()),
        options: written_by(field_manager),
    }
}

fn written_by(field_manager: &str) -> WriteOptions {
    WriteOptions {
        field_manager: field_manager.to_string(),
        ..WriteOptions::default()
    }
}
