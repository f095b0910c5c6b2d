//! A small controller, written with `kube` as anyone would: for each Service that wants it, it
//! keeps a ConfigMap that says where the service is found.
//!
//! ```text
//! Service (label `publish=yes`) ──reconcile──> ConfigMap NAME-address
//!                                                 owned by the Service, by server-side apply
//! ```
//!
//! Invariants: what it writes follows from the Service alone, so that it may be run again at any
//! time; what others do to its fields is undone; its ConfigMaps go with their Service.

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServicePort};
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::{reflector::ObjectRef, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Whom the fields belong to.
pub const MANAGER: &str = "address-publisher";
/// Which Services want it.
pub const SELECTOR: &str = "publish=yes";

/// Why a Service could not be published.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The Service is not an object of an API server.
    #[error("service {0:?} has no namespace or no uid: only stored services are published")]
    NotStored(String),
    /// The API refused, or was not there.
    #[error("config map {name:?}: {source}")]
    Api {
        /// Which one was written.
        name: String,
        /// What it said.
        source: kube::Error,
    },
}

/// The name of a Service's ConfigMap.
pub fn published_name(service: &str) -> String {
    format!("{service}-address")
}

/// Runs the controller: yields the Service of each round, or why it failed. Rounds that failed are
/// tried again, and a server that is gone is waited for.
pub fn publish(client: Client) -> impl Stream<Item = Result<ObjectRef<Service>, String>> {
    let services: Api<Service> = Api::all(client.clone());
    let published: Api<ConfigMap> = Api::all(client.clone());
    let mine =
        watcher::Config::default().labels(&format!("app.kubernetes.io/managed-by={MANAGER}"));
    Controller::new(services, watcher::Config::default().labels(SELECTOR))
        .owns(published, mine)
        .run(reconcile, again, Arc::new(client))
        .map(|round| match round {
            Ok((service, _)) => Ok(service),
            Err(error) => Err(error.to_string()),
        })
}

async fn reconcile(service: Arc<Service>, client: Arc<Client>) -> Result<Action, PublishError> {
    let service_name = service.name_any();
    let stored = service.namespace().zip(service.controller_owner_ref(&()));
    let Some((namespace, owner)) = stored else {
        return Err(PublishError::NotStored(service_name));
    };
    let name = published_name(&service_name);
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": MANAGER},
            "ownerReferences": [owner],
        },
        "data": address(&service),
    });
    let params = PatchParams::apply(MANAGER).force();
    let published: Api<ConfigMap> = Api::namespaced((*client).clone(), &namespace);
    let applied = published
        .patch(&name, &params, &Patch::Apply(&object))
        .await;
    applied.map_err(|source| PublishError::Api { name, source })?;
    Ok(Action::await_change())
}

/// What is said of a Service.
fn address(service: &Service) -> serde_json::Value {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = spec.ports.unwrap_or_default();
    let port = |p: &ServicePort| match &p.name {
        Some(name) => format!("{name}={}", p.port),
        None => p.port.to_string(),
    };
    let ports: Vec<String> = ports.iter().map(port).collect();
    json!({
        "address": spec.cluster_ip.unwrap_or_default(),
        "ports": ports.join(","),
    })
}

fn again(_service: Arc<Service>, _error: &PublishError, _client: Arc<Client>) -> Action {
    Action::requeue(Duration::from_secs(1))
}
