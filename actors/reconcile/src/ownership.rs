//! Who controls what: controller references, adoption of orphans that a selector matches, and
//! the release of what it no longer matches (Kubernetes, "Owners and Dependents").

use crate::reconciler::Outcome;
use crate::requests;
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
pub(crate) use kabuki_model::reference::controller_of;
use kabuki_model::view::{Index, View};
use kabuki_model::{LabelSelector, ObjectKey, Resource, Stored};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The key of an object's controller, when it is of the given kind.
pub(crate) fn controller_key(
    object: &Stored,
    kind: &str,
    resource: &Resource,
) -> Option<ObjectKey> {
    let owner = controller_of(object.meta()).filter(|o| o.kind == kind)?;
    Some(ObjectKey::new(
        resource.clone(),
        &object.key.namespace,
        &owner.name,
    ))
}

/// A controller that claims objects.
pub(crate) struct Claimant<'a> {
    /// The controller.
    pub stored: &'a Stored,
    /// `apps/v1`
    pub api_version: &'static str,
    /// `ReplicaSet`
    pub kind: &'static str,
    /// What it selects.
    pub selector: &'a LabelSelector,
}

impl Claimant<'_> {
    /// The reference that makes an object one of the claimant's.
    pub(crate) fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: self.api_version.to_string(),
            kind: self.kind.to_string(),
            name: self.stored.key.name.to_string(),
            uid: self.stored.uid.to_string(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// The objects of `resource` that belong to the claimant. Those that match and have no
    /// controller are adopted, those that no longer match are released.
    pub(crate) fn claim(
        &self,
        view: &dyn View,
        resource: &Resource,
        outcome: &mut Outcome,
    ) -> Vec<Arc<Stored>> {
        let deleting = self.stored.meta().deletion_timestamp.is_some();
        let mut claimed = BTreeMap::new();
        for object in view.indexed(Index::Owner, &self.stored.uid) {
            let ours = controller_of(object.meta()).is_some_and(|o| *o.uid == *self.stored.uid);
            if object.key.resource != *resource || !ours {
                continue;
            }
            if self.selector.matches_meta(object.meta()) {
                claimed.insert(object.key.clone(), object.clone());
            } else if !deleting {
                outcome.request(self.release(object));
            }
        }
        if !deleting {
            let namespace = Some(&*self.stored.key.namespace);
            for object in view.scan(resource, namespace, None) {
                let meta = object.meta();
                let free = controller_of(meta).is_none() && meta.deletion_timestamp.is_none();
                if free && self.selector.matches_meta(meta) {
                    outcome.request(self.adopt(object));
                    claimed.insert(object.key.clone(), object.clone());
                }
            }
        }
        claimed.into_values().collect()
    }

    fn adopt(&self, object: &Stored) -> kabuki_model::request::Request {
        let mut owners = object.meta().owner_references.clone().unwrap_or_default();
        owners.retain(|o| *o.uid != *self.stored.uid);
        owners.push(self.reference());
        requests::patch(object, json!({ "ownerReferences": owners }), None)
    }

    fn release(&self, object: &Stored) -> kabuki_model::request::Request {
        without_owners(object, |o| *o.uid == *self.stored.uid)
    }
}

/// Takes the owners that `gone` names out of an object.
pub(crate) fn without_owners(
    object: &Stored,
    gone: impl Fn(&OwnerReference) -> bool,
) -> kabuki_model::request::Request {
    let mut owners = object.meta().owner_references.clone().unwrap_or_default();
    owners.retain(|o| !gone(o));
    requests::patch(object, json!({ "ownerReferences": owners }), None)
}

/// The keys of the controllers in the object's namespace whose selector matches an orphan.
pub(crate) fn keys_of_matching(
    view: &dyn View,
    resource: &Resource,
    orphan: &Stored,
    selector_of: impl Fn(&Stored) -> Option<LabelSelector>,
) -> Vec<ObjectKey> {
    view.scan(resource, Some(&orphan.key.namespace), None)
        .filter(|owner| {
            selector_of(owner).is_some_and(|s| !s.is_empty() && s.matches_meta(orphan.meta()))
        })
        .map(|owner| owner.key.clone())
        .collect()
}
