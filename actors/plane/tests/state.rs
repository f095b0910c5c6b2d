//! The raft group as its callers see it: on a real disk, killed, full, and under load.

#[path = "state/crash.rs"]
mod crash;
#[path = "state/disk.rs"]
mod disk;
#[path = "state/group.rs"]
mod group;
#[path = "state/network.rs"]
mod network;
#[path = "state/servers.rs"]
mod servers;
#[path = "state/support.rs"]
mod support;
#[path = "state/watching.rs"]
mod watching;
