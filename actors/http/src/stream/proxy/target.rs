//! Whom a proxied request is for: `[SCHEME:]NAME[:PORT]` of a pod or a Service.

use crate::request::Context;
use kabuki_model::request::{ListRequest, Request};
use kabuki_model::{ObjectKey, Resource, StatusError};
use kabuki_protocol::front::Freshness;
use kabuki_protocol::node::{NodeRequest, PodRef};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A port of a pod.
pub(super) struct Target {
    pod: PodRef,
    port: u16,
    secure: bool,
}

impl Target {
    pub(super) fn request(&self) -> NodeRequest {
        NodeRequest::PortForward {
            pod: self.pod.clone(),
            port: self.port,
        }
    }

    /// Whether it is spoken to in TLS.
    pub(super) fn secure(&self) -> bool {
        self.secure
    }

    /// What the pod is called as.
    pub(super) fn host(&self) -> String {
        format!("{}:{}", self.pod.name, self.port)
    }
}

/// Finds the pod and its port.
pub(super) async fn find(context: &Context) -> Result<Target, StatusError> {
    let resource = context.info.resource.as_str();
    let Some(Name { secure, name, port }) = parse(&context.info.name) else {
        let what = resource.strip_suffix('s').unwrap_or(resource);
        let name = &context.info.name;
        return Err(StatusError::bad_request(format!(
            "invalid {what} request {name:?}"
        )));
    };
    let (name, port) = match resource {
        "services" => behind(context, name, port).await?,
        _ => {
            let pod = read(context, "pods", name).await?;
            let port = port_of_pod(&pod, port).ok_or_else(|| no_port(name, port))?;
            (name.to_string(), port)
        }
    };
    Ok(Target {
        pod: PodRef {
            namespace: context.info.namespace.clone(),
            name,
        },
        port,
        secure,
    })
}

/// The parts of a name.
#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    secure: bool,
    name: &'a str,
    /// A number, a name, or not given.
    port: &'a str,
}

fn no_port(name: &str, port: &str) -> StatusError {
    StatusError::unavailable(format!("{name:?} has no port {port:?}"))
}

fn parse(text: &str) -> Option<Name<'_>> {
    let parts: Vec<&str> = text.split(':').collect();
    let (scheme, name, port) = match *parts.as_slice() {
        [name] => ("", name, ""),
        [name, port] => ("", name, port),
        [scheme, name, port] => (scheme, name, port),
        _ => return None,
    };
    let secure = match scheme {
        "" | "http" => false,
        "https" => true,
        _ => return None,
    };
    (!name.is_empty()).then_some(Name { secure, name, port })
}

async fn read(context: &Context, resource: &str, name: &str) -> Result<Value, StatusError> {
    let get = Request::Get {
        key: ObjectKey::new(Resource::named(resource), &context.info.namespace, name),
        subresource: None,
    };
    let answer = context
        .front
        .read(context.identity(), get, Freshness::Latest);
    let object = answer.await?.into_object();
    let object = object.ok_or_else(|| StatusError::internal("an object is none"))?;
    object
        .to_value()
        .map_err(|e| StatusError::internal(format!("stored {}: {e}", object.key)))
}

/// A port of a pod: by number, by name, or the first that it has.
fn port_of_pod(pod: &Value, port: &str) -> Option<u16> {
    if let Ok(number) = port.parse() {
        return Some(number);
    }
    let containers = pod["spec"]["containers"].as_array()?;
    let mut ports = containers
        .iter()
        .flat_map(|c| c["ports"].as_array())
        .flatten();
    let found = ports.find(|p| port.is_empty() || p["name"] == port)?;
    number(&found["containerPort"])
}

/// A pod behind a Service that is ready, each in turn, and its port.
async fn behind(context: &Context, name: &str, port: &str) -> Result<(String, u16), StatusError> {
    /// Which of the pods that are ready is next.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let service = read(context, "services", name).await?;
    let ports = service["spec"]["ports"].as_array();
    let chosen = ports.into_iter().flatten().find(|p| {
        port.is_empty()
            || p["name"] == port
            || number(&p["port"]).is_some_and(|n| n.to_string() == port)
    });
    let chosen = chosen.ok_or_else(|| no_port(name, port))?;
    let mut slices = ListRequest::all(
        Resource::named("endpointslices.discovery.k8s.io"),
        Some(&context.info.namespace),
    );
    slices.labels = format!("kubernetes.io/service-name={name}");
    let list = Request::List(slices);
    let answer = context
        .front
        .read(context.identity(), list, Freshness::Latest);
    let slices = answer.await?.into_list().unwrap_or_default();
    let slices = slices.items.iter().filter_map(|s| s.to_value().ok());
    let ready: Vec<(String, u16)> = slices
        .flat_map(|slice| ready_pods(&slice, &chosen["name"]))
        .collect();
    let turn = NEXT.fetch_add(1, Ordering::Relaxed) % ready.len().max(1);
    ready.into_iter().nth(turn).ok_or_else(|| {
        StatusError::unavailable(format!("no endpoints available for service {name:?}"))
    })
}

/// The pods of a slice that are ready, with the port of this name.
fn ready_pods(slice: &Value, port: &Value) -> Vec<(String, u16)> {
    let same = |p: &&Value| {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
        text(&p["name"]) == text(port)
    };
    let ports = slice["ports"].as_array();
    let Some(port) = ports
        .into_iter()
        .flatten()
        .find(same)
        .and_then(|p| number(&p["port"]))
    else {
        return Vec::new();
    };
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let ready = endpoints.filter(|e| e["conditions"]["ready"] != false);
    let pods = ready.filter(|e| e["targetRef"]["kind"] == "Pod");
    pods.filter_map(|e| Some((e["targetRef"]["name"].as_str()?.to_string(), port)))
        .collect()
}

fn number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|n| u16::try_from(n).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_name_may_have_a_scheme_and_a_port() {
        let of = |secure, name, port| Some(Name { secure, name, port });
        assert_eq!(parse("web"), of(false, "web", ""));
        assert_eq!(parse("web:80"), of(false, "web", "80"));
        assert_eq!(parse("http:web:www"), of(false, "web", "www"));
        assert_eq!(parse("https:web:443"), of(true, "web", "443"));
        assert_eq!(parse("https:web:"), of(true, "web", ""));
        for wrong in ["a:b:c:d", "ftp:web:21", "", ":80", "https::443"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_pods_port_is_found_by_number_name_or_as_the_first() {
        let pod = json!({"spec": {"containers": [
            {"ports": [{"containerPort": 8080, "name": "www"}, {"containerPort": 9090}]},
        ]}});
        assert_eq!(port_of_pod(&pod, ""), Some(8080));
        assert_eq!(port_of_pod(&pod, "www"), Some(8080));
        assert_eq!(port_of_pod(&pod, "1234"), Some(1234));
        assert_eq!(port_of_pod(&pod, "none"), None);
    }

    #[test]
    fn pods_behind_a_service_are_those_that_are_ready() {
        let slice = json!({
            "ports": [{"name": "www", "port": 8080}],
            "endpoints": [
                {"conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "a"}},
                {"conditions": {"ready": false}, "targetRef": {"kind": "Pod", "name": "b"}},
            ],
        });
        assert_eq!(ready_pods(&slice, &json!("www")), [("a".to_string(), 8080)]);
        assert!(ready_pods(&slice, &json!("other")).is_empty());
    }
}
