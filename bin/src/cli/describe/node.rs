//! Nodes.

use super::document::{Document, entries, items, text, time};
use jiff::Timestamp;
use kabuki_model::Quantity;
use kabuki_model::printing::age;
use serde_json::Value;

/// Everything of a node but its events.
pub fn describe(doc: &mut Document, node: &Value, pods: &[Value], now: Timestamp) {
    let (metadata, spec, status) = (&node["metadata"], &node["spec"], &node["status"]);
    doc.heading(node);
    let roles: Vec<&str> = entries(&metadata["labels"])
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    doc.field(
        0,
        "Roles",
        if roles.is_empty() {
            "<none>".to_string()
        } else {
            roles.join(",")
        },
    );
    doc.metadata(node);
    doc.field(0, "CreationTimestamp", time(&metadata["creationTimestamp"]));
    let taints: Vec<String> = items(&spec["taints"])
        .map(|t| {
            let value = match text(&t["value"]) {
                "" => String::new(),
                value => format!("={value}"),
            };
            format!("{}{value}:{}", text(&t["key"]), text(&t["effect"]))
        })
        .collect();
    doc.lines(0, "Taints", &taints);
    doc.field(
        0,
        "Unschedulable",
        (spec["unschedulable"] == true).to_string(),
    );
    let columns = [
        ("Type", "type"),
        ("Status", "status"),
        ("LastHeartbeatTime", "lastHeartbeatTime"),
        ("LastTransitionTime", "lastTransitionTime"),
        ("Reason", "reason"),
        ("Message", "message"),
    ];
    doc.conditions(&columns, &status["conditions"]);
    doc.line(0, "Addresses:");
    for address in items(&status["addresses"]) {
        doc.field(1, text(&address["type"]), text(&address["address"]));
    }
    for (name, field) in [("Capacity", "capacity"), ("Allocatable", "allocatable")] {
        doc.line(0, format!("{name}:"));
        for (resource, amount) in entries(&status[field]) {
            doc.field(1, resource, amount);
        }
    }
    info(doc, &status["nodeInfo"]);
    if !text(&spec["podCIDR"]).is_empty() {
        doc.field(0, "PodCIDR", text(&spec["podCIDR"]));
    }
    running(doc, pods, &status["allocatable"], now);
}

fn info(doc: &mut Document, info: &Value) {
    doc.line(0, "System Info:");
    for (name, field) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        doc.field(1, name, text(&info[field]));
    }
}

/// The pods that have not ended, and what they come to.
fn running(doc: &mut Document, pods: &[Value], allocatable: &Value, now: Timestamp) {
    let live: Vec<&Value> = pods
        .iter()
        .filter(|p| !matches!(text(&p["status"]["phase"]), "Succeeded" | "Failed"))
        .collect();
    doc.line(
        0,
        format!("Non-terminated Pods:\t({} in total)", live.len()),
    );
    let headings = [
        "Namespace",
        "Name",
        "CPU Requests",
        "CPU Limits",
        "Memory Requests",
        "Memory Limits",
        "Age",
    ];
    doc.line(1, headings.join("\t"));
    doc.line(1, headings.map(|h| "-".repeat(h.len())).join("\t"));
    let columns = [
        ("requests", "cpu"),
        ("limits", "cpu"),
        ("requests", "memory"),
        ("limits", "memory"),
    ];
    let mut totals = [0f64; 4];
    for pod in live {
        let metadata = &pod["metadata"];
        let mut cells = vec![
            text(&metadata["namespace"]).to_string(),
            text(&metadata["name"]).to_string(),
        ];
        for (total, (field, resource)) in totals.iter_mut().zip(columns) {
            let sum = sum(pod, field, resource);
            *total += amount_of(&sum);
            cells.push(share(&sum, &allocatable[resource]));
        }
        let created = text(&metadata["creationTimestamp"]).parse();
        cells.push(created.map_or_else(|_| "<unknown>".to_string(), |at| age(at, now)));
        doc.line(1, cells.join("\t"));
    }
    doc.line(0, "Allocated resources:");
    doc.line(
        1,
        "(Total limits may be over 100 percent, i.e., overcommitted.)",
    );
    doc.line(1, "Resource\tRequests\tLimits");
    doc.line(1, "--------\t--------\t------");
    let cpu = |total: f64| Quantity::from_milli((total * 1000.0).round() as i64);
    let memory = |total: f64| Quantity::from_bytes(total as i64);
    let cells = [
        cpu(totals[0]),
        cpu(totals[1]),
        memory(totals[2]),
        memory(totals[3]),
    ];
    for (index, resource) in ["cpu", "memory"].into_iter().enumerate() {
        let cell = |at: usize| share(&cells[2 * index + at], &allocatable[resource]);
        doc.line(1, format!("{resource}\t{}\t{}", cell(0), cell(1)));
    }
}

/// What the containers of a pod ask for together.
fn sum(pod: &Value, field: &str, resource: &str) -> Quantity {
    let amounts = items(&pod["spec"]["containers"]).filter_map(|c| {
        text(&c["resources"][field][resource])
            .parse::<Quantity>()
            .ok()
    });
    match resource {
        "cpu" => Quantity::from_milli(amounts.map(|q| q.milli_ceil()).sum()),
        _ => Quantity::from_bytes(amounts.map(|q| q.value_ceil()).sum()),
    }
}

fn amount_of(quantity: &Quantity) -> f64 {
    quantity.milli_ceil() as f64 / 1000.0
}

/// `100m (5%)`
fn share(amount: &Quantity, of: &Value) -> String {
    let whole = text(of).parse::<Quantity>().map_or(0.0, |q| amount_of(&q));
    let percent = if whole > 0.0 {
        amount_of(amount) / whole * 100.0
    } else {
        0.0
    };
    format!("{amount} ({}%)", percent as i64)
}
