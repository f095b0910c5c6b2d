//! Pods.

use super::container;
use super::document::{Document, entries, items, plain, text, time};
use super::volume;
use jiff::Timestamp;
use kabuki_model::printing::human_duration;
use serde_json::Value;

/// Everything of a pod but its events.
pub fn describe(doc: &mut Document, pod: &Value, now: Timestamp) {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    doc.heading(pod);
    doc.field(0, "Priority", plain_or(&spec["priority"], "0"));
    if !text(&spec["priorityClassName"]).is_empty() {
        doc.field(0, "Priority Class Name", text(&spec["priorityClassName"]));
    }
    if !text(&spec["serviceAccountName"]).is_empty() {
        doc.field(0, "Service Account", text(&spec["serviceAccountName"]));
    }
    match text(&spec["nodeName"]) {
        "" => doc.field(0, "Node", "<none>"),
        node => doc.field(0, "Node", format!("{node}/{}", text(&status["hostIP"]))),
    }
    if !status["startTime"].is_null() {
        doc.field(0, "Start Time", time(&status["startTime"]));
    }
    doc.metadata(pod);
    state(doc, pod, now);
    addresses(doc, status);
    if let Some(owner) =
        items(&pod["metadata"]["ownerReferences"]).find(|o| o["controller"] == true)
    {
        doc.field(
            0,
            "Controlled By",
            format!("{}/{}", text(&owner["kind"]), text(&owner["name"])),
        );
    }
    if !text(&status["nominatedNodeName"]).is_empty() {
        doc.field(0, "NominatedNodeName", text(&status["nominatedNodeName"]));
    }
    container::list(
        doc,
        "Init Containers",
        &spec["initContainers"],
        &status["initContainerStatuses"],
        0,
    );
    container::list(
        doc,
        "Containers",
        &spec["containers"],
        &status["containerStatuses"],
        0,
    );
    container::list(
        doc,
        "Ephemeral Containers",
        &spec["ephemeralContainers"],
        &status["ephemeralContainerStatuses"],
        0,
    );
    readiness_gates(doc, spec, status);
    doc.conditions(
        &[("Type", "type"), ("Status", "status")],
        &status["conditions"],
    );
    volume::list(doc, &spec["volumes"], 0);
    doc.field(0, "QoS Class", text(&status["qosClass"]));
    doc.labels(0, "Node-Selectors", &spec["nodeSelector"]);
    doc.lines(0, "Tolerations", &tolerations(&spec["tolerations"]));
}

fn readiness_gates(doc: &mut Document, spec: &Value, status: &Value) {
    if items(&spec["readinessGates"]).next().is_none() {
        return;
    }
    doc.line(0, "Readiness Gates:");
    doc.line(1, "Type\tStatus");
    for gate in items(&spec["readinessGates"]) {
        let type_ = &gate["conditionType"];
        let held = items(&status["conditions"]).find(|c| c["type"] == *type_);
        let status = held.map_or("<none>", |c| text(&c["status"]));
        doc.line(1, format!("{}\t{status}", text(type_)));
    }
}

fn state(doc: &mut Document, pod: &Value, now: Timestamp) {
    let (metadata, status) = (&pod["metadata"], &pod["status"]);
    match text(&metadata["deletionTimestamp"]).parse::<Timestamp>() {
        Ok(at) => {
            let ago = human_duration(now.duration_since(at).as_secs().max(0));
            doc.field(0, "Status", format!("Terminating (lasts {ago})"));
            let grace = plain_or(&metadata["deletionGracePeriodSeconds"], "0");
            doc.field(0, "Termination Grace Period", format!("{grace}s"));
        }
        Err(_) => doc.field(0, "Status", text(&status["phase"])),
    }
    for (name, field) in [("Reason", "reason"), ("Message", "message")] {
        if !text(&status[field]).is_empty() {
            doc.field(0, name, text(&status[field]));
        }
    }
}

fn addresses(doc: &mut Document, status: &Value) {
    doc.field(0, "IP", text(&status["podIP"]));
    let ips: Vec<&str> = items(&status["podIPs"]).map(|ip| text(&ip["ip"])).collect();
    match ips.is_empty() {
        true => doc.field(0, "IPs", "<none>"),
        false => {
            doc.line(0, "IPs:");
            for ip in ips {
                doc.field(1, "IP", ip);
            }
        }
    }
}

/// Tolerations, one a line: `key=value:Effect op=Exists for 300s`.
pub fn tolerations(list: &Value) -> Vec<String> {
    let mut lines: Vec<String> = items(list)
        .map(|t| {
            let mut line = text(&t["key"]).to_string();
            if !text(&t["value"]).is_empty() {
                line.push_str(&format!("={}", text(&t["value"])));
            }
            if !text(&t["effect"]).is_empty() {
                line.push_str(&format!(":{}", text(&t["effect"])));
            }
            if t["operator"] == "Exists" {
                let gap = if line.is_empty() { "" } else { " " };
                line.push_str(&format!("{gap}op=Exists"));
            }
            if !t["tolerationSeconds"].is_null() {
                line.push_str(&format!(" for {}s", plain(&t["tolerationSeconds"])));
            }
            line
        })
        .collect();
    lines.sort();
    lines
}

/// A pod template, as workloads have it.
pub fn template(doc: &mut Document, template: &Value) {
    doc.line(0, "Pod Template:");
    doc.labels(1, "Labels", &template["metadata"]["labels"]);
    if entries(&template["metadata"]["annotations"])
        .next()
        .is_some()
    {
        doc.annotations(1, &template["metadata"]["annotations"]);
    }
    let spec = &template["spec"];
    if !text(&spec["serviceAccountName"]).is_empty() {
        doc.field(1, "Service Account", text(&spec["serviceAccountName"]));
    }
    container::list(
        doc,
        "Init Containers",
        &spec["initContainers"],
        &Value::Null,
        1,
    );
    container::list(doc, "Containers", &spec["containers"], &Value::Null, 1);
    volume::list(doc, &spec["volumes"], 1);
    doc.labels(1, "Node-Selectors", &spec["nodeSelector"]);
    doc.lines(1, "Tolerations", &tolerations(&spec["tolerations"]));
}

fn plain_or(value: &Value, otherwise: &str) -> String {
    match value.is_null() {
        true => otherwise.to_string(),
        false => plain(value),
    }
}
