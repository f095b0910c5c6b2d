//! What the machine wants done.

use super::fact::Instance;
use jiff::Timestamp;
use kabuki_model::kind::pod::Totals;

/// When an image is looked for at its registry (`imagePullPolicy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// When the node lacks it.
    IfNotPresent,
    /// Not at all.
    Never,
}

/// A hook of a container (`lifecycle`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookKind {
    /// After its start.
    PostStart,
    /// Before it is asked to end.
    PreStop,
}

/// An event for the people who watch the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodEvent {
    /// `Warning` rather than `Normal`.
    pub warning: bool,
    /// `Pulled`, `BackOff`: kubelet's words.
    pub reason: String,
    /// For people.
    pub message: String,
    /// The container that it is about.
    pub container: Option<String>,
}

/// One thing to do. Those that can fail are answered by the facts that their text names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make the volumes: `VolumesReady` or `VolumesFailed`.
    PrepareVolumes,
    /// Make the namespaces and the network: `SandboxReady` or `SandboxFailed`. What was left of
    /// an earlier attempt is used or removed.
    PrepareSandbox,
    /// Have the image: `PullStarted` when it must be fetched, then `ImageReady` or `ImageFailed`.
    PullImage {
        /// For which container.
        container: String,
        /// The reference in the manifest.
        image: String,
        /// When to fetch it.
        policy: PullPolicy,
    },
    /// Set up an instance: `ContainerCreated`, `ConfigFailed`, `CreateFailed`, or `StartFailed`
    /// when that shows already that its program cannot start.
    CreateContainer(Instance),
    /// Start it: `ContainerStarted` or `StartFailed`; later `ContainerExited`.
    StartContainer(Instance),
    /// Send its stop signal; `ContainerExited` follows when it obeys.
    Signal(Instance),
    /// Kill it; `ContainerExited` follows.
    Kill(Instance),
    /// Run a hook of a running instance: `HookEnded`, unless the instance ends first. The state is
    /// stored before it begins: whoever adopts the pod asks again, which means to wait for the
    /// command that runs already, or to repeat what cannot be waited for.
    RunHook {
        /// Of which instance.
        instance: Instance,
        /// Which hook.
        hook: HookKind,
    },
    /// Remove what an ended (or never started) instance left; its log stays.
    RemoveContainer(Instance),
    /// Remove namespaces and network, and the volumes unless they are to be kept: `SandboxGone`.
    TeardownSandbox {
        /// Whether the pod goes on with the same volumes.
        keep_volumes: bool,
    },
    /// Record an event.
    Record(PodEvent),
    /// Send `Woken` at this time. Replaces the earlier time.
    WakeAt(Timestamp),
    /// Report the status.
    StatusChanged,
    /// Find out whether the node has room for the pod with other resources: `RoomDecided`, and
    /// once more when a refusal no longer holds.
    AskForRoom {
        /// What the pod would take.
        requests: Totals,
    },
    /// Give running instances what was granted: `ResourcesApplied`.
    ApplyResources {
        /// Which of them.
        containers: Vec<Instance>,
        /// Whether the pod's own bounds may be tightened: else they are only widened.
        whole: bool,
    },
    /// The pod's life is over: report the last status, then forget it.
    Finished {
        /// Whether the API still has it and must be told to let it go.
        delete_from_api: bool,
    },
}
