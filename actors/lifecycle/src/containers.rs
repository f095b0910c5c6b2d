//! The containers of a pod: those that prepare it, those that accompany it, those that it is
//! for, and those that people add to look into it.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What a container is to its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Role {
    /// One that the pod is for.
    #[default]
    Main,
    /// One that runs to its end before the next is started (`initContainers`).
    Init,
    /// An init container with `restartPolicy: Always`, which accompanies the others.
    Sidecar,
    /// One that was added to the running pod.
    Ephemeral,
}

impl Role {
    /// Whether it is among `initContainers`.
    pub fn is_init(self) -> bool {
        matches!(self, Self::Init | Self::Sidecar)
    }

    /// The list of the manifest that it is in.
    pub fn list(self) -> &'static str {
        match self {
            Self::Main => "containers",
            Self::Init | Self::Sidecar => "initContainers",
            Self::Ephemeral => "ephemeralContainers",
        }
    }
}

/// The role of a container of `initContainers`.
pub fn init_role(container: &Container) -> Role {
    match container.restart_policy.as_deref() {
        Some("Always") => Role::Sidecar,
        _ => Role::Init,
    }
}

/// All containers with their roles, in the order in which they start: init containers, then the
/// others. What was added last comes last.
pub fn containers(spec: &PodSpec) -> impl Iterator<Item = (Role, Cow<'_, Container>)> {
    let init = spec.init_containers.iter().flatten();
    let init = init.map(|c| (init_role(c), Cow::Borrowed(c)));
    let main = spec
        .containers
        .iter()
        .map(|c| (Role::Main, Cow::Borrowed(c)));
    let added = spec.ephemeral_containers.iter().flatten();
    let added = added.map(|c| (Role::Ephemeral, Cow::Owned(plain(c))));
    init.chain(main).chain(added)
}

/// The container of that name, and its role.
pub fn container<'a>(pod: &'a Pod, name: &str) -> Option<(Role, Cow<'a, Container>)> {
    let spec = pod.spec.as_ref()?;
    let init = spec.init_containers.iter().flatten();
    if let Some(found) = init.into_iter().find(|c| c.name == name) {
        return Some((init_role(found), Cow::Borrowed(found)));
    }
    if let Some(found) = spec.containers.iter().find(|c| c.name == name) {
        return Some((Role::Main, Cow::Borrowed(found)));
    }
    let added = spec.ephemeral_containers.iter().flatten();
    let found = added.into_iter().find(|c| c.name == name)?;
    Some((Role::Ephemeral, Cow::Owned(plain(found))))
}

/// Whose processes an added container is to see (`targetContainerName`).
pub fn target_of(pod: &Pod, name: &str) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let mut added = spec.ephemeral_containers.iter().flatten();
    let target = added
        .find(|c| c.name == name)?
        .target_container_name
        .clone()?;
    (!target.is_empty()).then_some(target)
}

/// An added container in the form of the others.
fn plain(added: &EphemeralContainer) -> Container {
    let added = added.clone();
    Container {
        args: added.args,
        command: added.command,
        env: added.env,
        env_from: added.env_from,
        image: added.image,
        image_pull_policy: added.image_pull_policy,
        lifecycle: added.lifecycle,
        liveness_probe: added.liveness_probe,
        name: added.name,
        ports: added.ports,
        readiness_probe: added.readiness_probe,
        resize_policy: added.resize_policy,
        resources: added.resources,
        restart_policy: added.restart_policy,
        restart_policy_rules: added.restart_policy_rules,
        security_context: added.security_context,
        startup_probe: added.startup_probe,
        stdin: added.stdin,
        stdin_once: added.stdin_once,
        termination_message_path: added.termination_message_path,
        termination_message_policy: added.termination_message_policy,
        tty: added.tty,
        volume_devices: added.volume_devices,
        volume_mounts: added.volume_mounts,
        working_dir: added.working_dir,
    }
}
