//! Real daemons on hosts of their own: a host is a network namespace that the test makes and
//! removes, a daemon is the real binary in it with a data directory of its own, and the client
//! is the real CLI.
//!
//! Everything is undone when the values are dropped, also when the test fails.

mod cluster;
mod daemon;
mod host;
mod image;
mod observe;
mod registry;
mod session;

pub use cluster::{Cluster, Network, address};
pub use daemon::{Daemon, Outcome};
pub use host::{Host, Way};
pub use image::{busybox, busybox_archive, image_archive, program};
pub use observe::{kabuki, until, use_release};
pub use registry::Registry;
pub use session::{Session, key, seen};
