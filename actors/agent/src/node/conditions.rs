//! The node's conditions (Kubernetes, "Node status").

use jiff::Timestamp;
use kabuki_lifecycle::eviction::Pressure;
use serde_json::{Value, json};
use std::collections::HashMap;

/// The conditions as they were, and since when.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    held: HashMap<&'static str, (bool, Timestamp)>,
}

impl Conditions {
    /// The conditions, and whether one changed.
    pub fn now(&mut self, pressed: &Pressure, now: Timestamp) -> (Value, bool) {
        let rows = [
            ("MemoryPressure", pressed.memory),
            ("DiskPressure", pressed.disk),
            ("PIDPressure", pressed.pids),
        ];
        let mut changed = false;
        let mut conditions = Vec::new();
        for (name, pressed) in rows {
            let (reason, message) = words(name, pressed);
            conditions.push(self.condition(name, pressed, [reason, message], now, &mut changed));
        }
        let words = ["KubeletReady", "kubelet is posting ready status"];
        conditions.push(self.condition("Ready", true, words, now, &mut changed));
        (Value::Array(conditions), changed)
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

    const CALM: Pressure = Pressure {
        memory: false,
        disk: false,
        pids: false,
    };
    const FULL: Pressure = Pressure { disk: true, ..CALM };

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
}
