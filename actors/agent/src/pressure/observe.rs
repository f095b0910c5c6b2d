//! Measuring what the node has left.

use crate::node::{disk, meminfo};
use crate::services::Services;
use kabuki_lifecycle::eviction::{Observation, Signal};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// All signals that can be measured here.
pub(super) fn all(services: &Services) -> Vec<Observation> {
    let mut all = vec![memory(services), pids()];
    if let Some(found) = disk(&services.layout.data) {
        all.push(Observation {
            signal: Signal::NodeFsAvailable,
            available: found.free_bytes,
            capacity: found.total_bytes,
        });
        all.push(Observation {
            signal: Signal::NodeFsInodesFree,
            available: found.free_inodes,
            capacity: found.total_inodes,
        });
    }
    // On one and the same file system, the threshold of pods says all there is to say.
    let images = services.layout.images();
    if let Some(found) = disk(&images).filter(|_| !is_same(&images, &services.layout.data)) {
        all.push(Observation {
            signal: Signal::ImageFsAvailable,
            available: found.free_bytes,
            capacity: found.total_bytes,
        });
    }
    all
}

fn is_same(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).map(|m| m.dev()).ok();
    device(one) == device(other)
}

/// The machine's memory, or what is left of the limit of the node's own cgroup when that is less.
fn memory(services: &Services) -> Observation {
    let machine = Observation {
        signal: Signal::MemoryAvailable,
        available: meminfo("MemAvailable"),
        capacity: meminfo("MemTotal"),
    };
    let root = &services.layout.cgroup;
    let Some(limit) = services.cgroups.memory_limit(root) else {
        return machine;
    };
    let used = services.cgroups.stats(root).memory_working_set_bytes;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let left = limit.saturating_sub(i64::try_from(used).unwrap_or(i64::MAX));
    match left < machine.available {
        true => Observation {
            available: left,
            capacity: limit,
            ..machine
        },
        false => machine,
    }
}

fn pids() -> Observation {
    let number = |path: &str, word: usize| -> Option<i64> {
        let text = std::fs::read_to_string(path).ok()?;
        let word = text.split_whitespace().nth(word)?;
        word.rsplit('/').next()?.parse().ok()
    };
    let capacity = number("/proc/sys/kernel/pid_max", 0).unwrap_or(0);
    // The fourth word of the load is `running/all`.
    let used = number("/proc/loadavg", 3).unwrap_or(0);
    Observation {
        signal: Signal::PidAvailable,
        available: capacity.saturating_sub(used),
        capacity,
    }
}
