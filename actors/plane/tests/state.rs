//! The raft group as its callers see it: on a real disk, killed, full, and under load.

#[path = "state/crash.rs"]
mod crash;
#[path = "state/disk.rs"]
mod disk;
#[path = "state/group.rs"]
mod group;
#[path = "state/support.rs"]
mod support;
#[path = "state/watching.rs"]
mod watching;
