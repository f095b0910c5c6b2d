//! The scheduler's core: which pod goes to which node, as a pure function of what is known of
//! pods and nodes. Time and the seed that breaks ties are arguments.
//!
//! | module | what |
//! |---|---|
//! | [`Cluster`] | nodes and what is on them, kept up to date change by change |
//! | [`Queue`] | pods that wait: by priority, with back-off, retried when something could help |
//! | [`plan`] | places a batch of pods, each on the best node that takes it |
//! | `filter` | which nodes take a pod, in the order and words of Kubernetes' plugins |
//! | `score` | which of them is best |
//! | `candidates` | both for all nodes at once, kept up to date node by node |
//!
//! Pods of one template form a class: all that is asked of a node is the same for each of them,
//! so it is asked once per class and node, and again only of nodes that changed.

mod amounts;
mod candidates;
mod cluster;
mod filter;
mod node;
mod plan;
mod pod;
mod queue;
mod resized;
mod score;
mod selection;

pub use amounts::Amounts;
pub use cluster::Cluster;
pub use filter::{Plugin, Reason};
pub use plan::{Decision, Failure, plan};
pub use pod::{Class, Pending};
pub use queue::Queue;

#[cfg(test)]
mod tests;
