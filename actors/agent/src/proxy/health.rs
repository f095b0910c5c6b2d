//! Answers load balancers that ask whether this node has endpoints of a service: HTTP on the
//! service's `healthCheckNodePort`, 200 with endpoints and 503 without, as kube-proxy does.
//!
//! A client that is slow or sends much is cut off; only so many are served at once.

use kabuki_model::service::ServiceKey;
use kabuki_net::plan::services::HealthCheck;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// A request and its answer are done within this time.
const LIMIT: Duration = Duration::from_secs(5);
/// Nobody needs more to ask.
const REQUEST_BYTES: usize = 4096;
/// Clients of one port at once.
const CLIENTS: usize = 32;
/// A port that somebody else has is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);

/// What is said on one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Health {
    pub service: ServiceKey,
    pub check: HealthCheck,
}

/// One server for each port.
#[derive(Default)]
pub(super) struct HealthServers {
    running: BTreeMap<u16, (watch::Sender<Health>, JoinHandle<()>)>,
}

impl Drop for HealthServers {
    fn drop(&mut self) {
        for (_, task) in self.running.values() {
            task.abort();
        }
    }
}

impl HealthServers {
    /// Has these answers given, and no others.
    pub fn set(&mut self, all: Vec<Health>) {
        let mut wanted: BTreeMap<u16, Health> = BTreeMap::new();
        for health in all {
            wanted.entry(health.check.port).or_insert(health);
        }
        self.running.retain(|port, (_, task)| {
            let keep = wanted.contains_key(port);
            if !keep {
                task.abort();
            }
            keep
        });
        for (port, health) in wanted {
            match self.running.get(&port) {
                Some((now, _)) => drop(now.send_if_modified(|held| {
                    let changed = *held != health;
                    *held = health;
                    changed
                })),
                None => {
                    let (now, seen) = watch::channel(health);
                    let task = tokio::spawn(serve(port, seen));
                    self.running.insert(port, (now, task));
                }
            }
        }
    }
}

async fn serve(port: u16, health: watch::Receiver<Health>) {
    let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let listener = loop {
        match TcpListener::bind(at).await {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::warn!(%error, port, "no health check of a service can be answered");
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(permit) = clients.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let health = health.clone();
                tokio::spawn(async move {
                    // One that is too slow, or gone, is none of our concern.
                    let _ = tokio::time::timeout(LIMIT, answer(stream, &health)).await;
                    drop(permit);
                });
            }
            // Out of descriptors, perhaps.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(mut stream: TcpStream, health: &watch::Receiver<Health>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 512];
        let length = stream.read(&mut part).await?;
        request.extend_from_slice(part.get(..length).unwrap_or_default());
        if length == 0 || request.len() > REQUEST_BYTES {
            return Ok(());
        }
    }
    let text = response(&health.borrow());
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

fn response(health: &Health) -> String {
    let local = health.check.local;
    let status = match local {
        0 => "503 Service Unavailable",
        _ => "200 OK",
    };
    let body = serde_json::json!({
        "service": {"namespace": *health.service.namespace, "name": *health.service.name},
        "localEndpoints": local,
        "serviceProxyHealthy": true,
    })
    .to_string();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\
         X-Content-Type-Options: nosniff\r\n\
         X-Load-Balancing-Endpoint-Weight: {local}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(port: u16, local: usize) -> Health {
        Health {
            service: ServiceKey {
                namespace: "default".into(),
                name: "web".into(),
            },
            check: HealthCheck { port, local },
        }
    }

    async fn get(port: u16) -> String {
        let mut stream = loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                Ok(stream) => break stream,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn a_node_says_whether_it_has_endpoints() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut servers = HealthServers::default();
        servers.set(vec![health(port, 2)]);
        let text = get(port).await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("\"localEndpoints\":2"), "{text}");
        servers.set(vec![health(port, 0)]);
        assert!(get(port).await.starts_with("HTTP/1.1 503 "));
        servers.set(Vec::new());
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_ok()
        {
            tokio::task::yield_now().await;
        }
    }
}
