//! `v1` `Namespace` (Kubernetes, "Namespaces").

use super::rules::{Column, KindRules, Names};
use crate::printing;
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;

pub(super) struct NamespaceRules;

/// The finalizer that keeps a namespace until it is empty.
const FINALIZER: &str = "kubernetes";
/// The label that lets selectors find a namespace by its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
const ACTIVE: &str = "Active";
const TERMINATING: &str = "Terminating";
/// Finalizers that need no domain in their name.
const STANDARD_FINALIZERS: &[&str] = &[FINALIZER, "orphan", "foregroundDeletion"];

impl KindRules for NamespaceRules {
    type Object = Namespace;

    const NAMES: Names = Names {
        kind: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        short: &["ns"],
        categories: &[],
        group: "",
        version: "v1",
        namespaced: false,
    };
    const HAS_STATUS: bool = true;
    const FIELDS: &'static [&'static str] = &["name", "status.phase"];

    fn default(object: &mut Namespace) {
        let name = object.metadata.name.clone().unwrap_or_default();
        if !name.is_empty() {
            let labels = object.metadata.labels.get_or_insert_default();
            labels.insert(NAME_LABEL.to_string(), name);
        }
    }

    fn prepare_create(object: &mut Namespace) {
        // The name may have been generated since the defaults were set.
        Self::default(object);
        object.status.get_or_insert_default().phase = Some(ACTIVE.to_string());
        let finalizers = object
            .spec
            .get_or_insert_default()
            .finalizers
            .get_or_insert_default();
        if !finalizers.iter().any(|f| f == FINALIZER) {
            finalizers.push(FINALIZER.to_string());
        }
    }

    fn prepare_update(new: &mut Namespace, old: &Namespace) {
        // Only the `finalize` subresource changes them.
        new.spec.get_or_insert_default().finalizers = old.spec.clone().and_then(|s| s.finalizers);
    }

    fn validate(object: &Namespace) -> Vec<Cause> {
        let finalizers = object
            .spec
            .as_ref()
            .and_then(|s| s.finalizers.as_deref())
            .unwrap_or_default();
        let mut causes = Vec::new();
        for name in finalizers {
            if let Some(why) = syntax::qualified_name(name) {
                causes.push(Cause::invalid("spec.finalizers", name, &why));
            } else if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name.as_str()) {
                let why = "name is neither a standard finalizer name nor is it fully qualified";
                causes.push(Cause::invalid("spec.finalizers", name, why));
            }
        }
        causes
    }

    fn validate_status(new: &Namespace, _old: &Namespace) -> Vec<Cause> {
        let phase = phase(new);
        let why = match new.metadata.deletion_timestamp {
            Some(_) if phase != TERMINATING => {
                "may only be 'Terminating' if `deletionTimestamp` is not empty"
            }
            None if phase != ACTIVE => "may only be 'Active' if `deletionTimestamp` is empty",
            _ => return Vec::new(),
        };
        vec![Cause::invalid("status.Phase", phase, why)]
    }

    fn validate_name(name: &str) -> Option<String> {
        syntax::dns_label(name)
    }

    fn mark_deleting(object: &mut Namespace) {
        object.status.get_or_insert_default().phase = Some(TERMINATING.to_string());
    }

    fn deletion_blocked(object: &Namespace) -> bool {
        let finalizers = object.spec.as_ref().and_then(|s| s.finalizers.as_ref());
        finalizers.is_some_and(|f| !f.is_empty())
    }

    fn fields(object: &Namespace) -> Vec<(&'static str, String)> {
        vec![
            ("name", printing::name(&object.metadata)),
            ("status.phase", phase(object).to_string()),
        ]
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::new("NAME"),
            Column::new("STATUS"),
            Column::new("AGE"),
        ];
        COLUMNS
    }

    fn row(object: &Namespace, now: Timestamp) -> Vec<String> {
        vec![
            printing::name(&object.metadata),
            phase(object).to_string(),
            printing::creation_age(&object.metadata, now),
        ]
    }
}

fn phase(object: &Namespace) -> &str {
    object
        .status
        .as_ref()
        .and_then(|s| s.phase.as_deref())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(name: &str) -> Namespace {
        let mut object = Namespace::default();
        object.metadata.name = Some(name.to_string());
        NamespaceRules::default(&mut object);
        NamespaceRules::prepare_create(&mut object);
        object
    }

    #[test]
    fn a_new_namespace_is_active_and_kept_until_it_is_empty() {
        let mut object = created("shop");
        assert_eq!(phase(&object), "Active");
        assert!(NamespaceRules::deletion_blocked(&object));
        assert_eq!(
            object.metadata.labels.as_ref().expect("set")[NAME_LABEL],
            "shop"
        );
        assert!(NamespaceRules::validate(&object).is_empty());
        NamespaceRules::mark_deleting(&mut object);
        assert_eq!(
            NamespaceRules::row(&object, Timestamp::UNIX_EPOCH),
            ["shop", "Terminating", "<unknown>"]
        );
        object.spec = None;
        assert!(!NamespaceRules::deletion_blocked(&object));
    }

    #[test]
    fn an_update_leaves_the_finalizers_alone() {
        let old = created("shop");
        let mut new = Namespace::default();
        NamespaceRules::prepare_update(&mut new, &old);
        assert_eq!(new.spec, old.spec);
    }

    #[test]
    fn the_name_is_a_label() {
        assert!(NamespaceRules::validate_name("a.b").is_some());
        assert!(NamespaceRules::validate_name("a-b").is_none());
    }

    #[test]
    fn the_phase_goes_with_the_deletion() {
        let mut object = created("shop");
        assert!(NamespaceRules::validate_status(&object, &object).is_empty());
        NamespaceRules::mark_deleting(&mut object);
        assert_eq!(NamespaceRules::validate_status(&object, &object).len(), 1);
    }

    #[test]
    fn a_finalizer_needs_a_domain() {
        let mut object = created("shop");
        object.spec.get_or_insert_default().finalizers = Some(vec!["mine".into(), "a.b/c".into()]);
        let causes = NamespaceRules::validate(&object);
        assert_eq!(causes.len(), 1);
        assert!(causes[0].message.contains("\"mine\""));
    }
}
