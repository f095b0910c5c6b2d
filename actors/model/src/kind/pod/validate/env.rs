//! Environment variables and where they come from.

use super::super::super::path::Path;
use super::super::unsupported::{self, refuse};
use super::resources::divisor;
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector,
};

/// The fields of a pod that `fieldRef` shows whole.
const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// The resources of a container that `resourceFieldRef` shows.
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

pub(super) fn variables(variables: &[EnvVar], path: &Path, causes: &mut Vec<Cause>) {
    for (index, variable) in variables.iter().enumerate() {
        let path = path.index(index);
        match &*variable.name {
            "" => causes.push(Cause::required(path.child("name"), "")),
            name => path.child("name").check(name, variable_name(name), causes),
        }
        if let Some(source) = &variable.value_from {
            let has_value = variable.value.as_ref().is_some_and(|v| !v.is_empty());
            value_from(source, has_value, &path.child("valueFrom"), causes);
        }
    }
}

/// Why a text is no name of a variable: anything printable but `=` is one.
fn variable_name(name: &str) -> Option<String> {
    let fits = |c: u8| (b' '..=b'~').contains(&c) && c != b'=';
    (!name.bytes().all(fits)).then(|| {
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
            .to_string()
    })
}

fn value_from(source: &EnvVarSource, has_value: bool, path: &Path, causes: &mut Vec<Cause>) {
    let mut sources = usize::from(source.file_key_ref.is_some());
    if let Some(field) = &source.field_ref {
        sources += 1;
        field_ref(field, FIELDS, &path.child("fieldRef"), causes);
    }
    if let Some(resource) = &source.resource_field_ref {
        sources += 1;
        resource_ref(resource, &path.child("resourceFieldRef"), causes);
    }
    if let Some(key) = &source.config_map_key_ref {
        sources += 1;
        key_ref(&key.name, &key.key, &path.child("configMapKeyRef"), causes);
    }
    if let Some(key) = &source.secret_key_ref {
        sources += 1;
        key_ref(&key.name, &key.key, &path.child("secretKeyRef"), causes);
    }
    if sources == 0 {
        let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
        causes.push(Cause::invalid(path, "", why));
    } else if has_value {
        causes.push(Cause::invalid(
            path,
            "",
            "may not be specified when `value` is not empty",
        ));
    } else if sources > 1 {
        causes.push(Cause::invalid(
            path,
            "",
            "may not have more than one field specified at a time",
        ));
    }
    refuse(unsupported::ENV_SOURCE, source, path, causes);
}

/// A field of the pod, one of `fields`.
pub(super) fn field_ref(
    selector: &ObjectFieldSelector,
    fields: &[&str],
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    let field = &*selector.field_path;
    let version = selector.api_version.as_deref().unwrap_or_default();
    if version.is_empty() {
        return causes.push(Cause::required(path.child("apiVersion"), ""));
    }
    if field.is_empty() {
        return causes.push(Cause::required(path.child("fieldPath"), ""));
    }
    if version != "v1" {
        let why = format!("error converting fieldPath: unsupported pod version: {version}");
        return causes.push(Cause::invalid(path.child("fieldPath"), field, &why));
    }
    let subscript = field.strip_suffix("']").and_then(|f| f.split_once("['"));
    match subscript {
        Some(("metadata.annotations", key)) => {
            path.check(
                &key.to_lowercase(),
                syntax::qualified_name(&key.to_lowercase()),
                causes,
            );
        }
        Some(("metadata.labels", key)) => path.check(key, syntax::qualified_name(key), causes),
        Some((field, _)) => {
            causes.push(Cause::invalid(path, field, "does not support subscript"));
        }
        None if fields.contains(&field) => {}
        // The field is known, but not everything can hold it whole.
        None if FIELDS.contains(&field)
            || matches!(field, "metadata.annotations" | "metadata.labels") =>
        {
            causes.push(Cause::unsupported(path.child("fieldPath"), field, fields));
        }
        None => {
            let why = format!("error converting fieldPath: field label not supported: {field}");
            causes.push(Cause::invalid(path.child("fieldPath"), field, &why));
        }
    }
}

/// A resource of a container.
pub(super) fn resource_ref(selector: &ResourceFieldSelector, path: &Path, causes: &mut Vec<Cause>) {
    let resource = &*selector.resource;
    let huge_pages = ["requests.hugepages-", "limits.hugepages-"];
    if resource.is_empty() {
        causes.push(Cause::required(path.child("resource"), ""));
    } else if !RESOURCES.contains(&resource) && !huge_pages.iter().any(|p| resource.starts_with(p))
    {
        causes.push(Cause::unsupported(
            path.child("resource"),
            resource,
            RESOURCES,
        ));
    }
    if let Some(written) = &selector.divisor {
        divisor(resource, written, &path.child("divisor"), causes);
    }
}

fn key_ref(name: &str, key: &str, path: &Path, causes: &mut Vec<Cause>) {
    path.child("name")
        .check(name, syntax::dns_subdomain(name), causes);
    match key {
        "" => causes.push(Cause::required(path.child("key"), "")),
        key => path
            .child("key")
            .check(key, syntax::config_key(key), causes),
    }
}

pub(super) fn sources(sources: &[EnvFromSource], path: &Path, causes: &mut Vec<Cause>) {
    for (index, source) in sources.iter().enumerate() {
        let item = path.index(index);
        if let Some(prefix) = &source.prefix {
            item.child("prefix")
                .check(prefix, variable_name(prefix), causes);
        }
        let refs = [
            (
                "configMapRef",
                source.config_map_ref.as_ref().map(|r| &*r.name),
            ),
            ("secretRef", source.secret_ref.as_ref().map(|r| &*r.name)),
        ];
        for (field, name) in refs {
            let item = item.child(field);
            match name {
                None => {}
                Some("") => causes.push(Cause::required(item.child("name"), "")),
                Some(name) => item
                    .child("name")
                    .check(name, syntax::dns_subdomain(name), causes),
            }
        }
        match refs.iter().filter(|(_, name)| name.is_some()).count() {
            0 => {
                let why = "must specify one of: `configMapRef` or `secretRef`";
                causes.push(Cause::invalid(path, "", why));
            }
            1 => {}
            _ => {
                let why = "may not have more than one field specified at a time";
                causes.push(Cause::invalid(path, "", why));
            }
        }
    }
}
