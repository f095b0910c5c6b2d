//! The scheduler: gives every pod that has no node the node that suits it best.
//!
//! ```text
//!   pods, nodes ──watch──> Scheduler ── plan (pure) ──> one Bind per batch
//!                             ^                              │
//!                             └──── placed, or refused ──────┘
//! ```
//!
//! It knows nodes and pods from the state and follows them; whatever waits while a batch is being
//! bound makes the next batch. A pod that no node takes is told so in its condition and an event,
//! and waits until something changes that could help it. Pods that name another scheduler are
//! left alone.
//!
//! Who talks to it: nobody; it lives from its watches.
//!
//! Invariants: at most one batch is being bound; a pod that is being bound counts on its node
//! from the decision on, until the binding is seen or refused. What it knows beyond the state is
//! only that and who waits, which a new incarnation learns from the state again.

mod actor;
mod message;
mod perform;
#[cfg(test)]
mod tests;

pub use actor::scheduler_child;
