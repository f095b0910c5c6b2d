//! The node agent: actors that make the pods which are bound to this node run, and tell the API
//! what became of them.
//!
//! ```text
//!   agent (one-for-one)
//!   ├── images        what images there are; pulls, one at a time for each name
//!   ├── events        writes events, and counts repeated ones
//!   ├── statuses      writes pods' statuses, the newest of each
//!   ├── spares        shims that wait for a pod
//!   ├── node          the Node object and its conditions
//!   ├── lease         the node's Lease, renewed every ten seconds
//!   ├── peers         the way to the pods of other nodes
//!   ├── directory     the services of the cluster and their endpoints
//!   ├── proxy         the services in the packet filter
//!   ├── names         the name server of the node's pods
//!   ├── metrics       what the node, its pods and their containers use
//!   ├── pressure      frees what it can and evicts pods when the node runs short
//!   └── keeping (rest-for-one)
//!       ├── pods      one supervisor for each pod, with its `life` below
//!       └── manager   watches the API, adopts, starts and ends pods
//! ```
//!
//! Whoever wires a node makes a [`NodeAgent`], puts [`NodeAgent::child`] into its tree, and
//! gives [`NodeAgent::node`] to whoever asks nodes for logs, terminals and images.
//!
//! Known here: how to do what `lifecycle` decides. Not known here: where the API is.

mod api;
mod config;
mod copy;
mod cpus;
mod directory;
mod event;
mod gate;
mod image;
mod lease;
mod manager;
mod metrics;
mod names;
mod network;
mod node;
mod peers;
mod pod;
mod pressure;
mod probe;
mod proxy;
mod reset;
mod room;
mod services;
mod spare;
mod start;
mod statics;
mod status;
mod trace;
mod volume;
mod watching;

pub use kabuki_lifecycle::eviction;

pub use kabuki_lifecycle::cpus::CpuSet;

pub use config::{AgentConfig, ImageGc, Layout, NamesConfig, Reserved};
pub use cpus::CpusError;
pub use gate::host_checks;
pub use reset::reset;
pub use start::{NodeAgent, OpenError};
pub use trace::{PodTrace, Stage};
