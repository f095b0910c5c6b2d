//! Volumes, and where containers mount them.

mod projected;

use super::super::super::path::Path;
use super::super::unsupported::{self, refuse};
use super::{descending, env, no_backsteps, resources};
use crate::quantity::Quantity;
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::{Container, EmptyDirVolumeSource, KeyToPath, Volume, VolumeMount};
use std::collections::HashSet;

/// The names of the volumes that are well formed.
pub(super) type Volumes<'a> = HashSet<&'a str>;

const HOST_PATH_TYPES: &[&str] = &[
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

pub(super) fn volumes<'a>(
    volumes: &'a [Volume],
    path: &Path,
    causes: &mut Vec<Cause>,
) -> Volumes<'a> {
    let path = path.child("volumes");
    let mut names = Volumes::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        let found = causes.len();
        sources(volume, &path, causes);
        let at = path.child("name");
        match &*volume.name {
            "" => causes.push(Cause::required(at, "")),
            name => at.check(name, syntax::dns_label(name), causes),
        }
        if names.contains(&*volume.name) {
            causes.push(Cause::duplicate(at, &volume.name));
        }
        let malformed = causes.len() > found;
        refuse(unsupported::VOLUME, volume, &path, causes);
        if !malformed {
            names.insert(&*volume.name);
        }
    }
    names
}

/// Exactly one source, and a good one.
fn sources(volume: &Volume, path: &Path, causes: &mut Vec<Cause>) {
    let mut kinds = unsupported::VOLUME
        .iter()
        .filter(|(_, set)| set(volume))
        .count();
    let mut first = |kind: &'static str, causes: &mut Vec<Cause>| {
        kinds += 1;
        if kinds > 1 {
            let why = "may not specify more than 1 volume type";
            causes.push(Cause::forbidden(path.child(kind), why));
        }
        kinds == 1
    };
    if let Some(source) = &volume.empty_dir
        && first("emptyDir", causes)
    {
        empty_dir(source, &path.child("emptyDir"), causes);
    }
    if let Some(source) = &volume.host_path
        && first("hostPath", causes)
    {
        host_path(
            &source.path,
            source.type_.as_deref(),
            &path.child("hostPath"),
            causes,
        );
    }
    if let Some(source) = &volume.secret
        && first("secret", causes)
    {
        let path = path.child("secret");
        if source.secret_name.as_deref().unwrap_or_default().is_empty() {
            causes.push(Cause::required(path.child("secretName"), ""));
        }
        files(source.default_mode, source.items.as_deref(), &path, causes);
        refuse(unsupported::SECRET, source, &path, causes);
    }
    if let Some(source) = &volume.config_map
        && first("configMap", causes)
    {
        let path = path.child("configMap");
        if source.name.is_empty() {
            causes.push(Cause::required(path.child("name"), ""));
        }
        files(source.default_mode, source.items.as_deref(), &path, causes);
        refuse(unsupported::CONFIG_MAP, source, &path, causes);
    }
    if let Some(source) = &volume.downward_api
        && first("downwardAPI", causes)
    {
        let path = path.child("downwardAPI");
        mode(source.default_mode, &path.child("defaultMode"), causes);
        let items = source.items.as_deref().unwrap_or_default();
        projected::downward(items, &path.child("items"), causes);
        refuse(unsupported::DOWNWARD, source, &path, causes);
    }
    if let Some(source) = &volume.projected
        && first("projected", causes)
    {
        projected::validate(source, &path.child("projected"), causes);
    }
    if kinds == 0 {
        causes.push(Cause::required(path, "must specify a volume type"));
    }
}

fn empty_dir(source: &EmptyDirVolumeSource, path: &Path, causes: &mut Vec<Cause>) {
    let medium = source.medium.as_deref().unwrap_or_default();
    let page = medium.strip_prefix("HugePages-");
    let is_size = |size: &str| size.parse::<Quantity>().is_ok_and(|q| q.value_ceil() > 0);
    if !matches!(medium, "" | "Memory" | "HugePages") && !page.is_some_and(is_size) {
        let known = &["", "HugePages", "HugePages-2Mi", "HugePages-1Gi", "Memory"];
        causes.push(Cause::unsupported(path.child("medium"), medium, known));
    }
    if let Some(written) = &source.size_limit {
        let path = path.child("sizeLimit");
        if resources::quantity(written, &path, causes).is_some_and(|q| q.is_negative()) {
            let why = "SizeLimit field must be a valid resource quantity";
            causes.push(Cause::forbidden(path, why));
        }
    }
    refuse(unsupported::EMPTY_DIR, source, path, causes);
}

