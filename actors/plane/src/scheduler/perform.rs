//! What the scheduler's decisions come to as requests and events.

use super::message::Placement;
use crate::events::EventSink;
use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use kabuki_model::StatusError;
use kabuki_model::event::{EventRecord, EventType};
use kabuki_model::reference::object_reference;
use kabuki_model::request::{Binding, Content, PatchType, Request, Subresource, WriteOptions};
use kabuki_protocol::ApiHandle;
use kabuki_schedule::{Failure, Pending};
use serde_json::json;
use std::sync::Arc;

/// How many complaints are written at once.
const COMPLAINTS_AT_ONCE: usize = 64;

/// Binds a batch with one request. Tells of each pod why it was not bound, if it was not.
pub(super) async fn bind(
    api: &ApiHandle,
    events: &EventSink,
    placements: Vec<Placement>,
) -> Vec<(Placement, Option<StatusError>)> {
    let bindings = placements.iter().map(|(pod, node)| Binding {
        pod: pod.key.clone(),
        uid: pod.uid.clone(),
        node: node.clone(),
    });
    let refusals = match api.request(Request::Bind(bindings.collect())).await {
        Ok(answer) => match answer.content {
            Content::Bindings(refusals) if refusals.len() == placements.len() => refusals,
            _ => {
                let error = StatusError::internal("bindings were answered with something else");
                vec![Some(error); placements.len()]
            }
        },
        Err(error) => vec![Some(error); placements.len()],
    };
    for ((pod, node), refusal) in placements.iter().zip(&refusals) {
        if refusal.is_none() {
            let (namespace, name) = (&pod.key.namespace, &pod.key.name);
            let message = format!("Successfully assigned {namespace}/{name} to {node}");
            events.record(record(pod, EventType::Normal, "Scheduled", message));
        }
    }
    placements.into_iter().zip(refusals).collect()
}

/// Says of each pod why no node takes it. One that cannot be written is written when the pod
/// fails the next time.
pub(super) async fn complain(
    api: ApiHandle,
    events: EventSink,
    failed: Vec<(Arc<Pending>, Arc<Failure>)>,
) {
    let each = failed.into_iter().map(|(pod, failure)| {
        let (api, events) = (&api, &events);
        async move {
            let message = failure.message.clone();
            events.record(record(
                &pod,
                EventType::Warning,
                "FailedScheduling",
                message,
            ));
            if let Err(error) = api.request(condition(&pod, &failure)).await {
                tracing::debug!(pod = %pod.key, error = %error, "a condition was not written");
            }
        }
    });
    stream::iter(each)
        .buffer_unordered(COMPLAINTS_AT_ONCE)
        .collect::<Vec<()>>()
        .await;
}

fn condition(pod: &Pending, failure: &Failure) -> Request {
    let mut condition = json!({
        "type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": failure.message,
    });
    // The transition is the first failure; others only say something else of it.
    if pod.complaint.is_none() {
        let seconds = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        condition["lastTransitionTime"] = seconds.to_string().into();
    }
    let patch = json!({
        "metadata": { "uid": &*pod.uid },
        "status": { "conditions": [condition] },
    });
    Request::Patch {
        key: pod.key.clone(),
        subresource: Some(Subresource::Status),
        patch_type: PatchType::Strategic,
        patch: patch.to_string().into(),
        options: WriteOptions {
            field_manager: "kabuki-scheduler".to_string(),
            ..WriteOptions::default()
        },
    }
}

fn record(pod: &Pending, event_type: EventType, reason: &str, message: String) -> EventRecord {
    EventRecord {
        regarding: object_reference(&pod.stored),
        event_type,
        reason: reason.to_string(),
        message,
        // The sink knows who reports.
        component: String::new(),
        node: String::new(),
    }
}
