//! Supervisors: actors whose only work is to start, heal and stop other actors.
//!
//! ```text
//!   root ── supervisor ── worker
//!                     └── supervisor ── worker        a child may be a whole tree
//!                                   └── worker …      children may come and go at run time
//! ```
//!
//! The strategy is data ([`SupervisorSpec`]): which siblings restart with a failed child
//! ([`Strategy`]), how many restarts are too many ([`Intensity`]), how long to wait before one
//! ([`Backoff`]), and per child when to restart it and how long its stop may take ([`ChildSpec`]).
//!
//! What counts as a failure: a panic, an `Err` from a handler, a kill, a start that fails or
//! exceeds its limit. A normal end (`myself.stop`) is no failure; only a permanent child restarts
//! after it.
//!
//! Invariants:
//! - children start in the order of the spec and stop in reverse, one after the other;
//! - a child starts only when its former incarnation, and everything below it, is gone;
//! - a supervisor that gives up stops its children in order, then fails, so that *its* parent acts;
//! - stopping one child never delays another one's restart or start (only starts run in line, so
//!   `pre_start` must be quick: long work belongs into the first message).

mod actor;
mod child;
mod handle;
mod intensity;
mod root;
mod spec;
#[cfg(test)]
mod tests;

pub use handle::{ChildError, ChildInfo, SupervisorHandle};
pub use intensity::{Backoff, Intensity};
pub use root::{Root, StartError};
pub use spec::{ChildSpec, Place, Restart, Strategy, SupervisorSpec};
