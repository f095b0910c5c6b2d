//! What the machine remembers. All of it survives the agent: it is stored with the sandbox.

use super::backoff::Backoff;
use super::fact::RunsAs;
use super::resize::Resize;
use crate::containers::Role;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The state of one pod's life.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PodState {
    /// When the node took the pod.
    pub start_time: Option<Timestamp>,
    /// Namespaces and network.
    pub sandbox: Sandbox,
    /// Failures to make the sandbox in a row.
    pub sandbox_backoff: Backoff,
    /// The pod's addresses; kept when the sandbox is gone.
    pub ips: Vec<String>,
    /// The volumes.
    pub volumes: Volumes,
    /// Failures to make the volumes in a row.
    pub volume_backoff: Backoff,
    /// The containers, in the manifest's order.
    pub containers: Vec<Container>,
    /// The pod is being deleted.
    pub deletion: Option<Deletion>,
    /// The API no longer has it.
    pub vanished: bool,
    /// The pod as a whole has failed: its containers are stopped and stay so.
    pub failure: Option<Failure>,
    /// All that the pod is for has ended: when the containers that accompany it are killed.
    #[serde(default)]
    pub completion: Option<Timestamp>,
    /// The phase, once it is final.
    pub final_phase: Option<String>,
    /// The conditions with their times, by type.
    pub conditions: BTreeMap<String, Condition>,
    /// What the containers have, and what is to come of a resize.
    #[serde(default)]
    pub resize: Resize,
    /// Nothing of the pod is left.
    pub finished: bool,
}

/// Namespaces and network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sandbox {
    /// Not made yet.
    #[default]
    Absent,
    /// Being made.
    Preparing,
    /// There.
    Ready,
    /// Could not be made; to be tried again.
    Failed {
        /// When.
        retry_at: Timestamp,
    },
    /// Gone by itself; what is left of it must be removed.
    Lost,
    /// Being removed.
    TearingDown {
        /// Whether the pod goes on with another one.
        keep_volumes: bool,
    },
    /// Removed, for good.
    Gone,
}

/// The volumes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Volumes {
    /// Not made yet.
    #[default]
    Absent,
    /// Being made.
    Preparing,
    /// There.
    Ready,
    /// Could not be made; to be tried again.
    Failed {
        /// When.
        retry_at: Timestamp,
    },
}

/// The pod is being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// When the containers that still run are killed.
    pub deadline: Timestamp,
}

/// Why a pod failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// `DeadlineExceeded`, `Evicted`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// When the containers that still run are killed.
    pub deadline: Timestamp,
}

/// One container of the pod, over all its instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The reference that the present instance was (or the next one will be) made from.
    pub image_name: String,
    /// Its image.
    pub image: Image,
    /// What `imageID` says.
    pub image_id: String,
    /// Failed pulls in a row.
    pub pull_backoff: Backoff,
    /// The present instance, or why there is none.
    pub life: Life,
    /// The number of the newest instance that was made.
    pub attempt: Option<u32>,
    /// How the instance before the present one ended.
    pub last: Option<Ended>,
    /// Restarts that came too soon.
    pub restart_backoff: Backoff,
    /// Failures to set up an instance in a row.
    pub create_backoff: Backoff,
    /// The present instance is being stopped.
    pub stop: Option<Stop>,
    /// What it is to its pod.
    #[serde(default)]
    pub role: Role,
    /// Of an init container: the next ones need not wait for it any more.
    #[serde(default)]
    pub passed: bool,
    /// How the present instance fares.
    #[serde(default)]
    pub health: Health,
    /// The present instance is stopped because a probe failed: it has a successor even if it
    /// ends well.
    #[serde(default)]
    pub unhealthy: bool,
    /// The manifest names another image: the next instance follows whatever the policy says.
    pub replacing: bool,
    /// Who the newest instance runs as, as far as is known.
    #[serde(default)]
    pub user: Option<RunsAs>,
}

/// An image, as far as one container needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Image {
    /// Not asked for yet.
    #[default]
    Unknown,
    /// Asked for.
    Pulling,
    /// There.
    Ready,
    /// Not there.
    Failed {
        /// `ErrImagePull`, `InvalidImageName`.
        reason: String,
        /// For people.
        message: String,
        /// When `reason` gives way to the back-off; `None` when it has.
        shown_until: Option<Timestamp>,
        /// When to ask again.
        retry_at: Timestamp,
    },
}

