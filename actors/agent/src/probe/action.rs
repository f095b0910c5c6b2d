//! What a probe or a hook does, with everything found that its manifest names.

use super::http::{self, HttpGet};
use super::{exec, grpc, joined, worded};
use crate::services::{PodEntry, Services};
use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kabuki_lifecycle::Instance;
use kabuki_lifecycle::probe::Outcome;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Exec(Vec<String>),
    Http(HttpGet),
    Tcp {
        host: String,
        port: u16,
    },
    Grpc {
        host: String,
        port: u16,
        service: String,
        tls: bool,
    },
    Sleep(Duration),
    /// It cannot be done: why.
    Impossible(String),
}

/// What it is done with.
#[derive(Clone)]
pub(crate) struct Around {
    pub services: Arc<Services>,
    pub entry: Arc<PodEntry>,
    pub instance: Instance,
}

impl Action {
    /// What a probe does. Addresses are the pod's unless it names others.
    pub fn of_probe(probe: &Probe, container: &Container, pod_ip: &str) -> Self {
        if let Some(action) = &probe.exec {
            return Self::exec(action);
        }
        if let Some(action) = &probe.http_get {
            return Self::http(action, container, pod_ip);
        }
        if let Some(action) = &probe.tcp_socket {
            return Self::tcp(action, container, pod_ip);
        }
        match &probe.grpc {
            Some(action) => match u16::try_from(action.port) {
                Ok(port) => Self::Grpc {
                    host: pod_ip.to_string(),
                    port,
                    service: action.service.clone().unwrap_or_default(),
                    tls: action.mode.as_deref() == Some("TLS"),
                },
                Err(_) => Self::Impossible(format!("invalid port number: {}", action.port)),
            },
            None => Self::Impossible("missing probe handler".to_string()),
        }
    }

    /// What a hook does.
    pub fn of_hook(hook: &LifecycleHandler, container: &Container, pod_ip: &str) -> Self {
        if let Some(action) = &hook.exec {
            return Self::exec(action);
        }
        if let Some(action) = &hook.http_get {
            return Self::http(action, container, pod_ip);
        }
        match &hook.sleep {
            Some(sleep) => {
                let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
                Self::Sleep(Duration::from_secs(seconds))
            }
            None => Self::Impossible("invalid handler".to_string()),
        }
    }

    fn exec(action: &ExecAction) -> Self {
        Self::Exec(action.command.clone().unwrap_or_default())
    }

    fn tcp(action: &TCPSocketAction, container: &Container, pod_ip: &str) -> Self {
        let host = named(&action.host).unwrap_or(pod_ip).to_string();
        match port(&action.port, container) {
            Ok(port) => Self::Tcp { host, port },
            Err(why) => Self::Impossible(why),
        }
    }

    fn http(action: &HTTPGetAction, container: &Container, pod_ip: &str) -> Self {
        let port = match port(&action.port, container) {
            Ok(port) => port,
            Err(why) => return Self::Impossible(why),
        };
        let headers = action.http_headers.iter().flatten();
        Self::Http(HttpGet {
            tls: action.scheme.as_deref() == Some("HTTPS"),
            host: named(&action.host).unwrap_or(pod_ip).to_string(),
            port,
            path: action.path.clone().unwrap_or_default(),
            headers: headers.map(|h| (h.name.clone(), h.value.clone())).collect(),
        })
    }

    /// Does it as a probe, which must have an answer within `limit`.
    pub async fn probe(&self, around: &Around, limit: Duration) -> Outcome {
        match self {
            Self::Exec(command) => exec::probe(around, command, limit).await,
            Self::Http(get) => http::probe(get, limit).await,
            Self::Tcp { host, port } => tcp(host, *port, limit).await,
            Self::Grpc {
                host,
                port,
                service,
                tls,
            } => grpc::probe(host, *port, service, *tls, limit).await,
            Self::Sleep(_) => Outcome::Error("a probe cannot sleep".to_string()),
            Self::Impossible(why) => Outcome::Error(why.clone()),
        }
    }

