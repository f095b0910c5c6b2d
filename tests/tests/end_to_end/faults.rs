//! What goes wrong around a node: damaged files, a full disk, lying registries, hostile archives,
//! manifests and clients. Each ends in a clear error, and nothing else is harmed.

#[path = "faults/archives.rs"]
mod archives;
#[path = "faults/clients.rs"]
mod clients;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/manifests.rs"]
mod manifests;
#[path = "faults/privacy.rs"]
mod privacy;
#[path = "faults/registries.rs"]
mod registries;
#[path = "faults/state.rs"]
mod state;

use kabuki_tests::harness::{Daemon, busybox_archive};
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn node_with_busybox() -> Daemon {
    let node = Daemon::start();
    load_busybox(&node);
    node
}

fn load_busybox(node: &Daemon) {
    // Not in the data directory, which may be the one that is full.
    let dir = tempfile::tempdir().expect("a folder");
    node.ok(&["image", "load", text(&busybox_archive(dir.path()))]);
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// The daemon's resident memory, in KiB.
fn rss_kib(node: &Daemon) -> u64 {
    let pid = node.pid().expect("the daemon runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it is alive");
    let line = status
        .lines()
        .find(|l| l.starts_with("VmRSS:"))
        .expect("a size");
    line.split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number")
}

/// Every file below a folder, links not followed.
fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return found;
    };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_below(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found.sort();
    found
}
