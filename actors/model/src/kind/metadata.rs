//! The rules of `metadata`, which are the same for every kind (Kubernetes, "ObjectMeta", "Labels
//! and Selectors", "Annotations", "Finalizers", "Owners and Dependents"). The name itself is
//! checked by [`KindRules::validate_name`](super::KindRules::validate_name).

use super::path::Path;
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    ManagedFieldsEntry, ObjectMeta, OwnerReference,
};
use std::collections::BTreeMap;

/// All keys and values of an object's annotations together, in bytes.
const ANNOTATIONS_BYTES: usize = 256 << 10;
/// The finalizers that need no domain.
const STANDARD_FINALIZERS: &[&str] = &["kubernetes", ORPHAN, FOREGROUND];
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
/// A field manager's name, in bytes.
const MANAGER_BYTES: usize = 128;

/// Everything that is wrong with an object's metadata, apart from its name.
pub fn validate_metadata(meta: &ObjectMeta, namespaced: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    let path = Path::Root("metadata");
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    match (namespaced, namespace) {
        (true, "") => causes.push(Cause::required(path.child("namespace"), "")),
        (true, name) => path
            .child("namespace")
            .check(name, syntax::dns_label(name), &mut causes),
        (false, "") => {}
        (false, _) => {
            causes.push(Cause::forbidden(
                path.child("namespace"),
                "not allowed on this type",
            ));
        }
    }
    if let Some(generation) = meta.generation.filter(|g| *g < 0) {
        let why = "must be greater than or equal to 0";
        causes.push(Cause::invalid(path.child("generation"), generation, why));
    }
    validate_labels(meta.labels.as_ref(), &path.child("labels"), &mut causes);
    validate_annotations(
        meta.annotations.as_ref(),
        &path.child("annotations"),
        &mut causes,
    );
    owners(
        meta.owner_references.as_deref().unwrap_or_default(),
        &path,
        &mut causes,
    );
    finalizers(
        meta.finalizers.as_deref().unwrap_or_default(),
        &path,
        &mut causes,
    );
    managed_fields(
        meta.managed_fields.as_deref().unwrap_or_default(),
        &path,
        &mut causes,
    );
    causes
}

/// Everything that is wrong with labels, at `path`.
pub fn validate_labels(
    labels: Option<&BTreeMap<String, String>>,
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    for (key, value) in labels.into_iter().flatten() {
        path.check(key, syntax::qualified_name(key), causes);
        path.check(value, syntax::label_value(value), causes);
    }
}

/// Everything that is wrong with annotations, at `path`.
pub fn validate_annotations(
    annotations: Option<&BTreeMap<String, String>>,
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    let mut total = 0;
    for (key, value) in annotations.into_iter().flatten() {
        // The letters' case does not matter in the keys of annotations.
        path.check(key, syntax::qualified_name(&key.to_lowercase()), causes);
        total += key.len() + value.len();
    }
    if total > ANNOTATIONS_BYTES {
        causes.push(Cause::too_long(path, ANNOTATIONS_BYTES));
    }
}

fn owners(owners: &[OwnerReference], path: &Path, causes: &mut Vec<Cause>) {
    let path = path.child("ownerReferences");
    let mut controller: Option<String> = None;
    for owner in owners {
        let version = owner
            .api_version
            .split_once('/')
            .map_or(&*owner.api_version, |v| v.1);
        let fields = [
            (
                "apiVersion",
                version,
                &owner.api_version,
                "version must not be empty",
            ),
            ("kind", &owner.kind, &owner.kind, "must not be empty"),
            ("name", &owner.name, &owner.name, "must not be empty"),
            ("uid", &owner.uid, &owner.uid, "must not be empty"),
        ];
        for (field, part, value, why) in fields {
            if part.is_empty() {
                causes.push(Cause::invalid(path.child(field), value, why));
            }
        }
        if owner.api_version == "v1" && owner.kind == "Event" {
            let why = "/v1, Kind=Event is disallowed from being an owner";
            causes.push(Cause::invalid(path, owner, why));
        }
        if owner.controller != Some(true) {
            continue;
        }
        let this = format!("{}/{}", owner.kind, owner.name);
        match &controller {
            None => controller = Some(this),
            Some(first) => {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                );
                causes.push(Cause::invalid(path, owners, &why));
            }
        }
    }
}

fn finalizers(finalizers: &[String], path: &Path, causes: &mut Vec<Cause>) {
    let path = path.child("finalizers");
    for (index, finalizer) in finalizers.iter().enumerate() {
        let malformed = syntax::qualified_name(finalizer);
        if malformed.is_none()
            && !finalizer.contains('/')
            && !STANDARD_FINALIZERS.contains(&&**finalizer)
        {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid(path.index(index), finalizer, why));
        }
        path.check(finalizer, malformed, causes);
    }
    let has = |name: &str| finalizers.iter().any(|f| f == name);
    if has(ORPHAN) && has(FOREGROUND) {
        let why = format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set");
        causes.push(Cause::invalid(path, finalizers, &why));
    }
}

fn managed_fields(entries: &[ManagedFieldsEntry], path: &Path, causes: &mut Vec<Cause>) {
    let path = path.child("managedFields");
    for (index, entry) in entries.iter().enumerate() {
        let path = path.index(index);
        let operation = entry.operation.as_deref().unwrap_or_default();
        if !matches!(operation, "Apply" | "Update") {
            let why = "must be `Apply` or `Update`";
            causes.push(Cause::invalid(path.child("operation"), operation, why));
        }
        let fields_type = entry.fields_type.as_deref().unwrap_or_default();
        if !matches!(fields_type, "" | "FieldsV1") {
            causes.push(Cause::invalid(
                path.child("fieldsType"),
                fields_type,
                "must be `FieldsV1`",
            ));
        }
        if entry
            .manager
            .as_ref()
            .is_some_and(|m| m.len() > MANAGER_BYTES)
        {
            causes.push(Cause::too_long(path.child("manager"), MANAGER_BYTES));
        }
    }
}

#[cfg(test)]
mod tests;
