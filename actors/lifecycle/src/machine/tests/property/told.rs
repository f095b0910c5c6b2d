//! What people are told of a pod is true, whatever happens.

use super::Node;
use crate::machine::tests::world::of;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ContainerStateTerminated;

impl Node {
    /// What people read agrees with itself and with what runs.
    pub(super) fn check_status(&mut self) {
        // Of one that has ended nothing is reported any more.
        if self.machine.is_finished() {
            return;
        }
        let status = self.machine.status();
        let phase = status.phase.as_deref().unwrap_or_default();
        let condition = |name: &str| {
            let mut all = status.conditions.iter().flatten();
            let found = all.find(|c| c.type_ == name).expect("a condition");
            found.status == "True"
        };
        let lists = [&status.init_container_statuses, &status.container_statuses];
        let all: Vec<_> = lists.into_iter().flatten().flatten().collect();
        for held in &all {
            let state = held.state.clone().unwrap_or_default();
            let running = state.running.is_some();
            let is_init = matches!(held.name.as_str(), "first" | "second");
            assert!(running || is_init || !held.ready, "{} is ready", held.name);
            if running {
                let attempt = u32::try_from(held.restart_count).expect("a count");
                let instance = of(&held.name, attempt);
                assert_eq!(self.live.get(&instance), Some(&true), "{instance:?} runs");
            }
            let last = held.last_state.clone().and_then(|s| s.terminated);
            for ended in [&state.terminated, &last].into_iter().flatten() {
                check_ended(ended);
            }
            let waits = state.waiting.and_then(|w| w.reason).unwrap_or_default();
            match (waits.as_str(), last.map(|l| l.exit_code)) {
                ("RunContainerError", last) => assert_eq!(last, Some(128)),
                ("CrashLoopBackOff", last) => assert!(last.is_some(), "it never was"),
                _ => {}
            }
        }
        if matches!(self.phase.as_str(), "Succeeded" | "Failed") {
            assert_eq!(phase, self.phase, "a final phase is final");
        }
        if matches!(phase, "Succeeded" | "Failed") {
            assert!(self.live.values().all(|runs| !runs), "it is over and runs");
            assert!(!condition("Ready") && !condition("ContainersReady"));
        }
        if condition("Ready") {
            assert_eq!(phase, "Running");
            let staying = all
                .iter()
                .filter(|c| !matches!(c.name.as_str(), "first" | "second"));
            assert!(staying.clone().all(|c| c.ready && c.started == Some(true)));
            assert!(condition("Initialized") && condition("ContainersReady"));
        }
        self.phase = phase.to_string();
    }
}

/// Code, reason and times of an end agree with each other.
fn check_ended(ended: &ContainerStateTerminated) {
    let reason = ended.reason.as_deref().unwrap_or_default();
    let expected = match ended.exit_code {
        0 => reason == "Completed",
        2 => reason == "OOMKilled",
        128 => reason == "StartError",
        _ => matches!(reason, "Error" | "ContainerStatusUnknown"),
    };
    assert!(expected, "{} is {reason}", ended.exit_code);
    let began = ended.started_at.as_ref().map(|t| t.0);
    let never = began == Some(Timestamp::UNIX_EPOCH);
    assert_eq!(never, ended.exit_code == 128, "it began at {began:?}");
    let told = (&ended.container_id, &ended.message, &ended.finished_at);
    let known = matches!(told, (Some(_), Some(_), Some(_)));
    assert!(!never || known, "{told:?}");
}