fn host_path(value: &str, kind: Option<&str>, path: &Path, causes: &mut Vec<Cause>) {
    if value.is_empty() {
        return causes.push(Cause::required(path.child("path"), ""));
    }
    no_backsteps(value, &path.child("path"), causes);
    if let Some(kind) = kind.filter(|k| !HOST_PATH_TYPES.contains(k)) {
        causes.push(Cause::unsupported(
            path.child("type"),
            kind,
            HOST_PATH_TYPES,
        ));
    }
}

fn files(
    default_mode: Option<i32>,
    items: Option<&[KeyToPath]>,
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    mode(default_mode, &path.child("defaultMode"), causes);
    keys(items, &path.child("items"), causes);
}

/// Which keys become which files.
fn keys(items: Option<&[KeyToPath]>, path: &Path, causes: &mut Vec<Cause>) {
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        let path = path.index(index);
        if item.key.is_empty() {
            causes.push(Cause::required(path.child("key"), ""));
        }
        file_path(&item.path, &path.child("path"), causes);
        mode(item.mode, &path.child("mode"), causes);
        refuse(unsupported::ITEM, item, &path, causes);
    }
}

/// The path of a file in a volume: inside of it, and no name that the volume itself uses.
fn file_path(value: &str, path: &Path, causes: &mut Vec<Cause>) {
    if value.is_empty() {
        causes.push(Cause::required(path, ""));
    }
    descending(value, path, causes);
    if value.starts_with("..") && !value.split('/').any(|p| p == "..") {
        causes.push(Cause::invalid(path, value, "must not start with '..'"));
    }
}

fn mode(mode: Option<i32>, path: &Path, causes: &mut Vec<Cause>) {
    if let Some(mode) = mode.filter(|m| !(0..=0o777).contains(m)) {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        causes.push(Cause::invalid(path, mode, why));
    }
}

pub(super) fn mounts(
    container: &Container,
    volumes: &Volumes,
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    let mut places = HashSet::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let item = path.index(index);
        if mount.name.is_empty() {
            causes.push(Cause::required(item.child("name"), ""));
        }
        if !volumes.contains(&*mount.name) {
            causes.push(Cause::not_found(item.child("name"), &mount.name));
        }
        if mount.mount_path.is_empty() {
            causes.push(Cause::required(item.child("mountPath"), ""));
        }
        if !places.insert(&mount.mount_path) {
            causes.push(Cause::invalid(
                item.child("mountPath"),
                &mount.mount_path,
                "must be unique",
            ));
        }
        if let Some(sub_path) = mount.sub_path.as_deref().filter(|p| !p.is_empty()) {
            // Kubernetes leaves the index out of these three paths.
            descending(sub_path, &path.child("subPath"), causes);
        }
        if let Some(expr) = mount.sub_path_expr.as_deref().filter(|e| !e.is_empty()) {
            if mount.sub_path.as_deref().is_some_and(|p| !p.is_empty()) {
                let why = "subPathExpr and subPath are mutually exclusive";
                causes.push(Cause::invalid(path.child("subPathExpr"), expr, why));
            }
            descending(expr, &path.child("subPathExpr"), causes);
        }
        propagation(mount, container, path, causes);
        refuse(unsupported::MOUNT, mount, &item, causes);
    }
}

fn propagation(mount: &VolumeMount, container: &Container, path: &Path, causes: &mut Vec<Cause>) {
    let at = path.child("mountPropagation");
    if let Some(mode) = &mount.mount_propagation {
        at.one_of(
            Some(mode),
            &["Bidirectional", "HostToContainer", "None"],
            causes,
        );
        let privileged = container
            .security_context
            .as_ref()
            .and_then(|c| c.privileged);
        if mode == "Bidirectional" && privileged != Some(true) {
            let why = "Bidirectional mount propagation is available only to privileged containers";
            causes.push(Cause::forbidden(at, why));
        }
    }
    let at = path.child("recursiveReadOnly");
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.read_only != Some(true) {
                causes.push(Cause::forbidden(
                    at,
                    "may only be specified when readOnly is true",
                ));
            }
            if mount
                .mount_propagation
                .as_deref()
                .is_some_and(|p| p != "None")
            {
                let why = "may only be specified when mountPropagation is None or not specified";
                causes.push(Cause::forbidden(at, why));
            }
        }
        Some(other) => {
            let allowed = &["Disabled", "Enabled", "IfPossible"];
            causes.push(Cause::unsupported(at, other, allowed));
        }
    }
}
