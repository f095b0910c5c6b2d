//! Which objects a container's environment and a pod's volumes refer to, so that the agent can
//! fetch them before.

use k8s_openapi::api::core::v1::{Container, Pod};
use std::collections::BTreeSet;

/// Names of objects in the pod's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// Config maps.
    pub config_maps: BTreeSet<String>,
    /// Secrets.
    pub secrets: BTreeSet<String>,
}

impl References {
    /// What the pod's volumes refer to.
    pub fn of_volumes(pod: &Pod) -> Self {
        let mut all = Self::default();
        for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
            all.config_maps
                .extend(volume.config_map.as_ref().map(|c| c.name.clone()));
            let secret = volume.secret.as_ref().and_then(|s| s.secret_name.clone());
            all.secrets.extend(secret);
        }
        all
    }
}

/// What the container's environment refers to.
pub fn references(container: &Container) -> References {
    let mut all = References::default();
    for source in container.env_from.iter().flatten() {
        all.config_maps
            .extend(source.config_map_ref.as_ref().map(|r| r.name.clone()));
        all.secrets
            .extend(source.secret_ref.as_ref().map(|r| r.name.clone()));
    }
    for source in container
        .env
        .iter()
        .flatten()
        .filter_map(|e| e.value_from.as_ref())
    {
        all.config_maps
            .extend(source.config_map_key_ref.as_ref().map(|r| r.name.clone()));
        all.secrets
            .extend(source.secret_key_ref.as_ref().map(|r| r.name.clone()));
    }
    all
}
