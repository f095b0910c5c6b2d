//! Volumes: directories that are made before a pod's containers and go after them.
//!
//! | kind | where |
//! |---|---|
//! | `emptyDir` | the pod's directory; in memory, a tmpfs in the pod's own mount namespace |
//! | `configMap` | the pod's directory |
//! | `secret`, `projected`, `downwardAPI` | the node's run directory, which is in memory: secrets never reach a disk |
//! | `hostPath` | where it says |
//!
//! What the API holds is fetched before the pod's containers are made, and followed for as long as
//! the pod is on the node (`live`).

mod content;
mod host_path;
mod keeper;
mod live;
mod objects;
mod writer;

pub(crate) use keeper::Keeper;
pub(crate) use live::watch as keep;
pub(crate) use objects::Objects;

use crate::services::{PodEntry, Services};
use k8s_openapi::api::core::v1::{PodSpec, Volume};
use kabuki_lifecycle::{Fact, hugepages, volume};
use kabuki_model::Quantity;
use kabuki_runtime::PodMount;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a volume is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error("{0}")]
    Refused(String),
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Api(#[from] kabuki_model::StatusError),
    #[error(transparent)]
    Content(#[from] kabuki_lifecycle::process::ConfigError),
}

/// Where a volume is on the node.
pub(crate) struct Place {
    pub path: PathBuf,
    /// Whether nobody may write to it.
    pub readonly: bool,
}

/// Anyone may write to an `emptyDir`, as Kubernetes has it.
const EMPTY_DIR_MODE: u32 = 0o777;
/// New files inherit the group where the pod has one for its volumes.
const SET_GROUP: u32 = 0o2000;

/// Where a volume is (or will be).
///
/// # Errors
/// When this version does not know the kind of volume.
pub(crate) fn place(services: &Services, uid: &str, volume: &Volume) -> Result<Place, VolumeError> {
    let name = &volume.name;
    let on_disk = services.layout.pod(uid).join("volumes").join(name);
    let in_memory = services.layout.memory_volumes().join(uid).join(name);
    if let Some(empty) = &volume.empty_dir {
        let path = match empty.medium.as_deref() {
            None | Some("") => on_disk,
            Some("Memory") => in_memory,
            Some(medium) if medium.starts_with("HugePages") => in_memory,
            Some(other) => {
                return Err(VolumeError::Refused(format!(
                    "emptyDir medium {other} is not supported"
                )));
            }
        };
        return Ok(Place {
            path,
            readonly: false,
        });
    }
    if volume.config_map.is_some() {
        return Ok(Place {
            path: on_disk,
            readonly: true,
        });
    }
    if volume::shows_api(volume) {
        return Ok(Place {
            path: in_memory,
            readonly: true,
        });
    }
    if let Some(host) = &volume.host_path {
        return Ok(Place {
            path: PathBuf::from(&host.path),
            readonly: false,
        });
    }
    Err(VolumeError::Refused(format!(
        "the kind of volume {name:?} is not supported"
    )))
}

/// The volumes that are file systems in memory: the pod's shim mounts them.
pub(crate) fn memory_mounts(
    services: &Services,
    entry: &PodEntry,
    spec: &PodSpec,
) -> Vec<PodMount> {
    let group = fs_group(spec);
    let mut mounts = Vec::new();
    for volume in spec.volumes.iter().flatten() {
        let Some(empty) = volume.empty_dir.as_ref() else {
            continue;
        };
        let medium = empty.medium.as_deref().unwrap_or_default();
        let page = hugepages::volume_page(medium, spec).ok().flatten();
        if medium != "Memory" && page.is_none() {
            continue;
        }
        let Ok(place) = place(services, &entry.uid, volume) else {
            continue;
        };
        let limit = empty
            .size_limit
            .as_ref()
            .and_then(|q| Quantity::try_from(q).ok());
        mounts.push(PodMount {
            path: place.path.to_string_lossy().into_owned(),
            size: limit.map_or(0, |q| u64::try_from(q.value_ceil()).unwrap_or(0)),
            mode: EMPTY_DIR_MODE | if group.is_some() { SET_GROUP } else { 0 },
            uid: 0,
            gid: group.unwrap_or(0),
            page_size: page.map_or(0, |page| page.unsigned_abs()),
        });
    }
    mounts
}

pub(crate) fn fs_group(spec: &PodSpec) -> Option<u32> {
    let id = spec.security_context.as_ref().and_then(|c| c.fs_group)?;
    u32::try_from(id).ok()
}

/// Makes all volumes of a pod.
pub(crate) async fn prepare(services: &Arc<Services>, entry: &Arc<PodEntry>) -> Fact {
    let mut at = String::new();
    match prepare_all(services, entry, &mut at).await {
        Ok(()) => Fact::VolumesReady,
        Err(error) => Fact::VolumesFailed {
            volume: at,
            message: error.to_string(),
        },
    }
}

/// `at` names the volume that is being made.
async fn prepare_all(
    services: &Arc<Services>,
    entry: &Arc<PodEntry>,
    at: &mut String,
) -> Result<(), VolumeError> {
    let pod = entry.pod();
    let spec = pod.spec.clone().unwrap_or_default();
    let (volumes, group) = (spec.volumes.as_deref().unwrap_or_default(), fs_group(&spec));
    let shows_api = |v: &&Volume| volume::shows_api(v);
    if let Some(first) = volumes.iter().find(shows_api) {
        at.clone_from(&first.name);
        let held = entry.volumes.lock().await.tokens.clone();
        let (objects, tokens) = content::fetch(services, entry, &pod, &held).await?;
        let mut kept = entry.volumes.lock().await;
        kept.tokens.extend(tokens);
        let contents = content::contents(&objects, &kept.tokens)?;
        let facts = content::facts(services);
        for volume in volumes.iter().filter(shows_api) {
            at.clone_from(&volume.name);
            let place = place(services, &entry.uid, volume)?;
            let files = volume::files(&pod, &facts, volume, &contents)?;
            blocking(move || writer::write(&place.path, &files, group)).await?;
        }
        kept.written(&objects);
    }
    for volume in volumes.iter().filter(|v| !shows_api(v)) {
        at.clone_from(&volume.name);
        let medium = volume.empty_dir.as_ref().and_then(|e| e.medium.as_deref());
        hugepages::volume_page(medium.unwrap_or_default(), &spec).map_err(VolumeError::Refused)?;
        prepare_one(services, &entry.uid, volume, group).await?;
    }
    entry.volumes.open().await;
    Ok(())
}

async fn prepare_one(
    services: &Arc<Services>,
    uid: &str,
    volume: &Volume,
    group: Option<u32>,
) -> Result<(), VolumeError> {
    let place = place(services, uid, volume)?;
    if let Some(host) = volume.host_path.clone() {
        return blocking(move || host_path::check(&host)).await;
    }
    let in_memory = volume
        .empty_dir
        .as_ref()
        .is_some_and(|e| !matches!(e.medium.as_deref(), None | Some("")));
    if in_memory {
        return Ok(());
    }
    blocking(move || empty_dir(&place.path, group)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VolumeError> + Send + 'static,
) -> Result<T, VolumeError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| VolumeError::Refused(error.to_string()))?
}

fn empty_dir(path: &Path, group: Option<u32>) -> Result<(), VolumeError> {
    let failed = |action| {
        let path = path.to_path_buf();
        move |source| VolumeError::Io {
            action,
            path,
            source,
        }
    };
    let mode = EMPTY_DIR_MODE | if group.is_some() { SET_GROUP } else { 0 };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(failed("make"))?;
    // Not by the mode at creation, which the process' own mask would cut.
    if let Some(group) = group {
        chown(path, None, Some(group)).map_err(failed("set the group of"))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(failed("set the mode of"))
}
