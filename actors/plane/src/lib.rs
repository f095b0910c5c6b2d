//! The control plane: the actors that hold, guard and reconcile the state.
//!
//! | module | what |
//! |---|---|
//! | [`raft_group`] | raft, its log and the watches: everything that holds the state |
//! | [`gateway`] | the one door to the state |
//! | [`session`] | the client port |
//! | [`controller`] | the shell around every controller core |
//! | [`scheduler`] | the shell around the scheduler's core |
//! | [`events`] | the writer of events |
//! | [`pki`] | certificates and the administrator's kubeconfig |

pub mod bootstrap;
pub mod controller;
pub mod events;
pub mod gateway;
pub mod pki;
mod plane;
pub mod raft;
pub mod raft_group;
pub mod scheduler;
pub mod session;
mod wal;
pub mod watch;

pub use plane::Plane;
pub use wal::WalError;
