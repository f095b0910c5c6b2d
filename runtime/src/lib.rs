//! Containers on one node.
//!
//! - `spec`: what the node agent asks for and is told, in plain types.
//! - `shim`: one small process per pod that owns its containers, and the daemon's client to it.
//! - `oci`: from those types to an OCI runtime configuration; `seccomp`: the default filter.
//! - `image`: from registries and archives to directories that overlayfs can stack.
//! - `cgroup`: limits, usage and the killing of all that a pod left behind.
//! - `memory`: giving back what was freed; `thread`: who goes first; `volatile`: what is never on
//!   a disk.
#![allow(unsafe_code)] // namespaces, descriptors passed between processes, and raw signals

mod cgroup;
pub mod image;
mod memory;
mod oci;
mod seccomp;
mod shim;
mod spec;
mod thread;
mod volatile;

pub use cgroup::{CgroupError, CgroupStats, Cgroups, SwiftMoves};
pub use memory::give_back_memory;
pub use oci::{OciError, default_capabilities};
pub use seccomp::SeccompError;
pub use shim::{
    Attached, Discovery, ExecHandle, ShimClient, ShimError, ShimEvents, ShimLauncher,
    resize_terminal, shim_main,
};
pub use spec::{
    AttachSpec, Capabilities, ContainerSpec, ContainerState, ContainerStatus, Device, Event,
    ExecSpec, ExecUser, ExitStatus, IdRange, IpcMode, LogSpec, Mount, MountKind, NetMode, PidMode,
    PodMount, PodSpec, Propagation, Resources, Rlimit, Rootfs, Seccomp, ShimStatus, Warnings,
};
pub use thread::prefer_this_thread;
pub use volatile::{drop_from_memory, keep_in_memory};
