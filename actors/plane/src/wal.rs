//! Wal: the log on disk, and everything else that the state needs there.
//!
//! ```text
//!   DIR/FORMAT            the version of this layout, written last when the directory is made
//!   DIR/server            the id of the server that the directory is for
//!   DIR/lock              held while a process uses the directory
//!   DIR/synced            the last entry that is known to be on disk
//!   DIR/log/              the log itself (raft-engine)
//!   DIR/snapshot-INDEX    the state after entry INDEX; the two newest are kept
//! ```
//!
//! Talks to it: only the `Raft` actor, through a `WalWriter`. Two threads do all that blocks: one
//! owns the log (append, sync, fetch, compact), one writes snapshots.
//!
//! Invariants:
//! - entries and hard state that are reported as persisted survive a power failure;
//! - all appends that wait go to disk with one sync;
//! - the log reaches back to the older of the two snapshots, so that either of them suffices;
//! - another server's snapshot takes the place of everything at one moment, its rename;
//! - a directory that has lost an entry which was once reported, or has a damaged file, is refused
//!   with the file's name, the place and the remedy; refusing changes nothing in it.
//!
//! A full disk is not damage: what was appended stays, what could not be written is tried again.

mod actor;
mod directory;
mod files;
mod log;
mod offline;
mod snapshots;
mod watermark;
mod writer;

#[cfg(test)]
mod tests;

pub use directory::WalError;
pub use offline::{backup, force_single_voter, last_index, restore, server_id};

pub(crate) use crate::raft::core::Recovered;
pub(crate) use actor::{Wal, WalArgs, WalMessage};
pub(crate) use writer::{Report, WalReport, WalWriter};
