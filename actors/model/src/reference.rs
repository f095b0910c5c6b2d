//! References from one object to another: owners (Kubernetes, "Owners and Dependents") and the
//! objects that events are about.

use crate::kind::{self, Kind};
use crate::object::Stored;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// The reference by which a dependent names `owner`, an object of `kind`. With `controller`, the
/// owner manages the dependent and cannot be deleted in the foreground before it.
pub fn owner_reference(owner: &ObjectMeta, kind: &Kind, controller: bool) -> OwnerReference {
    OwnerReference {
        api_version: kind.api_version(),
        kind: kind.names.kind.to_string(),
        name: owner.name.clone().unwrap_or_default(),
        uid: owner.uid.clone().unwrap_or_default(),
        controller: controller.then_some(true),
        block_owner_deletion: controller.then_some(true),
    }
}

/// The owner that manages an object.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .iter()
        .flatten()
        .find(|o| o.controller == Some(true))
}

/// Whether the object with this uid manages the object.
pub fn is_controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    controller_of(meta).is_some_and(|o| o.uid == uid)
}

/// A reference to an object, for an event about it.
pub fn object_reference(object: &Stored) -> ObjectReference {
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_string());
    let kind = kind::of(&object.key.resource);
    ObjectReference {
        api_version: kind.map(Kind::api_version),
        kind: kind.map(|k| k.names.kind.to_string()),
        namespace: filled(&object.key.namespace),
        name: filled(&object.key.name),
        uid: filled(&object.uid),
        resource_version: (object.revision > 0).then(|| object.revision.to_string()),
        field_path: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{ObjectKey, Resource};

    fn meta(name: &str, uid: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_string()),
            uid: Some(uid.to_string()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn an_object_has_many_owners_and_one_controller() {
        let kind = kind::by_name("rs").expect("served");
        let mut dependent = meta("pod", "p");
        assert_eq!(controller_of(&dependent), None);
        dependent.owner_references = Some(vec![
            owner_reference(&meta("other", "o"), kind, false),
            owner_reference(&meta("web", "w"), kind, true),
        ]);
        let controller = controller_of(&dependent).expect("has one");
        assert_eq!(
            (controller.api_version.as_str(), controller.kind.as_str()),
            ("apps/v1", "ReplicaSet")
        );
        assert_eq!(controller.name, "web");
        assert!(is_controlled_by(&dependent, "w") && !is_controlled_by(&dependent, "o"));
    }

    #[test]
    fn a_reference_says_what_the_object_is() {
        let key = ObjectKey::new(Resource::NODES, "", "n1");
        let reference = object_reference(&Stored::new(key, "u".into(), 7, "{}".into()));
        assert_eq!(reference.kind.as_deref(), Some("Node"));
        assert_eq!(
            (reference.namespace, reference.resource_version.as_deref()),
            (None, Some("7"))
        );
    }
}
