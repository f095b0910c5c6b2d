//! One container: its image, process, limits and confinement.

use serde::{Deserialize, Serialize};

use super::Resources;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Unique within the shim and stable over the container's life: letters, digits, `_+-.`.
    pub id: String,
    /// The manifest's container name, for status only.
    pub name: String,
    pub rootfs: Rootfs,
    /// Remount the root read-only before the process starts.
    pub readonly_root: bool,
    /// Program and arguments, already merged with the image's; looked up in `PATH`.
    pub args: Vec<String>,
    /// `KEY=value`, already expanded.
    pub env: Vec<String>,
    /// Absolute working directory; created in the root if the image lacks it.
    pub cwd: String,
    /// Volumes and files, on top of the default ones, in this order.
    pub mounts: Vec<Mount>,
    pub uid: u32,
    pub gid: u32,
    pub supplemental_gids: Vec<u32>,
    pub umask: Option<u32>,
    pub capabilities: Capabilities,
    /// All capabilities, all host devices, no seccomp, nothing masked; overrides those fields.
    pub privileged: bool,
    pub no_new_privs: bool,
    pub seccomp: Seccomp,
    /// A profile of AppArmor that is loaded already.
    pub app_armor: Option<String>,
    /// Paths hidden in the container; `None` takes the runtime's default list.
    pub masked_paths: Option<Vec<String>>,
    /// Paths remounted read-only; `None` takes the runtime's default list.
    pub readonly_paths: Option<Vec<String>>,
    /// -1000 to 1000. Raised to what the host permits, with a warning, if it cannot be lowered.
    pub oom_score_adj: i32,
    pub resources: Resources,
    pub rlimits: Vec<Rlimit>,
    /// Devices beyond the default ones.
    pub devices: Vec<Device>,
    /// A pseudo-terminal instead of three pipes; all output then counts as stdout.
    pub tty: bool,
    /// Keep a standard input open for attaching clients; otherwise it is `/dev/null`.
    pub stdin: bool,
    /// Close standard input when the first client that attached to it goes away.
    pub stdin_once: bool,
    /// Where output goes in the CRI log format; `None` discards what nobody is attached to.
    pub log: Option<LogSpec>,
    /// A running container of the same shim whose processes this one sees, when each container
    /// has processes of its own. It ends with that one.
    pub pid_of: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rootfs {
    /// Image layers (topmost first) under a writable directory. The shim mounts them; `upper`
    /// and `work` are the agent's to create and to remove, on one file system.
    Overlay {
        lower: Vec<String>,
        upper: String,
        work: String,
    },
    /// A directory used as it is.
    Dir(String),
}

impl Default for Rootfs {
    fn default() -> Self {
        Self::Dir(String::new())
    }
}

/// The capability set that the process gets: effective, permitted and bounding alike.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Capabilities {
    /// The usual fourteen of container runtimes; see [`crate::default_capabilities`].
    #[default]
    Default,
    /// Exactly these, as `CAP_NET_ADMIN`.
    Exactly(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Seccomp {
    #[default]
    Unconfined,
    /// The runtime's own allow-list.
    RuntimeDefault,
    /// A profile file's JSON content, in the format of container runtimes' profiles.
    Profile(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container; created (directory, or file for a file) if missing.
    pub destination: String,
    pub kind: MountKind,
    pub readonly: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    Bind {
        /// Absolute host path, a directory or a file.
        source: String,
        /// Resolved below `source` without ever leaving it; a missing directory is created.
        sub_path: Option<String>,
        propagation: Propagation,
        /// With `readonly`: also every mount below (needs kernel 5.12).
        recursive_readonly: bool,
    },
    /// Private to this container. A size of 0 leaves the kernel's default.
    Tmpfs { size: u64, mode: u32 },
}

impl Default for MountKind {
    fn default() -> Self {
        Self::Tmpfs {
            size: 0,
            mode: 0o1777,
        }
    }
}

impl Mount {
    /// A bind of `source` with everything else at its plainest.
    pub fn bind(source: impl Into<String>, destination: impl Into<String>, readonly: bool) -> Self {
        Self {
            destination: destination.into(),
            kind: MountKind::Bind {
                source: source.into(),
                sub_path: None,
                propagation: Propagation::None,
                recursive_readonly: false,
            },
            readonly,
        }
    }
}

/// How later mounts of the host are seen in the container, and the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Propagation {
    #[default]
    None,
    HostToContainer,
}

/// A resource limit by its OCI name, such as `RLIMIT_NOFILE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    pub name: String,
    pub soft: u64,
    pub hard: u64,
}

/// A device node of the host, made available under another (or the same) path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub host_path: String,
    pub path: String,
    /// Any of `r`, `w` and `m`.
    pub permissions: String,
}

/// A log file in the CRI format and when to rotate it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogSpec {
    /// Absolute path of the current file; its directory is created if missing.
    pub path: String,
    /// Rotate once the file holds this many bytes; 0 never rotates.
    pub max_size: u64,
    /// Files kept in all, the current one included; at least 1.
    pub max_files: u32,
}
