//! Reading what a cgroup uses. A figure that the host does not have is 0.

use std::fs;

use serde::{Deserialize, Serialize};

use super::Cgroups;

/// Usage of a pod or container at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CgroupStats {
    /// CPU time used since the cgroup exists.
    pub cpu_usage_ns: u64,
    /// Time spent waiting because the CPU quota was used up.
    pub cpu_throttled_ns: u64,
    pub memory_usage_bytes: u64,
    /// Usage without the page cache that could be dropped at once; what eviction looks at.
    pub memory_working_set_bytes: u64,
    pub memory_rss_bytes: u64,
    pub pids: u64,
}

pub(super) fn read(cgroups: &Cgroups, path: &str) -> CgroupStats {
    let reader = Reader { cgroups, path };
    let mut stats = if cgroups.is_v2() {
        reader.v2()
    } else {
        reader.v1()
    };
    stats.pids = reader.number("pids", "pids.current");
    stats
}

pub(super) fn oom_kills(cgroups: &Cgroups, path: &str) -> u64 {
    let file = if cgroups.is_v2() {
        "memory.events"
    } else {
        "memory.oom_control"
    };
    Reader { cgroups, path }.field("memory", file, "oom_kill")
}

/// v1 writes no limit as a number that no machine has.
const UNLIMITED: u64 = 1 << 60;

pub(super) fn memory_limit(cgroups: &Cgroups, path: &str) -> Option<u64> {
    let file = if cgroups.is_v2() {
        "memory.max"
    } else {
        "memory.limit_in_bytes"
    };
    let text = Reader { cgroups, path }.text("memory", file);
    text.trim().parse().ok().filter(|limit| *limit < UNLIMITED)
}

struct Reader<'a> {
    cgroups: &'a Cgroups,
    path: &'a str,
}

impl Reader<'_> {
    fn v1(&self) -> CgroupStats {
        let usage = self.number("memory", "memory.usage_in_bytes");
        let inactive = self.field("memory", "memory.stat", "total_inactive_file");
        CgroupStats {
            cpu_usage_ns: self.number("cpuacct", "cpuacct.usage"),
            cpu_throttled_ns: self.field("cpu", "cpu.stat", "throttled_time"),
            memory_usage_bytes: usage,
            memory_working_set_bytes: usage.saturating_sub(inactive),
            memory_rss_bytes: self.field("memory", "memory.stat", "total_rss"),
            pids: 0,
        }
    }

    fn v2(&self) -> CgroupStats {
        let usage = self.number("memory", "memory.current");
        let inactive = self.field("memory", "memory.stat", "inactive_file");
        CgroupStats {
            cpu_usage_ns: self.field("cpu", "cpu.stat", "usage_usec") * 1_000,
            cpu_throttled_ns: self.field("cpu", "cpu.stat", "throttled_usec") * 1_000,
            memory_usage_bytes: usage,
            memory_working_set_bytes: usage.saturating_sub(inactive),
            memory_rss_bytes: self.field("memory", "memory.stat", "anon"),
            pids: 0,
        }
    }

    fn text(&self, controller: &str, file: &str) -> String {
        let dir = self.cgroups.dir(controller, self.path);
        dir.and_then(|dir| fs::read_to_string(dir.join(file)).ok())
            .unwrap_or_default()
    }

    fn number(&self, controller: &str, file: &str) -> u64 {
        self.text(controller, file).trim().parse().unwrap_or(0)
    }

    fn field(&self, controller: &str, file: &str, name: &str) -> u64 {
        field(&self.text(controller, file), name)
    }
}

/// The value of a `name value` line.
fn field(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "oom 7\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(field(text, "oom_kill"), 3);
        assert_eq!(field(text, "missing"), 0);
    }
}
