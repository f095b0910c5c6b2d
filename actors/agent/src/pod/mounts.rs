//! What is mounted into a container: its volumes, the files in `/etc`, its message file.

use super::plan::{Ingredients, text};
use super::{container, sandbox};
use crate::volume;
use k8s_openapi::api::core::v1::VolumeMount;
use kabuki_lifecycle::process::{ConfigError, Environment, expand};
use kabuki_runtime::{Mount, MountKind, Propagation};

/// Where a container leaves its last words when the manifest does not say.
const MESSAGE_PATH: &str = "/dev/termination-log";

/// All mounts, outer ones before those inside them.
///
/// # Errors
/// When a mount names a volume or an option that there is not.
pub(super) fn of(from: &Ingredients<'_>, env: &Environment) -> Result<Vec<Mount>, ConfigError> {
    let mut mounts = Vec::new();
    for wanted in from.container.volume_mounts.iter().flatten() {
        mounts.push(one(from, wanted, env)?);
    }
    if from
        .container
        .volume_devices
        .as_ref()
        .is_some_and(|d| !d.is_empty())
    {
        return Err(ConfigError("volumeDevices are not supported".to_string()));
    }
    let taken = |mounts: &[Mount], path: &str| mounts.iter().any(|m| m.destination == path);
    let etc = sandbox::etc(from.services, from.entry);
    for name in ["hosts", "hostname", "resolv.conf"] {
        let path = format!("/etc/{name}");
        if !taken(&mounts, &path) {
            mounts.push(Mount::bind(text(&etc.join(name)), path, false));
        }
    }
    let message = from
        .container
        .termination_message_path
        .as_deref()
        .unwrap_or(MESSAGE_PATH);
    if !taken(&mounts, message) {
        let file = container::message_file(from.services, from.entry, from.instance);
        mounts.push(Mount::bind(text(&file), message, false));
    }
    mounts.sort_by_key(|m| m.destination.matches('/').count());
    Ok(mounts)
}

fn one(
    from: &Ingredients<'_>,
    wanted: &VolumeMount,
    env: &Environment,
) -> Result<Mount, ConfigError> {
    let spec = from.pod.spec.as_ref();
    let volumes = spec.and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    let name = &wanted.name;
    let found = volumes.iter().find(|v| v.name == *name);
    let found =
        found.ok_or_else(|| ConfigError(format!("volume {name:?} is not in the manifest")))?;
    let place = volume::place(from.services, &from.entry.uid, found);
    let place = place.map_err(|error| ConfigError(error.to_string()))?;
    let sub_path = match (wanted.sub_path.as_deref(), wanted.sub_path_expr.as_deref()) {
        (None | Some(""), Some(expr)) if !expr.is_empty() => {
            let path = expand(expr, |name| env.declared(name));
            if path.contains("$(") {
                return Err(ConfigError(format!(
                    "missing value for subPathExpr {expr:?}"
                )));
            }
            Some(path)
        }
        (path, _) => path.filter(|p| !p.is_empty()).map(str::to_string),
    };
    let propagation = match wanted.mount_propagation.as_deref() {
        None | Some("None") => Propagation::None,
        Some("HostToContainer") => Propagation::HostToContainer,
        Some(other) => {
            return Err(ConfigError(format!(
                "mountPropagation {other} is not supported"
            )));
        }
    };
    let readonly = wanted.read_only == Some(true) || place.readonly;
    let recursive = wanted.recursive_read_only.as_deref();
    Ok(Mount {
        destination: wanted.mount_path.trim_end_matches('/').to_string(),
        kind: MountKind::Bind {
            source: text(&place.path),
            sub_path,
            propagation,
            recursive_readonly: readonly && matches!(recursive, Some("Enabled" | "IfPossible")),
        },
        readonly,
    })
}
