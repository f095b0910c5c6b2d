//! The control plane: the actors that hold, guard and reconcile the state.
//!
//! | module | what |
//! |---|---|
//! | [`raft_group`] | raft, its log and the watches: everything that holds the state |
//! | [`wal`] | the state's directory, and what an operator does with it |
//! | [`gateway`] | the one door to the state |
//! | [`cluster`] | a server among the other nodes |
//! | [`admitting`] | who becomes a member, certificates, founding |
//! | [`front`] | the control plane as the HTTP API sees it |
//! | [`session`] | sessions of the native protocol |
//! | [`controller`] | the shell around every controller core |
//! | [`scheduler`] | the shell around the scheduler's core |
//! | [`events`] | the writer of events |
//! | [`token`] | the tokens of service accounts |
//! | [`pki`] | certificates and the administrator's kubeconfig |

pub mod admitting;
pub mod bootstrap;
pub mod cluster;
pub mod controller;
pub mod events;
pub mod front;
pub mod gateway;
pub mod pki;
mod plane;
pub mod raft;
pub mod raft_group;
pub mod scheduler;
pub mod session;
mod tenure;
pub mod token;
pub mod wal;
pub mod watch;

pub use plane::{Plane, PlaneArgs, state_dir};
pub use wal::WalError;
