//! The file systems of a container: the default ones, then the manifest's.

use oci_spec::runtime::{Mount as OciMount, MountBuilder};

use super::{OciError, Surroundings};
use crate::spec::{ContainerSpec, Mount, MountKind, Propagation};

/// The sources of a container's bind mounts, in the order of its mounts, after the shim resolved
/// sub-paths; `None` for other kinds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Binds {
    pub sources: Vec<Option<String>>,
    /// At least one of them follows the host's later mounts.
    pub follows_host: bool,
}

impl Binds {
    /// libcontainer gives all binds of a container the propagation of its root. When binds of
    /// both sorts meet, the shim has made the sources of the secluded ones private before.
    pub(super) fn root_propagation(&self) -> &'static str {
        if self.follows_host {
            "slave"
        } else {
            "private"
        }
    }
}

pub(super) fn all(
    spec: &ContainerSpec,
    around: &Surroundings<'_>,
) -> Result<Vec<OciMount>, OciError> {
    let mut mounts = defaults(spec, around)?;
    for (mount, source) in spec.mounts.iter().zip(&around.binds.sources) {
        if !mount.destination.starts_with('/') {
            return Err(OciError::Invalid {
                container: spec.id.clone(),
                what: "a mount's destination",
                value: mount.destination.clone(),
            });
        }
        // The manifest's own mount replaces a default one on the same place.
        mounts.retain(|default| default.destination().as_os_str() != mount.destination.as_str());
        mounts.push(one(mount, source.as_deref())?);
    }
    Ok(mounts)
}

fn one(mount: &Mount, resolved: Option<&str>) -> Result<OciMount, OciError> {
    let mut options: Vec<String> = Vec::new();
    match &mount.kind {
        MountKind::Bind {
            source,
            propagation,
            recursive_readonly,
            ..
        } => {
            options.push("rbind".to_owned());
            let following = *propagation == Propagation::HostToContainer;
            options.push(if following { "rslave" } else { "rprivate" }.to_owned());
            if mount.readonly {
                options.push(if *recursive_readonly { "rro" } else { "ro" }.to_owned());
            }
            build(
                "bind",
                resolved.unwrap_or(source),
                &mount.destination,
                options,
            )
        }
        MountKind::Tmpfs { size, mode } => {
            options.extend(["nosuid", "nodev"].map(str::to_owned));
            options.push(format!("mode={mode:o}"));
            if *size > 0 {
                options.push(format!("size={size}"));
            }
            if mount.readonly {
                options.push("ro".to_owned());
            }
            build("tmpfs", "tmpfs", &mount.destination, options)
        }
    }
}

fn defaults(spec: &ContainerSpec, around: &Surroundings<'_>) -> Result<Vec<OciMount>, OciError> {
    let access = if spec.privileged { "rw" } else { "ro" };
    let quiet = ["nosuid", "noexec", "nodev"];
    let with = |more: &[&str]| {
        quiet
            .iter()
            .chain(more)
            .map(|option| (*option).to_owned())
            .collect::<Vec<_>>()
    };
    let plain = |list: &[&str]| {
        list.iter()
            .map(|option| (*option).to_owned())
            .collect::<Vec<_>>()
    };
    let cgroup = match &around.cgroup_view {
        Some(view) => build(
            "bind",
            view,
            "/sys/fs/cgroup",
            plain(&["rbind", "rprivate", access]),
        )?,
        None => build(
            "cgroup",
            "cgroup",
            "/sys/fs/cgroup",
            with(&["relatime", access]),
        )?,
    };
    let mounts = vec![
        build("proc", "proc", "/proc", with(&[]))?,
        build(
            "tmpfs",
            "tmpfs",
            "/dev",
            plain(&["nosuid", "strictatime", "mode=755", "size=65536k"]),
        )?,
        build(
            "devpts",
            "devpts",
            "/dev/pts",
            plain(&[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ]),
        )?,
        build(
            "bind",
            around.shm,
            "/dev/shm",
            plain(&["rbind", "nosuid", "nodev", "noexec"]),
        )?,
        build("mqueue", "mqueue", "/dev/mqueue", with(&[]))?,
        build("sysfs", "sysfs", "/sys", with(&[access]))?,
        cgroup,
    ];
    Ok(mounts)
}

fn build(
    typ: &str,
    source: &str,
    destination: &str,
    options: Vec<String>,
) -> Result<OciMount, OciError> {
    let mount = MountBuilder::default()
        .typ(typ)
        .source(source)
        .destination(destination)
        .options(options)
        .build()?;
    Ok(mount)
}
