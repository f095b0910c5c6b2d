//! What of the API a pod refers to: a pod that a node runs by itself may refer to nothing.

use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};

/// The plural of the first kind of object that a spec refers to.
pub fn referenced(spec: &PodSpec) -> Option<&'static str> {
    let text = |field: &Option<String>| field.as_ref().is_some_and(|f| !f.is_empty());
    if text(&spec.service_account_name) || text(&spec.service_account) {
        return Some("serviceaccounts");
    }
    if spec.image_pull_secrets.iter().flatten().next().is_some() {
        return Some("secrets");
    }
    if spec.resource_claims.iter().flatten().next().is_some() {
        return Some("resourceclaims");
    }
    let init = spec.init_containers.iter().flatten();
    let mut containers = spec.containers.iter().chain(init);
    let mut volumes = spec.volumes.iter().flatten();
    containers
        .find_map(of_container)
        .or_else(|| volumes.find_map(of_volume))
}

fn of_container(container: &Container) -> Option<&'static str> {
    let all = container.env_from.iter().flatten();
    let all = all.map(|s| (s.config_map_ref.is_some(), s.secret_ref.is_some()));
    let one = container.env.iter().flatten();
    let one = one.filter_map(|v| v.value_from.as_ref());
    let one = one.map(|s| (s.config_map_key_ref.is_some(), s.secret_key_ref.is_some()));
    all.chain(one).find_map(|refers| match refers {
        (true, _) => Some("configmaps"),
        (_, true) => Some("secrets"),
        _ => None,
    })
}

fn of_volume(volume: &Volume) -> Option<&'static str> {
    if volume.config_map.is_some() {
        return Some("configmaps");
    }
    if volume.secret.is_some() {
        return Some("secrets");
    }
    if volume.persistent_volume_claim.is_some() {
        return Some("persistentvolumeclaims");
    }
    let projected = volume.projected.as_ref()?;
    projected.sources.iter().flatten().find_map(|source| {
        let kinds = [
            (source.config_map.is_some(), "configmaps"),
            (source.secret.is_some(), "secrets"),
            (source.service_account_token.is_some(), "serviceaccounts"),
            (source.cluster_trust_bundle.is_some(), "clustertrustbundles"),
        ];
        let refers = kinds.into_iter().find(|(refers, _)| *refers);
        refers.map(|(_, kind)| kind)
    })
}
