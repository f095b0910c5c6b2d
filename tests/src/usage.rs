//! What a process uses, as the kernel counts it.

use std::time::{Duration, Instant};

/// Memory in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// All of its pages that are in memory.
    pub resident: u64,
    /// The same, with its part of what it shares.
    pub proportional: u64,
    /// What nobody shares with it.
    pub private: u64,
}

/// The memory of a process.
pub fn memory(pid: u32) -> Memory {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let field = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default();
        line.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .unwrap_or(0)
            * 1024
    };
    Memory {
        resident: field("Rss:"),
        proportional: field("Pss:"),
        private: field("Private_Clean:") + field("Private_Dirty:"),
    }
}

/// The part of a core that a process uses for as long as is watched.
pub fn processor(pid: u32, watched: Duration) -> f64 {
    let (begun, before) = (Instant::now(), used(pid));
    std::thread::sleep(watched);
    used(pid).saturating_sub(before).as_secs_f64() / begun.elapsed().as_secs_f64()
}

/// How long a process has run, with its threads that have ended.
pub fn used(pid: u32) -> Duration {
    /// Linux counts in hundredths of a second here on every architecture.
    const TICK: Duration = Duration::from_millis(10);
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before it may hold anything.
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks = fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u32>().ok());
    TICK * ticks.sum::<u32>()
}
