//! The ServiceAccount `default` of every namespace (Kubernetes, "Service Accounts").

use crate::reconciler::{Outcome, Reconciler};
use crate::requests;
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::core::v1::ServiceAccount;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored};

const DEFAULT: &str = "default";

/// The core of the ServiceAccount controller.
pub(crate) struct ServiceAccounts;

impl Reconciler for ServiceAccounts {
    fn name(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Resource::NAMESPACES, Resource::SERVICE_ACCOUNTS]
    }

    fn keys(
        &self,
        _view: &dyn View,
        object: &Stored,
        _previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        match object.key.resource == Resource::NAMESPACES {
            true if !removed => vec![object.key.clone()],
            false if removed && &*object.key.name == DEFAULT => {
                vec![requests::namespace_key(&object.key.namespace)]
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, _now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        let account = ObjectKey::new(Resource::SERVICE_ACCOUNTS, &key.name, DEFAULT);
        let active = view
            .get(key)
            .is_some_and(|n| n.meta().deletion_timestamp.is_none());
        if active && view.get(&account).is_none() {
            let mut object = ServiceAccount::default();
            object.metadata.name = Some(DEFAULT.to_string());
            object.metadata.namespace = Some(key.name.to_string());
            outcome.request(requests::create(
                Resource::SERVICE_ACCOUNTS,
                &key.name,
                &object,
            ));
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use serde_json::json;

    #[test]
    fn every_active_namespace_has_a_default_account_that_comes_back() {
        let mut world = World::new(vec![Box::new(ServiceAccounts)]);
        world
            .create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
        world.settle();
        let key = ObjectKey::new(Resource::SERVICE_ACCOUNTS, "shop", "default");
        let first = world.view().get(&key).expect("made").uid.clone();
        world.remove(&key);
        world.settle();
        assert_ne!(world.view().get(&key).expect("made again").uid, first);
    }
}
