//! Probes and hooks of a container.

use super::super::document::{Document, items, plain, text};
use serde_json::Value;

/// One line for each.
pub fn all(doc: &mut Document, level: usize, container: &Value) {
    for (name, field) in [
        ("Liveness", "livenessProbe"),
        ("Readiness", "readinessProbe"),
        ("Startup", "startupProbe"),
    ] {
        if container[field].is_object() {
            doc.field(level, name, probe(&container[field]));
        }
    }
    let hooks = &container["lifecycle"];
    for (name, field) in [("Post Start", "postStart"), ("Pre Stop", "preStop")] {
        if hooks[field].is_object() {
            doc.field(level, name, action(&hooks[field]));
        }
    }
    if hooks["stopSignal"].is_string() {
        doc.field(level, "Stop Signal", text(&hooks["stopSignal"]));
    }
}

/// A probe as `kubectl` shows it.
fn probe(probe: &Value) -> String {
    let number = |field: &str, default: u64| probe[field].as_u64().unwrap_or(default);
    format!(
        "{} delay={}s timeout={}s period={}s #success={} #failure={}",
        action(probe),
        number("initialDelaySeconds", 0),
        number("timeoutSeconds", 1),
        number("periodSeconds", 10),
        number("successThreshold", 1),
        number("failureThreshold", 3),
    )
}

/// What a probe or a hook does.
fn action(handler: &Value) -> String {
    let at = |action: &Value| format!("{}:{}", text(&action["host"]), plain(&action["port"]));
    let (get, grpc) = (&handler["httpGet"], &handler["grpc"]);
    if handler["exec"].is_object() {
        let words: Vec<&str> = items(&handler["exec"]["command"]).map(text).collect();
        return format!("exec [{}]", words.join(" "));
    }
    if get.is_object() {
        let scheme = get["scheme"].as_str().unwrap_or("HTTP").to_lowercase();
        return format!("http-get {scheme}://{}{}", at(get), text(&get["path"]));
    }
    if handler["tcpSocket"].is_object() {
        return format!("tcp-socket {}", at(&handler["tcpSocket"]));
    }
    if grpc.is_object() {
        let port = plain(&grpc["port"]);
        return format!("grpc <pod>:{port} {}", text(&grpc["service"]));
    }
    if handler["sleep"].is_object() {
        return format!("sleep {}s", plain(&handler["sleep"]["seconds"]));
    }
    "unknown".to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn probes_read_as_kubectl_shows_them() {
        let get = json!({"httpGet": {"path": "/ok", "port": "http", "scheme": "HTTP"},
            "initialDelaySeconds": 10, "timeoutSeconds": 3, "periodSeconds": 5});
        assert_eq!(
            probe(&get),
            "http-get http://:http/ok delay=10s timeout=3s period=5s #success=1 #failure=3"
        );
        let exec = json!({"exec": {"command": ["cat", "/tmp/a"]}});
        assert_eq!(action(&exec), "exec [cat /tmp/a]");
        assert_eq!(
            action(&json!({"tcpSocket": {"port": 80}})),
            "tcp-socket :80"
        );
        assert_eq!(action(&json!({"sleep": {"seconds": 2}})), "sleep 2s");
    }
}
