//! Services, and what is behind them.

use super::document::{Document, entries, items, plain, text};
use kabuki_model::printing::NONE;
use serde_json::Value;

/// How many endpoints of a port are shown.
const SHOWN: usize = 3;
const UNSET: &str = "<unset>";

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

fn joined(list: &Value) -> String {
    let all: Vec<&str> = items(list).map(text).collect();
    all.join(",")
}

/// Everything of a service but its events. `slices` are its EndpointSlices.
pub fn service(doc: &mut Document, value: &Value, slices: &[Value]) {
    let spec = &value["spec"];
    doc.heading(value);
    doc.metadata(value);
    let selector: Vec<String> = entries(&spec["selector"])
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    doc.field(0, "Selector", or(&selector.join(","), NONE));
    doc.field(0, "Type", text(&spec["type"]));
    let policy = text(&spec["ipFamilyPolicy"]);
    if !policy.is_empty() {
        doc.field(0, "IP Family Policy", policy);
    }
    doc.field(0, "IP Families", or(&joined(&spec["ipFamilies"]), NONE));
    doc.field(0, "IP", text(&spec["clusterIP"]));
    doc.field(0, "IPs", or(&joined(&spec["clusterIPs"]), NONE));
    optional(doc, "External IPs", &joined(&spec["externalIPs"]));
    let wanted = text(&spec["loadBalancerIP"]);
    optional(doc, "Desired LoadBalancer IP", wanted);
    optional(doc, "External Name", text(&spec["externalName"]));
    optional(doc, "LoadBalancer Ingress", &ingress(value));
    for port in items(&spec["ports"]) {
        port_lines(doc, port, slices);
    }
    doc.field(0, "Session Affinity", text(&spec["sessionAffinity"]));
    for (name, field) in [
        ("External Traffic Policy", "externalTrafficPolicy"),
        ("Internal Traffic Policy", "internalTrafficPolicy"),
        ("Traffic Distribution", "trafficDistribution"),
        ("LoadBalancer Class", "loadBalancerClass"),
    ] {
        optional(doc, name, text(&spec[field]));
    }
    if let Some(port) = spec["healthCheckNodePort"].as_i64().filter(|p| *p != 0) {
        doc.field(0, "HealthCheck NodePort", port.to_string());
    }
    let ranges = joined(&spec["loadBalancerSourceRanges"]);
    optional(doc, "LoadBalancer Source Ranges", &ranges);
    let columns = [
        ("Type", "type"),
        ("Status", "status"),
        ("Reason", "reason"),
        ("Message", "message"),
    ];
    doc.conditions(&columns, &value["status"]["conditions"]);
}

fn optional(doc: &mut Document, name: &str, value: &str) {
    if !value.is_empty() {
        doc.field(0, name, value);
    }
}

