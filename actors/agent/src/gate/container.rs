//! Finding the pod and container that a request means.

use crate::pod::shim_container;
use crate::services::{PodEntry, Services};
use k8s_openapi::api::core::v1::Pod;
use kabuki_lifecycle::Instance;
use kabuki_lifecycle::containers::{self, Role};
use kabuki_lifecycle::machine::Life;
use kabuki_model::{ObjectKey, Resource, StatusError};
use kabuki_protocol::node::PodRef;
use kabuki_runtime::{ContainerState, ShimClient, ShimError, ShimEvents};
use std::sync::Arc;
use std::time::Duration;

/// Names the container that is meant when none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// An agent that has just begun knows within this time what its predecessor left running.
const LEARN_LIMIT: Duration = Duration::from_secs(10);

/// The pod of that name on this node.
pub(super) async fn pod(
    services: &Services,
    wanted: &PodRef,
) -> Result<Arc<PodEntry>, StatusError> {
    let found = services.pods.find(&wanted.namespace, &wanted.name);
    let found = tokio::time::timeout(LEARN_LIMIT, found).await;
    let found = found.map_err(|_| {
        StatusError::unavailable(format!(
            "node {} has just started and does not know yet what runs on it; try again",
            services.config.node_name
        ))
    })?;
    found.ok_or_else(|| {
        let key = ObjectKey::new(Resource::PODS, &wanted.namespace, &wanted.name);
        StatusError::not_found(&key)
    })
}

/// The names of its containers: first those that the pod is for.
fn names(pod: &Pod) -> Vec<String> {
    let all = pod.spec.iter().flat_map(containers::containers);
    let mut named: Vec<(Role, String)> = all.map(|(role, c)| (role, c.name.clone())).collect();
    named.sort_by_key(|(role, _)| match role {
        Role::Main => 0,
        Role::Init | Role::Sidecar => 1,
        Role::Ephemeral => 2,
    });
    named.into_iter().map(|(_, name)| name).collect()
}

/// The container of that name; without one, the default or first.
pub(super) fn named(entry: &PodEntry, name: &str) -> Result<String, StatusError> {
    let pod = entry.pod();
    let names = names(&pod);
    let annotated = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(DEFAULT_CONTAINER));
    let wanted = match name {
        "" => annotated
            .or(names.first())
            .map(String::as_str)
            .unwrap_or_default(),
        name => name,
    };
    match names.iter().any(|n| n == wanted) {
        true => Ok(wanted.to_string()),
        false => Err(StatusError::bad_request(format!(
            "container {wanted} is not valid for pod {}",
            entry.name
        ))),
    }
}

/// As [`named`], but of several one must be named (logs).
pub(super) fn only(entry: &PodEntry, name: &str) -> Result<String, StatusError> {
    let pod = entry.pod();
    let own = pod.spec.as_ref().map_or(0, |s| s.containers.len());
    let mut names = names(&pod);
    names.truncate(own);
    if name.is_empty() && names.len() > 1 {
        return Err(StatusError::bad_request(format!(
            "a container name must be specified for pod {}, choose one of: [{}]",
            entry.name,
            names.join(" ")
        )));
    }
    named(entry, name)
}

/// The instance of a container that runs now.
pub(super) fn running(entry: &PodEntry, name: &str) -> Result<Instance, StatusError> {
    let state = entry.state();
    let held = state
        .iter()
        .flat_map(|s| &s.containers)
        .find(|c| c.name == name);
    match held {
        Some(c) if matches!(c.life, Life::Running { .. }) => Ok(Instance {
            container: name.to_string(),
            attempt: c.attempt.unwrap_or(0),
        }),
        _ => Err(not_found(name)),
    }
}

fn not_found(name: &str) -> StatusError {
    StatusError::bad_request(format!("container not found (\"{name}\")"))
}

/// A connection of its own to the pod's shim: processes that it starts end with it.
pub(super) async fn connect(
    services: &Services,
    entry: &PodEntry,
    instance: &Instance,
) -> Result<(ShimClient, ShimEvents), StatusError> {
    let connected = match entry.shim_id() {
        Some(id) => services.launcher.connect(&id).await,
        None => return Err(not_found(&instance.container)),
    };
    match connected {
        Ok(connected) => Ok(connected),
        Err(error) => Err(failure(services, entry, instance, "connect", &error).await),
    }
}

/// Why the shim did not do something with a container. One that ended since it was looked for is
/// not found, as if it had ended before.
pub(super) async fn failure(
    services: &Services,
    entry: &PodEntry,
    instance: &Instance,
    action: &str,
    error: &ShimError,
) -> StatusError {
    let may_be_over = matches!(
        error,
        ShimError::Refused(_) | ShimError::Gone(_) | ShimError::Io { .. }
    );
    if may_be_over && !still_runs(services, entry, instance).await {
        return not_found(&instance.container);
    }
    StatusError::internal(format!("{action}: {error}"))
}

async fn still_runs(services: &Services, entry: &PodEntry, instance: &Instance) -> bool {
    let Some(id) = entry.shim_id() else {
        return false;
    };
    let Ok((client, _events)) = services.launcher.connect(&id).await else {
        return false;
    };
    let id = shim_container(instance);
    client.status().await.is_ok_and(|status| {
        let mut containers = status.containers.iter();
        containers.any(|c| c.id == id && !matches!(c.state, ContainerState::Exited { .. }))
    })
}
