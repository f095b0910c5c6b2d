//! `downwardAPI` and `projected` volumes.

use super::{Cause, Path, env, file_path, keys, mode, refuse, unsupported};
use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, ProjectedVolumeSource, ServiceAccountTokenProjection, VolumeProjection,
};
use std::collections::HashSet;

/// The fields of a pod that a file can hold: those that do not depend on where it runs.
const FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
/// Shorter-lived tokens would be renewed all the time.
const MIN_TOKEN_LIFE_S: i64 = 600;
const MAX_TOKEN_LIFE_S: i64 = 1 << 32;

pub(super) fn downward(items: &[DownwardAPIVolumeFile], path: &Path, causes: &mut Vec<Cause>) {
    for (index, item) in items.iter().enumerate() {
        let path = path.index(index);
        file_path(&item.path, &path.child("path"), causes);
        match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), other) => {
                env::field_ref(field, FIELDS, &path.child("fieldRef"), causes);
                if other.is_some() {
                    let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                    causes.push(Cause::invalid(path, "resource", why));
                }
            }
            (None, Some(resource)) => {
                let at = path.child("resourceFieldRef");
                let name = resource.container_name.as_deref().unwrap_or_default();
                if name.is_empty() {
                    causes.push(Cause::required(at.child("containerName"), ""));
                }
                env::resource_ref(resource, &at, causes);
            }
            (None, None) => {
                let why = "one of fieldRef and resourceFieldRef is required";
                causes.push(Cause::required(path, why));
            }
        }
        mode(item.mode, &path.child("mode"), causes);
        refuse(unsupported::DOWNWARD_FILE, item, &path, causes);
    }
}

pub(super) fn validate(source: &ProjectedVolumeSource, path: &Path, causes: &mut Vec<Cause>) {
    mode(source.default_mode, &path.child("defaultMode"), causes);
    refuse(unsupported::PROJECTED, source, path, causes);
    let mut paths = HashSet::new();
    let sources = path.child("sources");
    for (index, source) in source.sources.iter().flatten().enumerate() {
        projection(source, &sources.index(index), causes);
        for file in file_paths(source) {
            if !file.is_empty() && !paths.insert(file) {
                causes.push(Cause::invalid(path, file, "conflicting duplicate paths"));
            }
        }
    }
}

/// The paths that a source names; those of whole objects are not known here.
fn file_paths(source: &VolumeProjection) -> impl Iterator<Item = &str> {
    let secret = source.secret.iter().flat_map(|s| s.items.iter().flatten());
    let map = source.config_map.iter();
    let map = map.flat_map(|s| s.items.iter().flatten());
    let downward = source.downward_api.iter();
    let downward = downward.flat_map(|s| s.items.iter().flatten());
    let token = source.service_account_token.iter().map(|t| &*t.path);
    let keys = secret.chain(map).map(|item| &*item.path);
    keys.chain(downward.map(|item| &*item.path)).chain(token)
}

fn projection(source: &VolumeProjection, path: &Path, causes: &mut Vec<Cause>) {
    let mut kinds = unsupported::PROJECTION
        .iter()
        .filter(|(_, set)| set(source))
        .count();
    let mut first = |kind: &'static str, causes: &mut Vec<Cause>| {
        kinds += 1;
        if kinds > 1 {
            let why = "may not specify more than 1 volume type";
            causes.push(Cause::forbidden(path.child(kind), why));
        }
        kinds == 1
    };
    let named = |name: &str, path: &Path, causes: &mut Vec<Cause>| {
        if name.is_empty() {
            causes.push(Cause::required(path.child("name"), ""));
        }
    };
    if let Some(secret) = &source.secret
        && first("secret", causes)
    {
        let path = path.child("secret");
        named(&secret.name, &path, causes);
        keys(secret.items.as_deref(), &path.child("items"), causes);
    }
    if let Some(map) = &source.config_map
        && first("configMap", causes)
    {
        let path = path.child("configMap");
        named(&map.name, &path, causes);
        keys(map.items.as_deref(), &path.child("items"), causes);
    }
    if let Some(source) = &source.downward_api
        && first("downwardAPI", causes)
    {
        let items = source.items.as_deref().unwrap_or_default();
        downward(items, &path.child("downwardAPI").child("items"), causes);
    }
    if let Some(wanted) = &source.service_account_token
        && first("serviceAccountToken", causes)
    {
        token(wanted, &path.child("serviceAccountToken"), causes);
    }
    if kinds == 0 {
        causes.push(Cause::required(path, "must specify a volume source"));
    }
    refuse(unsupported::PROJECTION, source, path, causes);
}

fn token(wanted: &ServiceAccountTokenProjection, path: &Path, causes: &mut Vec<Cause>) {
    if let Some(seconds) = wanted.expiration_seconds {
        let why = match seconds {
            s if s < MIN_TOKEN_LIFE_S => Some("may not specify a duration less than 10 minutes"),
            s if s > MAX_TOKEN_LIFE_S => {
                Some("may not specify a duration larger than 2^32 seconds")
            }
            _ => None,
        };
        if let Some(why) = why {
            causes.push(Cause::invalid(
                path.child("expirationSeconds"),
                seconds,
                why,
            ));
        }
    }
    file_path(&wanted.path, &path.child("path"), causes);
    refuse(unsupported::TOKEN, wanted, path, causes);
}