fn ingress(value: &Value) -> String {
    let places = items(&value["status"]["loadBalancer"]["ingress"]);
    let shown = places.map(|place| match (text(&place["ip"]), text(&place["ipMode"])) {
        ("", _) => text(&place["hostname"]).to_string(),
        (ip, "") => ip.to_string(),
        (ip, mode) => format!("{ip} ({mode})"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn port_lines(doc: &mut Document, port: &Value, slices: &[Value]) {
    let name = or(text(&port["name"]), UNSET);
    let protocol = or(text(&port["protocol"]), "TCP");
    let number = plain(&port["port"]);
    doc.line(0, format!("Port:\t{name}\t{number}/{protocol}"));
    let target = plain(&port["targetPort"]);
    doc.line(0, format!("TargetPort:\t{target}/{protocol}"));
    if let Some(node) = port["nodePort"].as_i64().filter(|p| *p != 0) {
        doc.line(0, format!("NodePort:\t{name}\t{node}/{protocol}"));
    }
    doc.field(0, "Endpoints", endpoints(text(&port["name"]), slices));
}

/// The ready endpoints of one port.
fn endpoints(port: &str, slices: &[Value]) -> String {
    let mut all = Vec::new();
    for slice in slices {
        let ports = items(&slice["ports"]).filter(|p| text(&p["name"]) == port);
        let numbers: Vec<String> = ports.map(|p| plain(&p["port"])).collect();
        let ready = |e: &&Value| e["conditions"]["ready"].as_bool().unwrap_or(true);
        for endpoint in items(&slice["endpoints"]).filter(ready) {
            let addresses = items(&endpoint["addresses"]).map(text);
            all.extend(addresses.flat_map(|a| numbers.iter().map(move |n| pair(a, n))));
        }
    }
    let shown: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
    match all.len() {
        0 => String::new(),
        count if count > SHOWN => format!("{} + {} more...", shown.join(","), count - SHOWN),
        _ => shown.join(","),
    }
}

fn pair(address: &str, port: &str) -> String {
    match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    }
}

fn port_table(doc: &mut Document, level: usize, ports: &Value) {
    if items(ports).next().is_none() {
        return doc.field(level, "Ports", UNSET);
    }
    doc.line(level, "Ports:");
    doc.line(level + 1, "Name\tPort\tProtocol");
    doc.line(level + 1, "----\t----\t--------");
    for port in items(ports) {
        let name = or(text(&port["name"]), UNSET);
        let number = match &port["port"] {
            Value::Null => UNSET.to_string(),
            number => plain(number),
        };
        let protocol = text(&port["protocol"]);
        doc.line(level + 1, format!("{name}\t{number}\t{protocol}"));
    }
}

/// Everything of an EndpointSlice but its events.
pub fn endpoint_slice(doc: &mut Document, value: &Value) {
    doc.heading(value);
    doc.metadata(value);
    doc.field(0, "AddressType", text(&value["addressType"]));
    port_table(doc, 0, &value["ports"]);
    if items(&value["endpoints"]).next().is_none() {
        return doc.field(0, "Endpoints", NONE);
    }
    doc.line(0, "Endpoints:");
    for endpoint in items(&value["endpoints"]) {
        let addresses: Vec<&str> = items(&endpoint["addresses"]).map(text).collect();
        doc.line(1, format!("- Addresses:\t{}", addresses.join(",")));
        doc.line(2, "Conditions:");
        for (name, field) in [
            ("Ready", "ready"),
            ("Serving", "serving"),
            ("Terminating", "terminating"),
        ] {
            let shown = match endpoint["conditions"][field].as_bool() {
                Some(holds) => holds.to_string(),
                None if field == "ready" => UNSET.to_string(),
                None => continue,
            };
            doc.field(3, name, shown);
        }
        doc.field(2, "Hostname", or(text(&endpoint["hostname"]), UNSET));
        let target = &endpoint["targetRef"];
        if target.is_object() {
            let target = format!("{}/{}", text(&target["kind"]), text(&target["name"]));
            doc.field(2, "TargetRef", target);
        }
        doc.field(2, "NodeName", or(text(&endpoint["nodeName"]), UNSET));
        doc.field(2, "Zone", or(text(&endpoint["zone"]), UNSET));
        for (name, field) in [("For Zones", "forZones"), ("For Nodes", "forNodes")] {
            let names: Vec<&str> = items(&endpoint["hints"][field])
                .map(|h| text(&h["name"]))
                .collect();
            if !names.is_empty() {
                doc.field(2, name, names.join(","));
            }
        }
    }
}

/// Everything of an Endpoints object but its events.
pub fn endpoints_object(doc: &mut Document, value: &Value) {
    doc.heading(value);
    doc.metadata(value);
    doc.line(0, "Subsets:");
    for subset in items(&value["subsets"]) {
        for (name, field) in [
            ("Addresses", "addresses"),
            ("NotReadyAddresses", "notReadyAddresses"),
        ] {
            let all: Vec<&str> = items(&subset[field]).map(|a| text(&a["ip"])).collect();
            doc.field(1, name, or(&all.join(","), NONE));
        }
        port_table(doc, 1, &subset["ports"]);
        doc.line(0, "");
    }
}
