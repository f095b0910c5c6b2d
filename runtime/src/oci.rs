//! From a [`ContainerSpec`] to the OCI runtime configuration that libcontainer runs.
//!
//! Network, host name and IPC are the shim's own namespaces, so that a container simply
//! inherits them; only mounts, control groups and (unless shared) processes are new. CPU,
//! memory and process limits are not in here either: the shim writes them itself, the same way
//! at creation and on a later change. What the host cannot give is left out with a warning.

use oci_spec::runtime::{
    LinuxBuilder, LinuxDeviceCgroup, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType,
    LinuxResourcesBuilder, LinuxSeccomp, Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder,
    User, UserBuilder,
};

use crate::seccomp::{self, SeccompError};
use crate::spec::{ContainerSpec, PidMode, Rootfs, Seccomp, Warnings};

mod capabilities;
mod devices;
mod mounts;
mod rlimits;

pub use capabilities::default_capabilities;
pub(crate) use capabilities::{Held, linux_capabilities};
pub(crate) use mounts::Binds;

#[derive(Debug, thiserror::Error)]
pub enum OciError {
    #[error("container {container}: {what} is not valid: {value:?}")]
    Invalid {
        container: String,
        what: &'static str,
        value: String,
    },
    #[error("cannot read device {path}")]
    Device {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{0} is not a device")]
    NotADevice(String),
    #[error("cannot build the runtime configuration")]
    Build(#[from] oci_spec::OciSpecError),
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
}

/// What the shim knows and the container's own specification does not.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    /// The mounted root file system.
    pub rootfs: &'a str,
    pub cgroup_path: &'a str,
    pub pid: PidMode,
    /// The process namespace to join, with [`PidMode::Pod`].
    pub processes: Option<String>,
    /// The pod's `/dev/shm`.
    pub shm: &'a str,
    pub binds: Binds,
    pub cgroup_v2: bool,
    /// On v1, what the container sees of it.
    pub cgroup_view: Option<String>,
    /// The pod's own user namespace.
    pub users: Option<&'a str>,
}

/// The configuration and what had to be left out of it.
pub(crate) fn build(
    spec: &ContainerSpec,
    around: &Surroundings<'_>,
) -> Result<(Spec, Warnings), OciError> {
    check(spec)?;
    let mut warnings = Vec::new();
    let held = Held::of_container(spec, &mut warnings);
    let filter = seccomp_filter(spec, &held)?;
    let linux = linux(spec, around, filter)?;
    let mut oci = SpecBuilder::default()
        .version("1.0.2")
        .root(
            RootBuilder::default()
                .path(around.rootfs)
                .readonly(spec.readonly_root)
                .build()?,
        )
        .process(process(spec, &held, &mut warnings)?)
        .mounts(mounts::all(spec, around)?)
        .linux(linux)
        .build()?;
    // Set by the shim, in the namespace that its containers inherit.
    oci.set_hostname(None);
    Ok((oci, warnings))
}

/// What a container may do with device nodes.
pub(crate) fn device_rules(spec: &ContainerSpec) -> Result<Vec<LinuxDeviceCgroup>, OciError> {
    Ok(devices::of(spec)?.rules)
}

/// The seccomp filter of a container, for its first process and for those added later.
pub(crate) fn seccomp_filter(
    spec: &ContainerSpec,
    held: &Held,
) -> Result<Option<LinuxSeccomp>, OciError> {
    if spec.privileged {
        return Ok(None);
    }
    Ok(match &spec.seccomp {
        Seccomp::Unconfined => None,
        Seccomp::RuntimeDefault => Some(seccomp::default_filter(&held.names)?),
        Seccomp::Profile(json) => Some(seccomp::parse(json, &held.names)?),
    })
}

fn check(spec: &ContainerSpec) -> Result<(), OciError> {
    let invalid = |what, value: &str| {
        Err(OciError::Invalid {
            container: spec.id.clone(),
            what,
            value: value.to_owned(),
        })
    };
    let id_char = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if spec.id.is_empty() || spec.id.starts_with('.') || !spec.id.chars().all(id_char) {
        return invalid("the id", &spec.id);
    }
    if spec.args.first().is_none_or(String::is_empty) {
        return invalid("the command", &spec.args.join(" "));
    }
    if !spec.cwd.starts_with('/') {
        return invalid("the working directory", &spec.cwd);
    }
    if let Some(entry) = spec.env.iter().find(|entry| !entry.contains('=')) {
        return invalid("an environment entry", entry);
    }
    let text = spec.args.iter().chain(&spec.env);
    if let Some(entry) = text.into_iter().find(|entry| entry.contains('\0')) {
        return invalid("a text with a zero byte", entry);
    }
    let root = match &spec.rootfs {
        Rootfs::Dir(path) => path,
        Rootfs::Overlay { lower, upper, .. } => lower.first().unwrap_or(upper),
    };
    if !root.starts_with('/') {
        return invalid("the root file system", root);
    }
    Ok(())
}

fn process(
    spec: &ContainerSpec,
    held: &Held,
    warnings: &mut Warnings,
) -> Result<Process, OciError> {
    let mut process = ProcessBuilder::default()
        .args(spec.args.clone())
        .env(with_path(&spec.env))
        .cwd(&spec.cwd)
        .terminal(spec.tty)
        .user(user(
            spec.uid,
            spec.gid,
            &spec.supplemental_gids,
            spec.umask,
        )?)
        .capabilities(linux_capabilities(held)?)
        .build()?;
    // Absent and false differ to libcontainer: only when absent does it install the filter
    // while it still may without this bit.
    process.set_no_new_privileges(spec.no_new_privs.then_some(true));
    process.set_oom_score_adj(None);
    process.set_apparmor_profile(spec.app_armor.clone());
    process.set_rlimits(Some(rlimits::settle(&spec.rlimits, warnings)?));
    Ok(process)
}

/// A program is looked up somewhere even if neither image nor manifest say where.
pub(crate) fn with_path(env: &[String]) -> Vec<String> {
    let mut env = env.to_vec();
    if !env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.push(format!("PATH={DEFAULT_PATH}"));
    }
    env
}

