//! The state machine: a deterministic, multi-version map of objects. The Raft actor applies
//! committed commands to it; everyone else reads the snapshots that it hands out.
//!
//! Nothing here performs I/O on its own, reads a clock or draws a random number: the same
//! commands in the same order give the same state, byte for byte, on every machine.
//!
//! | module | what |
//! |---|---|
//! | `snapshot` | the whole state at one revision; cloning it costs a few pointers |
//! | `apply` | [`Store`]: commands in, changes out |
//! | `encoding` | a snapshot as a file: bounded chunks, each with its checksum |
//! | `history` | the recent changes per resource, for watches that resume |

mod apply;
mod encoding;
mod history;
mod snapshot;

pub use apply::Store;
pub use encoding::{Encoder, FORMAT_VERSION, Problem, Restored, SnapshotError, read_snapshot};
pub use history::{Expired, History, HistoryLimits, event_of};
pub use snapshot::{Position, Snapshot};
