//! Watch: who sees which change.
//!
//! ```text
//!   Raft ── Committed ──> Watch ──(index)──> the subscribers that it may concern
//!                           │                    │ outbox: bounded
//!                           └── history          └── full: lags, then resynchronised from it
//! ```
//!
//! Callers hold a [`WatchHandle`]. The initial list does not pass through the actor: every
//! subscription reads it, piece by piece, from the snapshot that it began with.
//!
//! Invariants:
//! - a subscription sees the changes that concern it in the order of their revisions, each once;
//! - what waits for a subscriber is bounded; one that is slower than the history is long ends
//!   with `Expired`, and is told so;
//! - a subscription that is dropped leaves nothing behind.

mod actor;
mod handle;
mod hub;
mod placement;
mod resuming;
mod subscription;

#[cfg(test)]
mod tests;

pub use handle::{WatchConfig, WatchHandle};
pub use resuming::ResumingWatch;
pub use subscription::WatchSubscription;

pub(crate) use actor::{Watch, WatchArgs, WatchMessage};
