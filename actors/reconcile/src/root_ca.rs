//! The ConfigMap `kube-root-ca.crt` of every namespace: the certificates by which pods know the API
//! (Kubernetes, "root CA certificate publisher"). They follow the cluster's own CA when it changes.

use crate::reconciler::{Outcome, Reconciler};
use crate::requests;
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored};
use serde_json::json;
use std::collections::BTreeMap;

const NAME: &str = "kube-root-ca.crt";
const KEY: &str = "ca.crt";
/// The Secret with everything that the cluster trusts: namespace, name, key.
const SOURCE: (&str, &str, &str) = ("kube-system", "kabuki-ca", "bundle.crt");

/// The core of the publisher.
pub(crate) struct RootCa;

fn source_key() -> ObjectKey {
    ObjectKey::new(Resource::SECRETS, SOURCE.0, SOURCE.1)
}

/// The certificates in PEM; `None` before the cluster has any.
fn bundle(view: &dyn View) -> Option<String> {
    let secret = view.get(&source_key())?.typed::<Secret>().ok()?;
    let bytes = secret.data.as_ref()?.get(SOURCE.2)?;
    String::from_utf8(bytes.0.clone()).ok()
}

impl Reconciler for RootCa {
    fn name(&self) -> &'static str {
        "root-ca-certificate-publisher-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![
            Resource::NAMESPACES,
            Resource::CONFIG_MAPS,
            Resource::SECRETS,
        ]
    }

    fn selects(&self, resource: &Resource) -> String {
        match resource.as_str() {
            "configmaps" => format!("metadata.name={NAME}"),
            "secrets" => {
                let (namespace, name, _) = SOURCE;
                format!("metadata.namespace={namespace},metadata.name={name}")
            }
            _ => String::new(),
        }
    }

    fn keys(
        &self,
        view: &dyn View,
        object: &Stored,
        _previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        let key = &object.key;
        if key.resource == Resource::NAMESPACES {
            return match removed {
                true => Vec::new(),
                false => vec![key.clone()],
            };
        }
        if key.resource == Resource::CONFIG_MAPS {
            return match *key.name == *NAME {
                true => vec![requests::namespace_key(&key.namespace)],
                false => Vec::new(),
            };
        }
        if *key != source_key() {
            return Vec::new();
        }
        let all = view.scan(&Resource::NAMESPACES, None, None);
        all.map(|namespace| namespace.key.clone()).collect()
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, _now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        let active = view
            .get(key)
            .is_some_and(|n| n.meta().deletion_timestamp.is_none());
        let Some(bundle) = bundle(view).filter(|_| active) else {
            return outcome;
        };
        let own = ObjectKey::new(Resource::CONFIG_MAPS, &key.name, NAME);
        let data = BTreeMap::from([(KEY.to_string(), bundle)]);
        match view.get(&own) {
            None => {
                let mut object = ConfigMap {
                    data: Some(data),
                    ..ConfigMap::default()
                };
                object.metadata.name = Some(NAME.to_string());
                object.metadata.namespace = Some(key.name.to_string());
                let why = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";
                object.metadata.annotations =
                    Some([("kubernetes.io/description".to_string(), why.to_string())].into());
                outcome.request(requests::create(Resource::CONFIG_MAPS, &key.name, &object));
            }
            Some(held) => {
                let same = held
                    .typed::<ConfigMap>()
                    .is_ok_and(|m| m.data.as_ref() == Some(&data));
                if !same {
                    let whole = json!({"apiVersion": "v1", "kind": "ConfigMap",
                        "metadata": {"name": NAME, "namespace": &*key.name,
                            "uid": &*held.uid, "resourceVersion": held.revision.to_string(),
                            "annotations": held.meta().annotations, "labels": held.meta().labels},
                        "data": data});
                    outcome.request(requests::replace(held, &whole));
                }
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    fn published(world: &World) -> Option<String> {
        let key = ObjectKey::new(Resource::CONFIG_MAPS, "shop", NAME);
        let held = world.view().get(&key)?.typed::<ConfigMap>().expect("a map");
        held.data.as_ref()?.get(KEY).cloned()
    }

    fn bundle(text: &str) -> serde_json::Value {
        let data = kabuki_model::k8s_openapi::ByteString(text.as_bytes().to_vec());
        json!({"apiVersion": "v1", "kind": "Secret", "data": {SOURCE.2: data},
            "metadata": {"name": SOURCE.1, "namespace": SOURCE.0}})
    }

    #[test]
    fn every_active_namespace_has_the_certificates_and_gets_them_back() {
        let mut world = World::new(vec![Box::new(RootCa)]);
        for name in ["shop", SOURCE.0] {
            world.create(
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
            );
        }
        world.settle();
        assert_eq!(published(&world), None, "there is nothing to publish");
        world.create(bundle("one"));
        world.settle();
        assert_eq!(published(&world).as_deref(), Some("one"));
        world.remove(&ObjectKey::new(Resource::CONFIG_MAPS, "shop", NAME));
        world.settle();
        assert_eq!(published(&world).as_deref(), Some("one"));
        world.remove(&source_key());
        world.create(bundle("two"));
        world.settle();
        assert_eq!(published(&world).as_deref(), Some("two"));
    }
}
