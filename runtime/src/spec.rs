//! What the node agent asks of a pod's shim, in terms of neither Kubernetes nor OCI.
//!
//! Every type here crosses the shim's socket as bincode, so none of them may describe itself
//! (no untyped JSON values, no skipped fields). The agent fills them from the pod's manifest;
//! the shim turns a [`ContainerSpec`] into an OCI runtime configuration. Times are nanoseconds
//! since the Unix epoch, sizes are bytes.

use serde::{Deserialize, Serialize};

mod container;
mod status;

pub use container::{
    Capabilities, ContainerSpec, Device, LogSpec, Mount, MountKind, Propagation, Rlimit, Rootfs,
    Seccomp,
};
pub use status::{
    AttachSpec, ContainerState, ContainerStatus, Event, ExecSpec, ExecUser, ExitStatus, ShimStatus,
    Warnings,
};

/// A pod's sandbox: the namespaces and the cgroup that its containers share.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PodSpec {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    /// Host name inside the pod; not applied when the network is the host's.
    pub hostname: String,
    /// Absolute cgroup path of the QoS class; the pod's own cgroup is [`PodSpec::cgroup_path`].
    pub cgroup_parent: String,
    /// Limits of the pod's cgroup as a whole.
    pub resources: Resources,
    pub net: NetMode,
    pub pid: PidMode,
    pub ipc: IpcMode,
    /// Namespaced kernel parameters by dotted name, written once when the pod is set up.
    pub sysctls: Vec<(String, String)>,
    /// File systems that live in the shim's mount namespace and vanish with it.
    pub mounts: Vec<PodMount>,
    /// Size of `/dev/shm`, shared by the pod's containers; 0 means 64 MiB.
    pub shm_size: u64,
    /// The host's ids that are the pod's own, from its 0 on; without them it has the host's users.
    pub users: Option<IdRange>,
}

/// User and group ids of the host, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    pub first: u32,
    pub count: u32,
}

impl PodSpec {
    /// The pod's cgroup below its QoS parent.
    pub fn cgroup_path(&self) -> String {
        format!(
            "{}/pod{}",
            self.cgroup_parent.trim_end_matches('/'),
            self.uid
        )
    }
}

/// Whose network the pod uses. With the host's, host name and UTS namespace are the host's too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum NetMode {
    #[default]
    New,
    Host,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PidMode {
    /// Each container has its own process namespace.
    #[default]
    Container,
    /// One namespace for the pod, whose process 1 only reaps (`shareProcessNamespace`).
    Pod,
    Host,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum IpcMode {
    #[default]
    Pod,
    Host,
}

/// A tmpfs in the shim's mount namespace (an emptyDir in memory, a secret volume). The agent
/// reaches its content through `/proc/<shim>/root`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PodMount {
    /// Absolute directory to mount on; created if missing.
    pub path: String,
    /// Size limit; 0 leaves the kernel's default of half the memory.
    pub size: u64,
    /// Permission bits of its root directory.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// The size of huge pages that it is made of; 0 for ordinary memory.
    pub page_size: u64,
}

/// Limits written to a cgroup; `None` leaves the kernel's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Relative weight on cgroup v1's scale, 2 to 262144; converted for v2.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU time per period; -1 is unlimited.
    pub cpu_quota_us: Option<i64>,
    pub cpu_period_us: Option<u64>,
    /// Bytes; -1 is unlimited. Swap is not allowed on top of it.
    pub memory_limit: Option<i64>,
    /// Processes and threads; -1 is unlimited.
    pub pids_limit: Option<i64>,
    /// CPU and memory-node lists in the kernel's list syntax (`0-2,7`).
    pub cpuset_cpus: Option<String>,
    pub cpuset_mems: Option<String>,
    /// cgroup v2 files to write verbatim; refused on a v1 host.
    pub unified: Vec<(String, String)>,
    /// Bytes of huge pages by the kernel's name of their size (`2MB`).
    pub hugetlb: Vec<(String, i64)>,
}
