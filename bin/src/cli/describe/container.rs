//! The containers of a pod or of a pod template.

mod action;

use super::document::{Document, entries, items, plain, text, time};
use kabuki_model::printing::NONE;
use serde_json::Value;

/// A list of containers with their statuses. A template's stand deeper and have no status.
pub fn list(doc: &mut Document, heading: &str, containers: &Value, statuses: &Value, level: usize) {
    if items(containers).next().is_none() {
        return;
    }
    doc.line(level, format!("{heading}:"));
    for container in items(containers) {
        let name = text(&container["name"]);
        let status = items(statuses).find(|s| s["name"] == name);
        match level {
            0 => doc.line(1, format!("{name}:")),
            // One space more than the heading, so that the fields line up with a pod's.
            _ => doc.line(level, format!(" {name}:")),
        }
        basics(doc, container, status);
        if let Some(status) = status {
            states(doc, status);
        }
        resources(doc, &container["resources"]);
        action::all(doc, LEVEL, container);
        environment(doc, container);
        mounts(doc, &container["volumeMounts"]);
    }
}

/// The fields of a container stand this deep.
const LEVEL: usize = 2;

fn basics(doc: &mut Document, container: &Value, status: Option<&Value>) {
    if let Some(status) = status {
        doc.field(LEVEL, "Container ID", text(&status["containerID"]));
    }
    doc.field(LEVEL, "Image", text(&container["image"]));
    if let Some(status) = status {
        doc.field(LEVEL, "Image ID", text(&status["imageID"]));
    }
    let ports: Vec<&Value> = items(&container["ports"]).collect();
    let shown = |field: &str| {
        let ports: Vec<String> = ports
            .iter()
            .map(|p| {
                let number = p[field].as_u64().unwrap_or(0);
                format!("{number}/{}", p["protocol"].as_str().unwrap_or("TCP"))
            })
            .collect();
        if ports.is_empty() {
            NONE.to_string()
        } else {
            ports.join(", ")
        }
    };
    let s = if ports.len() > 1 { "s" } else { "" };
    doc.field(LEVEL, &format!("Port{s}"), shown("containerPort"));
    doc.field(LEVEL, &format!("Host Port{s}"), shown("hostPort"));
    for (name, field) in [("Command", "command"), ("Args", "args")] {
        if items(&container[field]).next().is_none() {
            continue;
        }
        doc.line(LEVEL, format!("{name}:"));
        for line in items(&container[field]).flat_map(|word| text(word).lines()) {
            doc.line(LEVEL + 1, line);
        }
    }
}

fn states(doc: &mut Document, status: &Value) {
    state(doc, "State", &status["state"]);
    if entries(&status["lastState"]).next().is_some() {
        state(doc, "Last State", &status["lastState"]);
    }
    let ready = if status["ready"] == true {
        "True"
    } else {
        "False"
    };
    doc.field(LEVEL, "Ready", ready);
    doc.field(
        LEVEL,
        "Restart Count",
        status["restartCount"].as_u64().unwrap_or(0).to_string(),
    );
}

fn state(doc: &mut Document, name: &str, state: &Value) {
    let optional = |doc: &mut Document, name: &str, value: &Value| {
        if !text(value).is_empty() {
            doc.field(LEVEL + 1, name, text(value));
        }
    };
    if let Some(running) = state.get("running").filter(|s| !s.is_null()) {
        doc.field(LEVEL, name, "Running");
        doc.field(LEVEL + 1, "Started", time(&running["startedAt"]));
    } else if let Some(ended) = state.get("terminated").filter(|s| !s.is_null()) {
        doc.field(LEVEL, name, "Terminated");
        optional(doc, "Reason", &ended["reason"]);
        optional(doc, "Message", &ended["message"]);
        doc.field(LEVEL + 1, "Exit Code", plain(&ended["exitCode"]));
        if ended["signal"].as_i64().is_some_and(|s| s > 0) {
            doc.field(LEVEL + 1, "Signal", plain(&ended["signal"]));
        }
        // One whose program was not found never began.
        if !ended["startedAt"].is_null() {
            doc.field(LEVEL + 1, "Started", time(&ended["startedAt"]));
        }
        doc.field(LEVEL + 1, "Finished", time(&ended["finishedAt"]));
    } else {
        doc.field(LEVEL, name, "Waiting");
        optional(doc, "Reason", &state["waiting"]["reason"]);
        optional(doc, "Message", &state["waiting"]["message"]);
    }
}

fn resources(doc: &mut Document, resources: &Value) {
    for (name, field) in [("Limits", "limits"), ("Requests", "requests")] {
        if entries(&resources[field]).next().is_some() {
            doc.line(LEVEL, format!("{name}:"));
            for (resource, amount) in entries(&resources[field]) {
                doc.field(LEVEL + 1, resource, amount);
            }
        }
    }
}

fn environment(doc: &mut Document, container: &Value) {
    if items(&container["envFrom"]).next().is_some() {
        doc.line(LEVEL, "Environment Variables from:");
        for source in items(&container["envFrom"]) {
            let (kind, from) = match source.get("secretRef") {
                Some(from) => ("Secret", from),
                None => ("ConfigMap", &source["configMapRef"]),
            };
            let prefix = match text(&source["prefix"]) {
                "" => String::new(),
                prefix => format!(" with prefix '{prefix}'"),
            };
            let optional = from["optional"] == true;
            doc.line(
                LEVEL + 1,
                format!(
                    "{}\t{kind}{prefix}\tOptional: {optional}",
                    text(&from["name"])
                ),
            );
        }
    }
    if items(&container["env"]).next().is_none() {
        return doc.field(LEVEL, "Environment", NONE);
    }
    doc.line(LEVEL, "Environment:");
    for variable in items(&container["env"]) {
        let source = &variable["valueFrom"];
        let value = if let Some(field) = source.get("fieldRef") {
            format!(
                "({}:{})",
                field["apiVersion"].as_str().unwrap_or("v1"),
                text(&field["fieldPath"])
            )
        } else if let Some(resource) = source.get("resourceFieldRef") {
            text(&resource["resource"]).to_string()
        } else if let Some(from) = source.get("secretKeyRef") {
            from_key(from, "secret")
        } else if let Some(from) = source.get("configMapKeyRef") {
            from_key(from, "config map")
        } else {
            text(&variable["value"]).replace('\n', "\n      \t")
        };
        doc.field(LEVEL + 1, text(&variable["name"]), value);
    }
}

fn from_key(from: &Value, what: &str) -> String {
    format!(
        "<set to the key '{}' in {what} '{}'>\tOptional: {}",
        text(&from["key"]),
        text(&from["name"]),
        from["optional"] == true
    )
}

fn mounts(doc: &mut Document, mounts: &Value) {
    if items(mounts).next().is_none() {
        return doc.field(LEVEL, "Mounts", NONE);
    }
    doc.line(LEVEL, "Mounts:");
    let mut mounts: Vec<&Value> = items(mounts).collect();
    mounts.sort_by_key(|m| text(&m["mountPath"]));
    for mount in mounts {
        let mode = if mount["readOnly"] == true {
            "ro"
        } else {
            "rw"
        };
        let path = match text(&mount["subPath"]) {
            "" => String::new(),
            path => format!(",path={path:?}"),
        };
        doc.line(
            LEVEL + 1,
            format!(
                "{} from {} ({mode}{path})",
                text(&mount["mountPath"]),
                text(&mount["name"])
            ),
        );
    }
}
