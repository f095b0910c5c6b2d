//! Which objects a container's environment and a pod's volumes refer to, so that the agent can
//! fetch them before.

use k8s_openapi::api::core::v1::Container;
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
    /// Adds what `other` refers to.
    pub fn extend(&mut self, other: Self) {
        self.config_maps.extend(other.config_maps);
        self.secrets.extend(other.secrets);
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