/// The present instance of a container, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// There is none.
    Waiting {
        /// `ContainerCreating`, `RunContainerError`, `CrashLoopBackOff`.
        reason: String,
        /// For people.
        message: Option<String>,
        /// When `reason` gives way to the back-off; `None` when it has, or is to stay.
        #[serde(default)]
        shown_until: Option<Timestamp>,
        /// Not before this time.
        retry_at: Option<Timestamp>,
    },
    /// Being set up.
    Creating,
    /// Set up.
    Created,
    /// Being started.
    Starting,
    /// Running.
    Running {
        /// Since.
        started_at: Timestamp,
    },
    /// Ended.
    Ended(Ended),
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which instance; `None` when there was none that is known.
    pub attempt: Option<u32>,
    /// Its exit code.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`.
    pub reason: String,
    /// For people.
    pub message: Option<String>,
    /// When it began; the beginning of time for one that could not be started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// How a running instance fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Its `postStart` hook.
    pub post_start: Hook,
    /// Its startup probe has succeeded.
    pub started: bool,
    /// What its readiness probe last came to.
    pub ready: bool,
}

/// How far a hook has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hook {
    /// Still to be run.
    #[default]
    Due,
    /// Running.
    Running,
    /// It has ended, there is none, or nobody waits for it any more.
    Done,
}

/// An instance is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// When its grace ends.
    pub deadline: Timestamp,
    /// Whether it was killed.
    pub killed: bool,
    /// Its `preStop` hook.
    pub pre_stop: Hook,
    /// When it was asked to end.
    pub asked_at: Option<Timestamp>,
    /// It was asked late, because of a hook or of containers that end before it: it gets a
    /// moment even when its grace is over.
    pub late: bool,
}

/// A condition's value and since when it has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// `True`, `False`.
    pub status: String,
    /// Since when.
    pub since: Timestamp,
}

impl PodState {
    /// Whether all init containers are done with, or have been started to stay.
    pub(crate) fn is_initialized(&self) -> bool {
        self.containers
            .iter()
            .filter(|c| c.role.is_init())
            .all(|c| c.passed)
    }

    /// Whether it was initialized at any time: then, or a container that it is for has run.
    pub(crate) fn was_initialized(&self) -> bool {
        let ran = |c: &Container| {
            let runs = matches!(c.life, Life::Running { .. } | Life::Ended(_));
            c.role == Role::Main && (runs || c.last.is_some())
        };
        self.is_initialized() || self.containers.iter().any(ran)
    }

    /// The form in which it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Nothing in it can fail to be written: all keys of its maps are strings.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what [`PodState::to_bytes`] wrote; `None` when it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Container {
    pub(super) fn new(name: &str, image: &str) -> Self {
        Self {
            role: Role::Main,
            passed: false,
            health: Health::default(),
            unhealthy: false,
            name: name.to_string(),
            image_name: image.to_string(),
            image: Image::Unknown,
            image_id: String::new(),
            pull_backoff: Backoff::default(),
            life: Life::creating(),
            attempt: None,
            last: None,
            restart_backoff: Backoff::default(),
            create_backoff: Backoff::default(),
            stop: None,
            replacing: false,
            user: None,
        }
    }

    /// Whether an instance is there or on its way.
    pub fn is_live(&self) -> bool {
        match self.life {
            Life::Creating | Life::Created | Life::Starting | Life::Running { .. } => true,
            Life::Waiting { .. } | Life::Ended(_) => false,
        }
    }

    /// Whether an instance runs.
    pub fn is_running(&self) -> bool {
        matches!(self.life, Life::Running { .. })
    }

    /// How often it was restarted.
    pub fn restart_count(&self) -> u32 {
        self.attempt.unwrap_or(0)
    }

    /// When something of it is due.
    pub(super) fn due(&self) -> impl Iterator<Item = Timestamp> {
        let (life_shown, life) = match &self.life {
            Life::Waiting {
                shown_until,
                retry_at,
                ..
            } => (*shown_until, *retry_at),
            _ => (None, None),
        };
        let (shown, retry) = match &self.image {
            Image::Failed {
                shown_until,
                retry_at,
                ..
            } => (*shown_until, Some(*retry_at)),
            _ => (None, None),
        };
        [life_shown, life, shown, retry].into_iter().flatten()
    }
}

impl Life {
    pub(super) fn creating() -> Self {
        Self::Waiting {
            reason: "ContainerCreating".to_string(),
            message: None,
            shown_until: None,
            retry_at: None,
        }
    }
}

impl Sandbox {
    pub(super) fn retry_at(&self) -> Option<Timestamp> {
        match self {
            Self::Failed { retry_at } => Some(*retry_at),
            _ => None,
        }
    }
}

impl Volumes {
    pub(super) fn retry_at(&self) -> Option<Timestamp> {
        match self {
            Self::Failed { retry_at } => Some(*retry_at),
            _ => None,
        }
    }
}
