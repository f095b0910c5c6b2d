//! The control groups of libcontainer: the interface that it calls, with an implementation that
//! knows that its caller is the shim.
//!
//! The published crate reads the mount table twice for each of twelve controllers in every new
//! container, and joins a cgroup by writing a process id to `cgroup.procs`, for which the kernel
//! waits a whole grace period of 8 to 20 ms while nobody else on the machine may make a cgroup.
//! Here the table is read once ([`common::prepare`], before there is a container), and on v1 a
//! process joins by naming itself in `tasks`, which waits for nobody. Limits are not written
//! here: the shim does that. A pod's cgroup exists before any of this is called.

/// The name is libcontainer's.
#[path = "interface.rs"]
pub mod common;
mod devices;
mod hierarchy;
pub mod v1;
pub mod v2;
