//! What a shim tells: states, events, and the requests for further processes and streams.

use serde::{Deserialize, Serialize};

use super::PodSpec;

/// Things that were asked for and that this host cannot do, in words for a user.
pub type Warnings = Vec<String>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    pub id: String,
    pub name: String,
    pub created_at_ns: u64,
    pub state: ContainerState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Set up and waiting for its start.
    Created {
        pid: i32,
    },
    Running {
        pid: i32,
        started_at_ns: u64,
    },
    /// `started_at_ns` is 0 for a container that never started.
    Exited {
        started_at_ns: u64,
        exit: ExitStatus,
    },
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExitStatus {
    /// The exit code; 128 plus the signal number for a process that a signal ended.
    pub code: i32,
    /// The signal that ended it, or 0.
    pub signal: i32,
    /// The kernel's out-of-memory killer took a process of the container.
    pub oom_killed: bool,
    pub finished_at_ns: u64,
}

/// Everything that a shim knows; what an agent needs to adopt the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimStatus {
    /// The shim's process. Its namespaces are the pod's: `/proc/<pid>/ns/net`.
    pub pid: i32,
    /// `None` for a spare that no pod has been given to yet.
    pub pod: Option<PodSpec>,
    pub containers: Vec<ContainerStatus>,
    /// The bytes that the agent last stored here, untouched.
    pub agent_state: Vec<u8>,
    /// Container log bytes lost because a log file could not be written.
    pub log_bytes_lost: u64,
}

/// Pushed to every connected client as it happens; [`ShimStatus`] has it too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    ContainerExited {
        id: String,
        started_at_ns: u64,
        exit: ExitStatus,
    },
    /// Sent only to the client that asked for the process.
    ExecExited { exec_id: u64, exit: ExitStatus },
}

/// A further process in a running container. It inherits the container's environment,
/// directory, confinement and limits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExecSpec {
    pub container: String,
    pub args: Vec<String>,
    /// Added to the container's environment.
    pub env: Vec<String>,
    /// `None` is the container's working directory.
    pub cwd: Option<String>,
    pub user: Option<ExecUser>,
    /// One pseudo-terminal for all three streams; its size can be set on the returned file.
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    /// Ignored with `tty`, where both outputs are one.
    pub stderr: bool,
    /// Rows and columns of the terminal at its start.
    pub size: Option<(u16, u16)>,
    /// A name makes it last: it goes on without the client, and who asks for the same name in the
    /// same container again hears of that one's end. Such a process has no streams.
    pub lasting: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExecUser {
    pub uid: u32,
    pub gid: u32,
    pub supplemental_gids: Vec<u32>,
}

/// Which streams of a container's main process to join.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AttachSpec {
    pub container: String,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}