pub(crate) fn user(
    uid: u32,
    gid: u32,
    supplemental_gids: &[u32],
    umask: Option<u32>,
) -> Result<User, OciError> {
    let mut user = UserBuilder::default()
        .uid(uid)
        .gid(gid)
        .additional_gids(supplemental_gids)
        .build()?;
    user.set_umask(umask);
    Ok(user)
}

fn linux(
    spec: &ContainerSpec,
    around: &Surroundings<'_>,
    filter: Option<LinuxSeccomp>,
) -> Result<oci_spec::runtime::Linux, OciError> {
    let devices = devices::of(spec)?;
    let (masked, readonly) = if spec.privileged {
        (Vec::new(), Vec::new())
    } else {
        (
            spec.masked_paths
                .clone()
                .unwrap_or_else(|| owned(DEFAULT_MASKED)),
            spec.readonly_paths
                .clone()
                .unwrap_or_else(|| owned(DEFAULT_READONLY)),
        )
    };
    let resources = LinuxResourcesBuilder::default()
        .devices(devices.rules)
        .build()?;
    let mut linux = LinuxBuilder::default()
        .cgroups_path(around.cgroup_path)
        .namespaces(namespaces(around)?)
        .resources(resources)
        .devices(devices.nodes)
        .masked_paths(masked)
        .readonly_paths(readonly)
        .rootfs_propagation(around.binds.root_propagation())
        .build()?;
    linux.set_seccomp(filter);
    Ok(linux)
}

fn namespaces(around: &Surroundings<'_>) -> Result<Vec<LinuxNamespace>, OciError> {
    let fresh = |typ| LinuxNamespaceBuilder::default().typ(typ).build();
    let mut namespaces = vec![fresh(LinuxNamespaceType::Mount)?];
    if around.cgroup_v2 {
        namespaces.push(fresh(LinuxNamespaceType::Cgroup)?);
    }
    if let Some(path) = around.users {
        namespaces.push(
            LinuxNamespaceBuilder::default()
                .typ(LinuxNamespaceType::User)
                .path(path)
                .build()?,
        );
    }
    match (around.pid, &around.processes) {
        (PidMode::Host, _) => {}
        (PidMode::Pod, Some(path)) => namespaces.push(
            LinuxNamespaceBuilder::default()
                .typ(LinuxNamespaceType::Pid)
                .path(path)
                .build()?,
        ),
        (PidMode::Pod, None) | (PidMode::Container, _) => {
            namespaces.push(fresh(LinuxNamespaceType::Pid)?);
        }
    }
    Ok(namespaces)
}

pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Kernel interfaces that tell of, or reach, the host.
const DEFAULT_MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

const DEFAULT_READONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[cfg(test)]
mod tests;
