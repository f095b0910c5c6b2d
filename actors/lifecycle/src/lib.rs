//! The pod's life, as pure logic: what a manifest means for one node, and how a pod goes from
//! one state to the next. Nothing here performs I/O, reads a clock or draws a random number.
//!
//! | module | what |
//! |---|---|
//! | [`machine`] | the state machine: facts and the time go in, effects come out |
//! | [`containers`] | the containers of a pod, and what each is to it |
//! | [`cpus`] | processors that containers have to themselves |
//! | [`probe`] | when which probe runs, and what its results come to |
//! | [`statics`] | pods from files of the node's own |
//! | [`status`] | the `PodStatus` that follows from the machine's state |
//! | [`process`] | what a container runs: command, environment, user |
//! | [`resize`] | what a running pod has, wants and gets |
//! | [`resources`] | QoS class, cgroup limits, score for the out-of-memory killer |
//! | [`hugepages`] | huge pages: limits and volumes |
//! | [`files`] | host name and `/etc/hosts` |
//! | [`admission`] | what a node does not run because of its settings |
//! | [`eviction`] | when the node is short of something, and which pod goes first |
//! | [`volume`] | the files of volumes that show what the API holds |
//!
//! The node agent is the shell around it: it performs the effects with the runtime, the network
//! and the API, and reports what came of them as facts.

pub mod admission;
pub mod containers;
pub mod cpus;
pub mod eviction;
pub mod files;
pub mod hugepages;
pub mod machine;
pub mod probe;
pub mod process;
pub mod resize;
pub mod resources;
pub mod statics;
pub mod status;
pub mod volume;

pub use machine::{
    Effect, Exit, Fact, HookKind, Host, ImageFailure, Instance, PodEvent, PodMachine, PodState,
    PullPolicy, PullReport, RunsAs, Seen, SeenContainer,
};
