//! The pod's life, as pure logic: what a manifest means for one node, and how a pod goes from
//! one state to the next. Nothing here performs I/O, reads a clock or draws a random number.
//!
//! | module | what |
//! |---|---|
//! | [`machine`] | the state machine: facts and the time go in, effects come out |
//! | [`status`] | the `PodStatus` that follows from the machine's state |
//! | [`process`] | what a container runs: command, environment, user |
//! | [`resources`] | QoS class, cgroup limits, score for the out-of-memory killer |
//! | [`files`] | host name and `/etc/hosts` |
//!
//! The node agent is the shell around it: it performs the effects with the runtime, the network
//! and the API, and reports what came of them as facts.

pub mod files;
pub mod machine;
pub mod process;
pub mod resources;
pub mod status;

pub use machine::{
    Effect, Exit, Fact, Host, ImageFailure, Instance, PodEvent, PodMachine, PodState, PullPolicy,
    PullReport, Seen, SeenContainer,
};
