//! Eviction (Kubernetes, "API-initiated Eviction"): a deletion that may be refused as long as
//! something needs the pod where it is. There are no disruption budgets yet, so nothing does.

use super::delete;
use super::parts::no_subresource;
use crate::admit::{Context, Verdict};
use crate::draft;
use kabuki_model::request::DeleteOptions;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, StatusError};
use serde_json::{Value, json};

pub(crate) fn evict(
    view: &dyn View,
    key: &ObjectKey,
    options: &DeleteOptions,
    cx: &Context,
) -> Result<Verdict, StatusError> {
    let kind = draft::kind_of(&key.resource)?;
    if key.resource != Resource::PODS {
        return Err(no_subresource(kind, "eviction"));
    }
    let current = view.get(key).ok_or_else(|| StatusError::not_found(key))?;
    delete::check_preconditions(current, options)?;
    let internal = |why: String| StatusError::internal(format!("stored {key}: {why}"));
    let mut pod = current
        .to_plain_value()
        .map_err(|e| internal(format!("{e}: {}", e.source)))?;
    if is_disrupted_by_it(&pod) {
        say_why(&mut pod, cx);
    }
    let decoded = kind
        .decode(pod)
        .map_err(|cause| internal(format!("{}: {}", cause.field, cause.message)))?;
    delete::remove(current, decoded.object, options, cx)
}

/// Pods that have not begun, have ended or are leaving lose nothing by their eviction.
fn is_disrupted_by_it(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    let leaving = !pod["metadata"]["deletionTimestamp"].is_null();
    !leaving && !matches!(phase, "Pending" | "Succeeded" | "Failed")
}

/// Sets the condition by which controllers tell an eviction from a failure.
fn say_why(pod: &mut Value, cx: &Context) {
    if !pod["status"].is_object() {
        pod["status"] = json!({});
    }
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
        "lastTransitionTime": super::create::whole_second(cx).to_string(),
    });
    match pod["status"]["conditions"].as_array_mut() {
        Some(conditions) => {
            conditions.retain(|c| c["type"] != "DisruptionTarget");
            conditions.push(condition);
        }
        None => pod["status"]["conditions"] = json!([condition]),
    }
}
