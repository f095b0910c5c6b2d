//! From the manifest and the image to what the shim is asked for.

use super::sandbox::to_resources;
use super::{container, identities, log, mounts, places, security};
use crate::services::{PodEntry, Services};
use k8s_openapi::api::core::v1::{Container, Pod};
use kabuki_lifecycle::process::{
    ConfigError, ImageDefaults, PodFacts, Sources, UserChoice, command, environment, working_dir,
};
use kabuki_lifecycle::{Instance, hugepages, resources};
use kabuki_runtime::image::{Image, ResolvedUser, Rootfs};
use kabuki_runtime::{ContainerSpec, LogSpec, Resources, Rootfs as RootSpec};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// All that an instance is made from.
pub(super) struct Ingredients<'a> {
    pub services: &'a Services,
    pub entry: &'a PodEntry,
    pub instance: &'a Instance,
    pub pod: &'a Pod,
    pub container: &'a Container,
    pub image: &'a Image,
    pub facts: &'a PodFacts,
    pub sources: &'a Sources,
}

/// What the shim is asked for, and the variables that were passed over.
pub(super) struct Planned {
    pub spec: ContainerSpec,
    pub skipped: Vec<String>,
}

/// Makes the files of an instance: its message file and the directory of its log.
pub(super) fn prepare_files(
    services: &Services,
    entry: &PodEntry,
    instance: &Instance,
) -> io::Result<()> {
    let message = container::message_file(services, entry, instance);
    std::fs::write(&message, "")?;
    // The container's user, whoever that is, writes to it.
    std::fs::set_permissions(&message, std::fs::Permissions::from_mode(0o666))?;
    let log = log::log_file(services, entry, instance);
    if let Some(dir) = log.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(dir)?;
    }
    log::forget_old(services, entry, instance);
    Ok(())
}

/// Turns the manifest into a specification.
///
/// # Errors
/// When the manifest asks for what this version or this node does not have.
pub(super) fn plan(
    from: &Ingredients<'_>,
    choice: UserChoice,
    user: ResolvedUser,
    root: Rootfs,
) -> Result<Planned, ConfigError> {
    let defaults = image_defaults(from.image);
    let env = environment(
        from.pod,
        from.container,
        from.facts,
        from.sources,
        &defaults,
    )?;
    let args = command(from.container, &defaults, &env)?;
    let mut lines = env.lines();
    if !env.has("HOME") {
        lines.push(format!("HOME={}", user.home));
    }
    let shared = from
        .pod
        .spec
        .as_ref()
        .and_then(|s| s.security_context.as_ref());
    let own = from.container.security_context.as_ref();
    let security = security::of(&from.services.layout, shared, own)?;
    let limits = resources::container_limits(from.container);
    let huge = &from.services.capacity.hugepages;
    let gid = choice.group.unwrap_or(user.gid);
    let mut groups = choice.supplemental;
    if choice.image_groups {
        groups.extend(user.groups.iter().filter(|g| **g != gid));
    }
    groups.sort_unstable();
    groups.dedup();
    if from.pod.spec.as_ref().and_then(|s| s.host_users) == Some(false) {
        own_ids([user.uid, gid].iter().chain(&groups))?;
    }
    let log = log::log_file(from.services, from.entry, from.instance);
    let node_memory = from.services.capacity.memory;
    let mounts = mounts::of(from, &env)?;
    let places = places::of(&from.services.layout, mounts.iter());
    let spec = ContainerSpec {
        id: container::shim_container(from.instance),
        name: from.container.name.clone(),
        rootfs: RootSpec::Overlay {
            lower: root
                .lower
                .into_iter()
                .chain(places)
                .map(|p| text(&p))
                .collect(),
            upper: text(&root.upper),
            work: text(&root.work),
        },
        readonly_root: security.readonly_root,
        args,
        env: lines,
        cwd: working_dir(from.container, &defaults),
        mounts,
        uid: user.uid,
        gid,
        supplemental_gids: groups,
        umask: None,
        capabilities: security.capabilities,
        privileged: security.privileged,
        no_new_privs: security.no_new_privs,
        seccomp: security.seccomp,
        app_armor: security.app_armor,
        masked_paths: security.unmasked.then(Vec::new),
        readonly_paths: security.unmasked.then(Vec::new),
        oom_score_adj: resources::oom_score_adj(from.pod, from.container, node_memory),
        resources: Resources {
            hugetlb: hugepages::container_limits(from.container, huge.keys()),
            cpuset_cpus: from.services.cpus.of(&from.entry.uid, &from.container.name),
            ..to_resources(&limits)
        },
        rlimits: Vec::new(),
        devices: Vec::new(),
        tty: from.container.tty == Some(true),
        stdin: from.container.stdin == Some(true),
        stdin_once: from.container.stdin_once == Some(true),
        pid_of: None,
        log: Some(LogSpec {
            path: text(&log),
            max_size: from.services.config.log_max_bytes,
            max_files: from.services.config.log_max_files,
        }),
    };
    Ok(Planned {
        spec,
        skipped: env.skipped.clone(),
    })
}

/// A pod with users of its own has only so many.
fn own_ids<'a>(mut ids: impl Iterator<Item = &'a u32>) -> Result<(), ConfigError> {
    match ids.find(|id| **id >= identities::WIDTH) {
        None => Ok(()),
        Some(id) => Err(ConfigError(format!(
            "user or group {id} is not one of the {} of a pod with hostUsers: false",
            identities::WIDTH
        ))),
    }
}

fn image_defaults(image: &Image) -> ImageDefaults {
    let config = &image.config;
    ImageDefaults {
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        env: config.env.clone(),
        working_dir: config.working_dir.clone(),
        user: config.user.clone(),
    }
}

/// A path as the shim's protocol carries it.
pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
