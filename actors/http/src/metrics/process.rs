//! The process, from `/proc` (Prometheus' usual names for it).

use super::exposition::Exposition;
use std::fs;

/// Clock ticks of a second, as `/proc` counts them on Linux.
const TICKS: f64 = 100.0;

pub(super) fn expose(text: &mut Exposition) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in brackets, may hold anything.
    let fields: Vec<&str> = match stat.rsplit_once(')') {
        Some((_, rest)) => rest.split_whitespace().collect(),
        None => Vec::new(),
    };
    // proc(5), counted from the field after the name.
    let field = |index: usize| fields.get(index).and_then(|f| f.parse::<f64>().ok());
    if let (Some(user), Some(system)) = (field(11), field(12)) {
        text.one(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            true,
            &[],
            (user + system) / TICKS,
        );
    }
    if let Some(threads) = field(17) {
        let help = "Number of OS threads of the process.";
        text.one("process_threads", help, false, &[], threads);
    }
    if let Some(bytes) = resident_bytes() {
        let help = "Resident memory size in bytes.";
        text.one("process_resident_memory_bytes", help, false, &[], bytes);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        let help = "Number of open file descriptors.";
        text.one("process_open_fds", help, false, &[], open.count() as f64);
    }
    if let (Some(since_boot), Some(boot)) = (field(19), boot_time()) {
        text.one(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            false,
            &[],
            boot + since_boot / TICKS,
        );
    }
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024.0)
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|l| l.strip_prefix("btime "))?;
    line.trim().parse().ok()
}
