//! One pod on this node.
//!
//! `life` drives the pod's state machine: it performs the machine's effects, each in a task of
//! its own, and feeds back what came of them. It never waits for anything in a handler.
//!
//! Adoption: the machine's state is stored with the pod's shim after every change. A restarted
//! `life` (or agent) connects to the shim, reads the state and what runs, and goes on.
//!
//! Who talks to it: the manager (the manifest changed, the API forgot the pod), its shim
//! (containers ended), its own tasks.

mod actor;
mod app_armor;
mod container;
mod effects;
mod hook;
mod identities;
mod log;
mod message;
mod mounts;
pub(crate) mod places;
mod plan;
mod resize;
mod sandbox;
mod security;
mod sources;
mod usage;

pub(crate) use actor::{PodMessage, child};
pub(crate) use container::shim_container;
pub(crate) use log::{log_file, remove_logs};
pub(crate) use sandbox::{HANDLERS, chain, etc, remove_files, remove_shim};
