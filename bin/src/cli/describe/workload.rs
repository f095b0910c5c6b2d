//! Deployments and replica sets.

use super::document::{Document, entries, items, plain, text, time};
use super::pod::template;
use serde_json::Value;

/// The annotation in which a replica set keeps its deployment's revision.
const REVISION: &str = "deployment.kubernetes.io/revision";

fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// A selector in one line.
fn selector(value: &Value) -> String {
    let mut parts: Vec<String> = entries(&value["matchLabels"])
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    for expression in items(&value["matchExpressions"]) {
        let key = text(&expression["key"]);
        let values: Vec<&str> = items(&expression["values"]).map(text).collect();
        parts.push(match text(&expression["operator"]) {
            "Exists" => key.to_string(),
            "DoesNotExist" => format!("!{key}"),
            operator => format!("{key} {} ({})", operator.to_lowercase(), values.join(",")),
        });
    }
    parts.join(",")
}

/// Everything of a deployment but its events.
pub fn deployment(doc: &mut Document, value: &Value, replica_sets: &[Value]) {
    let (spec, status) = (&value["spec"], &value["status"]);
    doc.heading(value);
    doc.field(
        0,
        "CreationTimestamp",
        time(&value["metadata"]["creationTimestamp"]),
    );
    doc.metadata(value);
    doc.field(0, "Selector", selector(&spec["selector"]));
    doc.field(
        0,
        "Replicas",
        format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            count(&spec["replicas"]),
            count(&status["updatedReplicas"]),
            count(&status["replicas"]),
            count(&status["availableReplicas"]),
            count(&status["unavailableReplicas"]),
        ),
    );
    doc.field(0, "StrategyType", text(&spec["strategy"]["type"]));
    doc.field(
        0,
        "MinReadySeconds",
        count(&spec["minReadySeconds"]).to_string(),
    );
    if let Some(rolling) = spec["strategy"].get("rollingUpdate") {
        let (unavailable, surge) = (
            plain(&rolling["maxUnavailable"]),
            plain(&rolling["maxSurge"]),
        );
        let text = format!("{unavailable} max unavailable, {surge} max surge");
        doc.field(0, "RollingUpdateStrategy", text);
    }
    template(doc, &spec["template"]);
    let columns = [("Type", "type"), ("Status", "status"), ("Reason", "reason")];
    doc.conditions(&columns, &status["conditions"]);
    let (old, new) = split(value, replica_sets);
    let shown = |sets: &[&Value]| {
        let sets: Vec<String> = sets
            .iter()
            .map(|set| {
                format!(
                    "{} ({}/{} replicas created)",
                    text(&set["metadata"]["name"]),
                    count(&set["status"]["replicas"]),
                    count(&set["spec"]["replicas"]),
                )
            })
            .collect();
        if sets.is_empty() {
            "<none>".to_string()
        } else {
            sets.join(", ")
        }
    };
    doc.field(0, "OldReplicaSets", shown(&old));
    doc.field(0, "NewReplicaSet", shown(&new));
}

/// The replica sets of former templates that still have pods, and the one of the present one:
/// the one with the deployment's revision.
fn split<'a>(value: &Value, sets: &'a [Value]) -> (Vec<&'a Value>, Vec<&'a Value>) {
    let revision = |value: &Value| text(&value["metadata"]["annotations"][REVISION]).to_string();
    let current = revision(value);
    let (new, old): (Vec<_>, Vec<_>) = sets.iter().partition(|s| revision(s) == current);
    let busy =
        |set: &&Value| count(&set["spec"]["replicas"]) > 0 || count(&set["status"]["replicas"]) > 0;
    (old.into_iter().filter(busy).collect(), new)
}

/// Everything of a replica set but its events.
pub fn replica_set(doc: &mut Document, value: &Value, pods: &[Value]) {
    let (spec, status) = (&value["spec"], &value["status"]);
    doc.heading(value);
    doc.field(0, "Selector", selector(&spec["selector"]));
    doc.metadata(value);
    let owners = &value["metadata"]["ownerReferences"];
    if let Some(owner) = items(owners).find(|o| o["controller"] == true) {
        let owner = format!("{}/{}", text(&owner["kind"]), text(&owner["name"]));
        doc.field(0, "Controlled By", owner);
    }
    let (current, desired) = (count(&status["replicas"]), count(&spec["replicas"]));
    doc.field(
        0,
        "Replicas",
        format!("{current} current / {desired} desired"),
    );
    let phase = |name: &str| pods.iter().filter(|p| p["status"]["phase"] == name).count();
    doc.field(
        0,
        "Pods Status",
        format!(
            "{} Running / {} Waiting / {} Succeeded / {} Failed",
            phase("Running"),
            phase("Pending"),
            phase("Succeeded"),
            phase("Failed"),
        ),
    );
    template(doc, &spec["template"]);
    let columns = [("Type", "type"), ("Status", "status"), ("Reason", "reason")];
    doc.conditions(&columns, &status["conditions"]);
}
