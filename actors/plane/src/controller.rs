//! The shell around every controller core: one actor type for all of them.
//!
//! ```text
//! controllers (one-for-one)
//! ├── deployment-controller
//! ├── replicaset-controller
//! ├── namespace-controller
//! └── ...one child per `kabuki_reconcile::Reconciler`
//! ```
//!
//! A controller watches what its core names, keeps a queue of keys (each at most once, with a
//! back-off after failures), and for each key calls the core on the newest state and performs
//! the actions under its own identity, several keys at once.
//!
//! Who talks to it: nobody; it lives from its watches. What it knows beyond the state is only
//! its queue, which a new incarnation rebuilds from the initial lists of its watches.

mod actor;
mod perform;
mod watching;

pub use actor::controller_child;
pub(crate) use watching::{Followed, Selected, follow};
