//! The shim: one small process per pod that owns the pod's containers.
//!
//! ```text
//! node daemon ── unix socket ── shim ─┬─ container (process 1 of its own namespace)
//!   ShimClient      frames,           ├─ container ── further processes (exec)
//!                   descriptors       └─ infra (process 1 of a shared namespace, if asked for)
//! ```
//!
//! The shim is the daemon's own program, started anew with a hidden subcommand before any
//! thread exists, because libcontainer clones processes and changes directories in ways that
//! only a single-threaded process survives. It detaches from the daemon at once and outlives
//! it: pods never stop because the daemon does. A restarted daemon finds the shims by their
//! directories ([`ShimLauncher::discover`]) and learns everything from one status request.
//!
//! What a pod leaves behind is bounded by construction. Its mounts are in the shim's mount
//! namespace and go when the last process does. All its processes are in the pod's cgroup, so
//! that even those of a killed shim are found. All its files are in the shim's directory.
//!
//! The shim knows nothing of images, volumes, restarts or Kubernetes; the daemon decides.

mod client;
mod launcher;
mod mounter;
mod server;
mod terminal;
mod wire;

pub use client::{Attached, ExecHandle, ShimClient, ShimEvents};
pub use launcher::{Discovery, ShimLauncher};
pub use server::main as shim_main;
pub use terminal::resize_terminal;

/// A request to a shim that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// The shim answered: what it tried and why that failed.
    #[error("{0}")]
    Refused(String),
    /// It answered what is wrong with a container's description: none was made.
    #[error("{0}")]
    Description(String),
    /// It answered what is wrong with a sub-path of a volume: no container was made.
    #[error("{0}")]
    SubPath(String),
    #[error("shim {shim} did not answer {request} within {limit_ms} ms")]
    TimedOut {
        shim: String,
        request: &'static str,
        limit_ms: u64,
    },
    #[error("shim {0} is gone")]
    Gone(String),
    #[error("shim {shim}: cannot {action}")]
    Io {
        shim: String,
        action: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("shim {0} speaks another protocol version ({1})")]
    Version(String, u32),
    #[error("shim {0} sent a frame that cannot be read")]
    Frame(String),
    #[error(transparent)]
    Cgroup(#[from] crate::cgroup::CgroupError),
}
