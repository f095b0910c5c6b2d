//! The node's conditions (Kubernetes, "Node status").

use super::capacity::{disk, meminfo};
use crate::services::Services;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Kubelet's own thresholds of eviction: below them the node is under pressure.
const MEMORY_LEFT: i64 = 100 << 20;
const DISK_LEFT_PERCENT: i64 = 10;
const INODES_LEFT_PERCENT: i64 = 5;
/// With fewer process numbers left, starting anything may fail.
const PIDS_LEFT: i64 = 1000;

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    memory: bool,
    disk: bool,
    pids: bool,
}

/// Since when each condition has its value.
#[derive(Debug, Default)]
pub(super) struct Since {
    held: HashMap<&'static str, (bool, Timestamp)>,
}

pub(super) fn measure(services: &Services) -> Measured {
    let low = |left: i64, all: i64, percent: i64| all > 0 && left < all / 100 * percent;
    let disk = disk(&services.layout.data).is_some_and(|d| {
        low(d.free_bytes, d.total_bytes, DISK_LEFT_PERCENT)
            || low(d.free_inodes, d.total_inodes, INODES_LEFT_PERCENT)
    });
    Measured {
        memory: meminfo("MemAvailable") < MEMORY_LEFT,
        disk,
        pids: pids_left() < PIDS_LEFT,
    }
}

fn pids_left() -> i64 {
    let number = |path: &str, word: usize| -> Option<i64> {
        let text = std::fs::read_to_string(path).ok()?;
        text.split_whitespace()
            .nth(word)?
            .rsplit('/')
            .next()?
            .parse()
            .ok()
    };
    // The fourth word of the load is `running/all`.
    let used = number("/proc/loadavg", 3).unwrap_or(0);
    number("/proc/sys/kernel/pid_max", 0).map_or(i64::MAX, |max| max.saturating_sub(used))
}

/// The conditions, and whether one changed.
pub(super) fn of(measured: &Measured, since: &mut Since) -> (Value, bool) {
    let now = Timestamp::now();
    let shown = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut changed = false;
    let rows = [
        (
            "MemoryPressure",
            measured.memory,
            "Memory",
            "memory available",
        ),
        ("DiskPressure", measured.disk, "Disk", "disk pressure"),
        ("PIDPressure", measured.pids, "PID", "PID available"),
    ];
    let mut conditions = Vec::new();
    let mut push = |type_: &'static str, value: bool, reason: String, message: String| {
        let held = since
            .held
            .get(type_)
            .copied()
            .filter(|(held, _)| *held == value);
        changed |= held.is_none();
        let at = held.map_or(now, |(_, at)| at);
        since.held.insert(type_, (value, at));
        conditions.push(json!({
            "type": type_, "status": if value { "True" } else { "False" },
            "reason": reason, "message": message,
            "lastHeartbeatTime": shown(now), "lastTransitionTime": shown(at),
        }));
    };
    for (type_, pressed, what, text) in rows {
        let (reason, message) = match (pressed, what) {
            (false, "Disk") => (
                "KubeletHasNoDiskPressure".to_string(),
                format!("kubelet has no {text}"),
            ),
            (false, _) => (
                format!("KubeletHasSufficient{what}"),
                format!("kubelet has sufficient {text}"),
            ),
            (true, "Disk") => (
                "KubeletHasDiskPressure".to_string(),
                format!("kubelet has {text}"),
            ),
            (true, _) => (
                format!("KubeletHasInsufficient{what}"),
                format!("kubelet has insufficient {text}"),
            ),
        };
        push(type_, pressed, reason, message);
    }
    push(
        "Ready",
        true,
        "KubeletReady".to_string(),
        "kubelet is posting ready status".to_string(),
    );
    (Value::Array(conditions), changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_is_noticed_and_keeps_its_time() {
        let mut since = Since::default();
        let calm = Measured {
            memory: false,
            disk: false,
            pids: false,
        };
        assert!(of(&calm, &mut since).1);
        assert!(!of(&calm, &mut since).1);
        let (conditions, changed) = of(&Measured { disk: true, ..calm }, &mut since);
        assert!(changed);
        assert_eq!(conditions[1]["reason"], "KubeletHasDiskPressure");
        assert_eq!(conditions[3]["type"], "Ready");
    }
}
