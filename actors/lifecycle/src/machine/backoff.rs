//! Delays that double.

use kabuki_model::duration;
use serde::{Deserialize, Serialize};

/// How often something failed in a row, from which the next delay follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Backoff {
    failures: u32,
}

/// Restarts and image pulls begin at 10 s (Kubernetes, "Container restarts").
pub(super) const RESTART_MS: i64 = 10_000;
/// They never wait longer than 5 minutes.
pub(super) const RESTART_MAX_MS: i64 = 300_000;
/// A container that ran this long is trusted again.
pub(super) const FORGIVEN_AFTER_S: i64 = 600;
/// Volumes are tried again quickly: what they lack (a config map) often comes a moment later.
pub(super) const VOLUME_MS: i64 = 500;
pub(super) const VOLUME_MAX_MS: i64 = 122_000;
/// As volumes, for keys that the environment lacks and for sandboxes.
pub(super) const CONFIG_MS: i64 = 1_000;
pub(super) const CONFIG_MAX_MS: i64 = 20_000;
/// How long `ErrImagePull` shows before it becomes `ImagePullBackOff`.
pub(super) const PULL_ERROR_SHOWN_MS: i64 = 1_000;
/// How long `RunContainerError` shows before it becomes `CrashLoopBackOff`, or is tried again.
pub(super) const RUN_ERROR_SHOWN_MS: i64 = 1_000;

impl Backoff {
    /// Counts a failure and gives the delay before the next attempt, in milliseconds.
    pub fn fail(&mut self, initial_ms: i64, max_ms: i64) -> i64 {
        let doublings = self.failures.min(32);
        self.failures = self.failures.saturating_add(1);
        initial_ms.saturating_mul(1 << doublings).min(max_ms)
    }

    /// Counts a failure of which the first is not delayed at all.
    pub fn fail_free_once(&mut self, initial_ms: i64, max_ms: i64) -> i64 {
        let first = self.failures == 0;
        let delay = Self {
            failures: self.failures.saturating_sub(1),
        }
        .fail(initial_ms, max_ms);
        self.failures = self.failures.saturating_add(1);
        if first { 0 } else { delay }
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A delay as Go prints durations: `10s`, `1m20s`, `5m0s`.
pub(super) fn shown(ms: i64) -> String {
    duration::print(ms.saturating_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_are_free_once_and_then_double_to_five_minutes() {
        let mut backoff = Backoff::default();
        let delays: Vec<String> = (0..8)
            .map(|_| shown(backoff.fail_free_once(RESTART_MS, RESTART_MAX_MS)))
            .collect();
        assert_eq!(
            delays,
            ["0s", "10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"]
        );
        backoff.reset();
        assert_eq!(backoff.fail_free_once(RESTART_MS, RESTART_MAX_MS), 0);
    }

    #[test]
    fn durations_read_as_go_prints_them() {
        assert_eq!(shown(1_234), "1.234s");
        assert_eq!(shown(250), "250ms");
        assert_eq!(shown(61_500), "1m1.5s");
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.fail(10, i64::MAX), 10 << 32);
    }
}
