//! What a container's environment is made of, apart from its manifest: ConfigMaps, Secrets, and
//! the services that it is told of.

use crate::api;
use crate::services::Services;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret};
use kabuki_lifecycle::process::{self, ConfigError, Sources};
use kabuki_lifecycle::statics;
use kabuki_model::service::Known;
use kabuki_model::{Resource, StatusError};
use std::time::Duration;

/// How long a container waits for the services to be known. They are within milliseconds of the
/// daemon's start; one that waited in vain is tried again with back-off.
const SERVICES_LIMIT: Duration = Duration::from_secs(5);

/// Fetches all of it.
pub(super) async fn fetch(
    services: &Services,
    pod: &Pod,
    container: &Container,
) -> Result<Sources, ConfigError> {
    let wanted = process::references(container);
    let mut sources = Sources {
        services: links(services, pod).await?,
        ..Sources::default()
    };
    let failed = |error: StatusError| ConfigError(error.to_string());
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let api = &services.api;
    for name in wanted.config_maps {
        let fetched = api::get::<ConfigMap>(api, Resource::CONFIG_MAPS, namespace, &name).await;
        if let Some(held) = fetched.map_err(failed)? {
            sources.config_maps.insert(name, (*held).clone());
        }
    }
    for name in wanted.secrets {
        let fetched = api::get::<Secret>(api, Resource::SECRETS, namespace, &name).await;
        if let Some(held) = fetched.map_err(failed)? {
            sources.secrets.insert(name, (*held).clone());
        }
    }
    Ok(sources)
}

/// The variables of services, once these are known.
async fn links(services: &Services, pod: &Pod) -> Result<Vec<(String, String)>, ConfigError> {
    let directory = &services.directory;
    // A pod of the node's own runs without a server, so it waits for none.
    if directory.read().known() == Known::Parts && !statics::is_static(pod) {
        let mut changes = directory.subscribe();
        let known = async { while changes.next().await.known == Known::Parts {} };
        if tokio::time::timeout(SERVICES_LIMIT, known).await.is_err() {
            return Err(ConfigError(
                "services have not yet been read at least once, cannot construct envvars"
                    .to_string(),
            ));
        }
    }
    let held = directory.read();
    let records = held
        .iter()
        .filter_map(|(_, entry)| entry.service.as_deref());
    Ok(process::links(pod, records))
}
