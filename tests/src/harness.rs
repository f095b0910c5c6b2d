//! Real daemons on hosts of their own: a host is a network namespace that the test makes and
//! removes, a daemon is the real binary in it with a data directory of its own, and the client
//! is the real CLI.
//!
//! Everything is undone when the values are dropped, also when the test fails.

mod clients;
mod cluster;
mod daemon;
mod ended;
mod host;
mod image;
mod observe;
mod registry;
mod session;
mod web;

pub use clients::{prometheus, protobuf_check, python};
pub use cluster::{Cluster, Network, address};
pub use daemon::{Daemon, Outcome};
pub use ended::Ended;
pub use host::{Entrance, Host, Way};
pub use image::{busybox, busybox_archive, image_archive, program};
pub use observe::{kabuki, process, until, use_release};
pub use registry::Registry;
pub use session::{Session, key, seen};
pub use web::{Lines, Reply, Web};
