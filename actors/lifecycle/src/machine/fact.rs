//! What the machine is told.

use super::effect::HookKind;
use crate::probe::ProbeKind;
use crate::resize::Verdict;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kabuki_model::kind::pod::Totals;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One instance of a container: a restart makes a new one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance {
    /// The container's name in the manifest.
    pub container: String,
    /// 0 for the first instance; the number in its log's file name.
    pub attempt: u32,
}

/// Who the first process of an instance is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunsAs {
    /// Its user.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// All its groups, in order, the primary one among them.
    pub groups: Vec<u32>,
}

/// How an instance ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 and the signal's number when a signal ended it.
    pub code: i32,
    /// Whether the kernel killed it for want of memory.
    pub oom_killed: bool,
    /// When it began; `None` when that is not known.
    pub started_at: Option<Timestamp>,
    /// When it ended; `None` when that is not known.
    pub finished_at: Option<Timestamp>,
    /// What it left at `terminationMessagePath`.
    pub message: Option<String>,
}

/// Why there is no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFailure {
    /// The reference cannot be read.
    InvalidName,
    /// It is not on the node and must not be fetched.
    NeverPull,
    /// The registry cannot be reached.
    Unreachable,
    /// What the node has of it cannot be read.
    Inspect,
    /// Fetching it failed.
    Pull,
}

/// How an image was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullReport {
    /// How long fetching took, in milliseconds.
    pub took_ms: i64,
    /// The same with the wait for other pulls.
    pub waited_ms: i64,
    /// Bytes fetched.
    pub size_bytes: u64,
}

/// What an adopting agent finds of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenContainer {
    /// Which.
    pub instance: Instance,
    /// In which state.
    pub state: Seen,
}

/// The states in which an instance can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Set up, not started.
    Created,
    /// Running.
    Running {
        /// Since.
        started_at: Timestamp,
    },
    /// Ended.
    Exited(Exit),
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Fact {
    /// The time that `WakeAt` named has come.
    Woken,
    /// The API has another version of the pod; its deletion shows in its metadata.
    PodChanged(Arc<Pod>),
    /// The API no longer has the pod: it ends at once.
    PodVanished,
    /// The node cannot keep the pod.
    Evicted {
        /// `Evicted`.
        reason: String,
        /// For people.
        message: String,
        /// The longest that it may take to end, in seconds; `None` is the pod's own grace period.
        grace_s: Option<i64>,
    },
    /// The volumes are there.
    VolumesReady,
    /// One is not.
    VolumesFailed {
        /// Its name.
        volume: String,
        /// Why.
        message: String,
    },
    /// The sandbox is there, and the pod's addresses.
    SandboxReady {
        /// The primary one first.
        ips: Vec<String>,
    },
    /// It could not be made.
    SandboxFailed {
        /// Why.
        message: String,
    },
    /// It is gone without having been asked to go, and its processes with it.
    SandboxLost,
    /// It is gone as asked.
    SandboxGone,
    /// The image is being fetched.
    PullStarted {
        /// For which container.
        container: String,
    },
    /// The image is there.
    ImageReady {
        /// For which container.
        container: String,
        /// `status.containerStatuses[].imageID`.
        image_id: String,
        /// How it was fetched; `None` when it was there.
        pulled: Option<PullReport>,
    },
    /// It is not.
    ImageFailed {
        /// For which container.
        container: String,
        /// Why, for the machine.
        failure: ImageFailure,
        /// Why, for people.
        message: String,
    },
    /// The instance is set up.
    ContainerCreated {
        /// Which.
        instance: Instance,
        /// Who it runs as; `None` when that is not known.
        user: Option<RunsAs>,
    },
    /// What the manifest asks for is not there (a key, a user that may not be root).
    ConfigFailed {
        /// Which.
        instance: Instance,
        /// Why.
        message: String,
    },
    /// The runtime could not set it up.
    CreateFailed {
        /// Which.
        instance: Instance,
        /// Why.
        message: String,
    },
    /// The instance runs.
    ContainerStarted {
        /// Which.
        instance: Instance,
        /// Since.
        at: Timestamp,
    },
    /// It could not be started, and has ended.
    StartFailed {
        /// Which.
        instance: Instance,
        /// Why.
        message: String,
    },
    /// It ended.
    ContainerExited {
        /// Which.
        instance: Instance,
        /// How.
        exit: Exit,
    },
    /// A hook has ended.
    HookEnded {
        /// Of which instance.
        instance: Instance,
        /// Which hook.
        hook: HookKind,
        /// Whether it failed.
        failed: bool,
    },
    /// A probe has come to another result than before.
    ProbeTurned {
        /// Of which instance.
        instance: Instance,
        /// Which probe.
        probe: ProbeKind,
        /// Whether it succeeds now.
        healthy: bool,
    },
    /// Whether the node has room for the pod with other resources.
    RoomDecided {
        /// What it would take.
        requests: Totals,
        /// The answer.
        verdict: Verdict,
    },
    /// Instances were given what was granted, or not.
    ResourcesApplied {
        /// Which of them.
        containers: Vec<Instance>,
        /// Whether the pod as a whole was given it too.
        whole: bool,
        /// Why not.
        error: Option<String>,
    },
}
