//! `containerStatuses`.

use super::whole_seconds;
use crate::machine::{Container, Ended, Image, Life, PodState};
use k8s_openapi::api::core::v1::{
    self as core, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, Pod,
};

/// One status for each container of the manifest, by name.
pub(super) fn of(pod: &Pod, state: &PodState) -> Vec<ContainerStatus> {
    let specs = pod.spec.as_ref().map_or(&[][..], |s| &s.containers);
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let mut statuses: Vec<ContainerStatus> = state
        .containers
        .iter()
        .map(|c| one(uid, specs.iter().find(|s| s.name == c.name), c))
        .collect();
    statuses.sort_by(|a, b| a.name.cmp(&b.name));
    statuses
}

fn one(uid: &str, spec: Option<&core::Container>, container: &Container) -> ContainerStatus {
    let running = matches!(container.life, Life::Running { .. });
    let resources = spec
        .and_then(|s| s.resources.clone())
        .filter(|r| *r != Default::default());
    ContainerStatus {
        name: container.name.clone(),
        image: container.image_name.clone(),
        image_id: container.image_id.clone(),
        container_id: container
            .attempt
            .map(|n| container_id(uid, &container.name, n)),
        ready: running,
        started: Some(running),
        restart_count: i32::try_from(container.restart_count()).unwrap_or(i32::MAX),
        state: Some(state_of(uid, container)),
        last_state: Some(match &container.last {
            Some(ended) => ContainerState {
                terminated: Some(terminated(uid, &container.name, ended)),
                ..ContainerState::default()
            },
            None => ContainerState::default(),
        }),
        allocated_resources: resources.as_ref().and_then(|r| r.requests.clone()),
        resources,
        ..ContainerStatus::default()
    }
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

fn state_of(uid: &str, container: &Container) -> ContainerState {
    let mut state = ContainerState::default();
    match &container.life {
        Life::Running { started_at } => {
            let started_at = Some(whole_seconds(*started_at));
            state.running = Some(ContainerStateRunning { started_at });
        }
        Life::Ended(ended) => state.terminated = Some(terminated(uid, &container.name, ended)),
        Life::Waiting {
            reason, message, ..
        } => {
            state.waiting = Some(waiting(container, reason, message.clone()));
        }
        Life::Creating | Life::Created | Life::Starting => {
            state.waiting = Some(waiting(container, "ContainerCreating", None));
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
            "ContainerCreating",
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
