//! Keeps the pods of this node in step with the API: it watches those that are bound here,
//! starts an actor for each, tells it of changes, and ends it when its life is over. At its
//! start it adopts the pods whose shims still run; those that the API no longer has are ended.
//! While no server answers, it knows the adopted ones from a copy on disk (`copy`).
//!
//! Static pods come from a folder instead (`statics`); their mirrors in the API are not run.
//!
//! The watch is read by a task that waits for each batch to be handled, so a flood of changes
//! waits in the watch and not in the mailbox.

mod actor;
mod adopt;
mod copy;
mod statics;
mod watch;

pub(crate) use actor::{ManagerHandle, ManagerMessage};