    /// Does it as the hook of this name, however long that takes.
    ///
    /// # Errors
    /// When it fails, why.
    pub async fn run(&self, around: &Around, name: &str) -> Result<(), String> {
        match self {
            Self::Exec(command) => match exec::run(around, command, Some(name)).await {
                Ok((0, _)) => Ok(()),
                Ok((code, said)) => Err(format!("command exited with {code}: {said}")),
                Err(why) => Err(why),
            },
            // Any answer is one.
            Self::Http(get) => http::get(get).await.map(|_| ()),
            Self::Sleep(duration) => {
                tokio::time::sleep(*duration).await;
                Ok(())
            }
            Self::Tcp { .. } | Self::Grpc { .. } => Err("invalid handler".to_string()),
            Self::Impossible(why) => Err(why.clone()),
        }
    }
}

fn named(host: &Option<String>) -> Option<&str> {
    host.as_deref().filter(|h| !h.is_empty())
}

/// A port by number, or by the name that the container gives one.
fn port(wanted: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match wanted {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let found = ports.find(|p| p.name.as_ref() == Some(name));
            match found {
                Some(port) => port.container_port,
                None => name
                    .parse()
                    .map_err(|_| format!("couldn't find port: {name}"))?,
            }
        }
    };
    u16::try_from(number)
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| format!("invalid port number: {number}"))
}

async fn tcp(host: &str, port: u16, limit: Duration) -> Outcome {
    let connected = tokio::time::timeout(limit, TcpStream::connect((host, port))).await;
    let to = joined(host, port);
    match connected {
        Ok(Ok(_)) => Outcome::Success,
        Ok(Err(error)) => {
            let why = worded(&error);
            Outcome::Failure(format!("dial tcp {to}: connect: {why}"))
        }
        Err(_) => Outcome::Failure(format!("dial tcp {to}: i/o timeout")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn action(probe: Value) -> Action {
        let container = json!({"name": "web", "ports": [{"name": "http", "containerPort": 8080}]});
        let container: Container = serde_json::from_value(container).expect("a container");
        let probe: Probe = serde_json::from_value(probe).expect("a probe");
        Action::of_probe(&probe, &container, "10.0.0.2")
    }

    #[test]
    fn ports_have_names_and_addresses_are_the_pods() {
        let get = json!({"httpGet": {"port": "http", "path": "/ok?x=1", "scheme": "HTTPS",
            "httpHeaders": [{"name": "Host", "value": "web"}]}});
        let wanted = HttpGet {
            tls: true,
            host: "10.0.0.2".to_string(),
            port: 8080,
            path: "/ok?x=1".to_string(),
            headers: vec![("Host".to_string(), "web".to_string())],
        };
        assert_eq!(action(get), Action::Http(wanted));
        let (host, port) = ("10.0.0.2".to_string(), 8080);
        let tcp = json!({"tcpSocket": {"port": "8080"}});
        assert_eq!(action(tcp), Action::Tcp { host, port });
        let tcp = json!({"tcpSocket": {"port": 1, "host": "127.0.0.1"}});
        let (host, port) = ("127.0.0.1".to_string(), 1);
        assert_eq!(action(tcp), Action::Tcp { host, port });
        let unknown = Action::Impossible("couldn't find port: metrics".to_string());
        assert_eq!(action(json!({"tcpSocket": {"port": "metrics"}})), unknown);
    }

    #[tokio::test]
    async fn a_port_is_open_or_says_why_not() {
        let limit = Duration::from_secs(5);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        assert_eq!(tcp("127.0.0.1", port, limit).await, Outcome::Success);
        drop(listener);
        let text = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
        assert_eq!(tcp("127.0.0.1", port, limit).await, Outcome::Failure(text));
    }
}
