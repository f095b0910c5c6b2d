//! The pods that a ReplicaSet makes.

use crate::generated::{SUFFIX_LENGTH, suffix};
use crate::ownership::Claimant;
use kabuki_model::k8s_openapi::api::apps::v1::ReplicaSet;
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kabuki_model::view::View;
use kabuki_model::{LabelSelector, ObjectKey, Resource, Stored};

/// Room for a suffix in a name of 63 characters.
const MAX_PREFIX: usize = 63 - SUFFIX_LENGTH;

/// The next `count` pods, with their names.
pub(super) fn pods(
    view: &dyn View,
    stored: &Stored,
    set: &ReplicaSet,
    count: usize,
) -> Vec<(String, Pod)> {
    let template = pod(stored, set);
    let prefix = template.metadata.generate_name.clone().unwrap_or_default();
    let mut made: Vec<(String, Pod)> = Vec::with_capacity(count);
    let mut names = std::collections::BTreeSet::new();
    let mut attempt = 0;
    while made.len() < count {
        let name = format!("{prefix}{}", suffix(stored, attempt));
        attempt += 1;
        let key = ObjectKey::new(Resource::PODS, &stored.key.namespace, &name);
        if view.get(&key).is_some() || !names.insert(name.clone()) {
            continue;
        }
        let mut pod = template.clone();
        pod.metadata.name = Some(name.clone());
        made.push((name, pod));
    }
    made
}

fn pod(stored: &Stored, set: &ReplicaSet) -> Pod {
    let template = set.spec.template.clone().unwrap_or_default();
    let given = template.metadata.unwrap_or_default();
    let selector = LabelSelector::nothing();
    let owner = Claimant {
        stored,
        api_version: "apps/v1",
        kind: "ReplicaSet",
        selector: &selector,
    };
    let mut prefix = format!("{}-", stored.key.name);
    // Names of ReplicaSets are ASCII, so every index is a boundary of characters.
    prefix.truncate(MAX_PREFIX);
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix),
            namespace: Some(stored.key.namespace.to_string()),
            labels: given.labels,
            annotations: given.annotations,
            finalizers: given.finalizers,
            owner_references: Some(vec![owner.reference()]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
