//! `containerStatuses`, `initContainerStatuses`, `ephemeralContainerStatuses`.

use super::whole_seconds;
use crate::containers::{self, Role};
use crate::machine::{Container, Ended, Image, Life, PodState, Resize, RunsAs};
use k8s_openapi::api::core::v1::{
    self as core, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, ContainerUser, LinuxContainerUser, Pod,
    ResourceRequirements, VolumeMountStatus,
};

/// What a container waits for that nothing has gone wrong with.
const CREATING: &str = "ContainerCreating";
/// The same in a pod with init containers.
const INITIALIZING: &str = "PodInitializing";

/// One status for each container of a list of the manifest: init containers in their order, all
/// others by name.
pub(super) fn of(pod: &Pod, state: &PodState, list: &str) -> Vec<ContainerStatus> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let initializes = state.containers.iter().any(|c| c.role.is_init());
    let plain = if initializes { INITIALIZING } else { CREATING };
    let listed = state.containers.iter().filter(|c| c.role.list() == list);
    let mut statuses: Vec<ContainerStatus> = listed
        .map(|c| {
            let spec = containers::container(pod, &c.name).map(|(_, c)| c);
            one(uid, spec.as_deref(), c, &state.resize, plain)
        })
        .collect();
    if list != Role::Init.list() {
        statuses.sort_by(|a, b| a.name.cmp(&b.name));
    }
    statuses
}

fn one(
    uid: &str,
    spec: Option<&core::Container>,
    container: &Container,
    resize: &Resize,
    plain: &str,
) -> ContainerStatus {
    let (resources, allocated) = shares(spec, container, resize);
    let started = container.is_started(spec);
    let (started, ready) = match container.role {
        Role::Main | Role::Sidecar => (Some(started), container.is_ready(spec)),
        Role::Init => (Some(started), container.passed),
        Role::Ephemeral => (None, false),
    };
    ContainerStatus {
        name: container.name.clone(),
        image: container.image_name.clone(),
        image_id: container.image_id.clone(),
        container_id: container
            .attempt
            .map(|n| container_id(uid, &container.name, n)),
        ready,
        started,
        restart_count: i32::try_from(container.restart_count()).unwrap_or(i32::MAX),
        state: Some(state_of(uid, container, plain)),
        last_state: Some(match &container.last {
            Some(ended) => ContainerState {
                terminated: Some(terminated(uid, &container.name, ended)),
                ..ContainerState::default()
            },
            None => ContainerState::default(),
        }),
        stop_signal: spec
            .and_then(|s| s.lifecycle.as_ref())
            .and_then(|l| l.stop_signal.clone()),
        user: container.user.as_ref().map(user),
        volume_mounts: spec.and_then(mounts),
        allocated_resources: allocated.and_then(|r| r.requests),
        resources,
        ..ContainerStatus::default()
    }
}

fn user(who: &RunsAs) -> ContainerUser {
    let groups = who.groups.iter().map(|g| i64::from(*g)).collect();
    ContainerUser {
        linux: Some(LinuxContainerUser {
            uid: who.uid.into(),
            gid: who.gid.into(),
            supplemental_groups: Some(groups),
        }),
    }
}

/// What became of the mounts, where the manifest asks for more than one can see in it. All kernels
/// that nodes run on make mounts read-only with what is below them.
fn mounts(spec: &core::Container) -> Option<Vec<VolumeMountStatus>> {
    let is_recursive =
        |mode: &Option<String>| matches!(mode.as_deref(), Some("Enabled" | "IfPossible"));
    let mounts = spec.volume_mounts.as_deref().unwrap_or_default();
    if !mounts.iter().any(|m| is_recursive(&m.recursive_read_only)) {
        return None;
    }
    let of = |mount: &core::VolumeMount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: (mount.read_only == Some(true)).then(|| {
            let reaches = is_recursive(&mount.recursive_read_only);
            if reaches { "Enabled" } else { "Disabled" }.to_string()
        }),
        ..VolumeMountStatus::default()
    };
    Some(mounts.iter().map(of).collect())
}

/// What a container has and what it was granted.
fn shares(
    spec: Option<&core::Container>,
    container: &Container,
    resize: &Resize,
) -> (Option<ResourceRequirements>, Option<ResourceRequirements>) {
    let plain = || spec.and_then(|s| s.resources.clone());
    let granted = resize.granted.get(&container.name).cloned().or_else(plain);
    let actual = resize.actual.get(&container.name).cloned();
    let actual = actual.filter(|_| container.is_live());
    let said = |share: &ResourceRequirements| *share != ResourceRequirements::default();
    let actual = actual.or_else(|| granted.clone());
    (actual.filter(said), granted.filter(said))
}

/// `kabuki://` and the id of [`instance_id`].
pub fn container_id(uid: &str, name: &str, attempt: u32) -> String {
    format!("kabuki://{}", instance_id(uid, name, attempt))
}

/// The id of an instance in the cluster: 64 hexadecimal digits, because log collectors look for
/// that many. The pod's uid, the container's name (hashed) and the attempt are all in it.
pub fn instance_id(uid: &str, name: &str, attempt: u32) -> String {
    let digits: String = uid.chars().filter(|c| *c != '-').collect();
    let is_uuid = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let pod = match is_uuid {
        true => digits.to_ascii_lowercase(),
        false => format!("{:016x}{:016x}", hash(1, uid), hash(2, uid)),
    };
    format!(
        "{pod}{:016x}{:08x}{attempt:08x}",
        hash(3, name),
        hash(4, name) >> 32
    )
}

/// FNV-1a with a seed.
fn hash(seed: u8, text: &str) -> u64 {
    let bytes = std::iter::once(seed).chain(text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn state_of(uid: &str, container: &Container, plain: &str) -> ContainerState {
    let mut state = ContainerState::default();
    match &container.life {
        // Its `postStart` hook is part of its start.
        Life::Running { .. } if !container.is_settled() => {
            state.waiting = Some(waiting(container, plain, None));
        }
        Life::Running { started_at } => {
            let started_at = Some(whole_seconds(*started_at));
            state.running = Some(ContainerStateRunning { started_at });
        }
        Life::Ended(ended) => state.terminated = Some(terminated(uid, &container.name, ended)),
        Life::Waiting {
            reason, message, ..
        } => {
            let reason = if reason == CREATING { plain } else { reason };
            state.waiting = Some(waiting(container, reason, message.clone()));
        }
        Life::Creating | Life::Created | Life::Starting => {
            state.waiting = Some(waiting(container, plain, None));
        }
    }
    state
}

fn waiting(container: &Container, reason: &str, message: Option<String>) -> ContainerStateWaiting {
    match (&container.image, reason) {
        (
            Image::Failed {
                reason, message, ..
            },
            CREATING | INITIALIZING,
        ) => ContainerStateWaiting {
            reason: Some(reason.clone()),
            message: Some(message.clone()),
        },
        _ => ContainerStateWaiting {
            reason: Some(reason.to_string()),
            message,
        },
    }
}

fn terminated(uid: &str, name: &str, ended: &Ended) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: ended.exit_code,
        reason: Some(ended.reason.clone()),
        message: ended.message.clone(),
        started_at: ended.started_at.map(whole_seconds),
        finished_at: ended.finished_at.map(whole_seconds),
        container_id: ended.attempt.map(|n| container_id(uid, name, n)),
        signal: None,
    }
}
