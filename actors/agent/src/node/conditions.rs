//! The node's conditions (Kubernetes, "Node status").

use super::capacity::{disk, meminfo};
use super::reserved::{DISK_THRESHOLD_PERCENT, MEMORY_THRESHOLD};
use crate::services::Services;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Kubelet's own thresholds of eviction: below them the node is under pressure.
const INODES_LEFT_PERCENT: i64 = 5;
/// With fewer process numbers left, starting anything may fail.
const PIDS_LEFT: i64 = 1000;
/// Pressure counts as over only after this time without any (kubelet's
/// `evictionPressureTransitionPeriod`): what comes and goes must not drive pods to and fro.
const RELIEF: SignedDuration = SignedDuration::from_secs(300);

/// What was measured.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measured {
    memory: bool,
    disk: bool,
    pids: bool,
}

/// The conditions as they were, and since when.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    held: HashMap<&'static str, (bool, Timestamp)>,
    /// When each pressure was last measured.
    pressed: HashMap<&'static str, Timestamp>,
}

pub(super) fn measure(services: &Services) -> Measured {
    let low = |left: i64, all: i64, percent: i64| all > 0 && left < all / 100 * percent;
    let disk = disk(&services.layout.data).is_some_and(|d| {
        low(d.free_bytes, d.total_bytes, DISK_THRESHOLD_PERCENT)
            || low(d.free_inodes, d.total_inodes, INODES_LEFT_PERCENT)
    });
    Measured {
        // What cannot be read says nothing.
        memory: meminfo("MemTotal") > 0 && meminfo("MemAvailable") < MEMORY_THRESHOLD,
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

impl Conditions {
    /// The conditions, and whether one changed.
    pub fn now(&mut self, measured: &Measured, now: Timestamp) -> (Value, bool) {
        let rows = [
            ("MemoryPressure", measured.memory),
            ("DiskPressure", measured.disk),
            ("PIDPressure", measured.pids),
        ];
        let mut changed = false;
        let mut conditions = Vec::new();
        for (name, measured) in rows {
            let pressed = self.is_pressed(name, measured, now);
            let (reason, message) = words(name, pressed);
            conditions.push(self.condition(name, pressed, [reason, message], now, &mut changed));
        }
        let words = ["KubeletReady", "kubelet is posting ready status"];
        conditions.push(self.condition("Ready", true, words, now, &mut changed));
        (Value::Array(conditions), changed)
    }

    /// Whether there is pressure, or was lately.
    fn is_pressed(&mut self, name: &'static str, measured: bool, now: Timestamp) -> bool {
        if measured {
            self.pressed.insert(name, now);
            return true;
        }
        let last = self.pressed.get(name);
        last.is_some_and(|last| now.duration_since(*last).abs() < RELIEF)
    }

    fn condition(
        &mut self,
        name: &'static str,
        value: bool,
        [reason, message]: [&str; 2],
        now: Timestamp,
        changed: &mut bool,
    ) -> Value {
        let held = self.held.get(name).copied();
        let held = held.filter(|(held, _)| *held == value);
        *changed |= held.is_none();
        let at = held.map_or(now, |(_, at)| at);
        self.held.insert(name, (value, at));
        let shown = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        json!({
            "type": name, "status": if value { "True" } else { "False" },
            "reason": reason, "message": message,
            "lastHeartbeatTime": shown(now), "lastTransitionTime": shown(at),
        })
    }
}

/// Kubelet's reason and message.
fn words(name: &str, pressed: bool) -> (&'static str, &'static str) {
    match (name, pressed) {
        ("MemoryPressure", false) => (
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        ("MemoryPressure", true) => (
            "KubeletHasInsufficientMemory",
            "kubelet has insufficient memory available",
        ),
        ("DiskPressure", false) => ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("DiskPressure", true) => ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        (_, false) => (
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        (_, true) => (
            "KubeletHasInsufficientPID",
            "kubelet has insufficient PID available",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Measured = Measured {
        memory: false,
        disk: false,
        pids: false,
    };
    const FULL: Measured = Measured { disk: true, ..CALM };

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(2_000_000_000 + seconds).expect("a time")
    }

    #[test]
    fn a_transition_is_noticed_and_keeps_its_time() {
        let mut conditions = Conditions::default();
        assert!(conditions.now(&CALM, time(0)).1);
        assert!(!conditions.now(&CALM, time(10)).1);
        let (shown, changed) = conditions.now(&FULL, time(20));
        assert!(changed);
        assert_eq!(shown[1]["reason"], "KubeletHasDiskPressure");
        assert_eq!(shown[1]["lastTransitionTime"], time(20).to_string());
        assert_eq!(shown[0]["lastTransitionTime"], time(0).to_string());
        assert_eq!(shown[3]["type"], "Ready");
    }

    #[test]
    fn pressure_is_over_only_after_a_while_without_any() {
        let mut conditions = Conditions::default();
        let mut pressed = |measured: &Measured, at: i64| {
            conditions.now(measured, time(at)).0[1]["status"] == "True"
        };
        assert!(pressed(&FULL, 0));
        assert!(pressed(&CALM, 10));
        assert!(pressed(&FULL, 200));
        assert!(pressed(&CALM, 499));
        assert!(!pressed(&CALM, 500));
    }
}
