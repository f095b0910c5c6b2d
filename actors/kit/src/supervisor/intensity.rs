//! How many restarts are too many, and how long to wait before one. Pure: time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// At most this many restarts in any window of this length; one more and the supervisor gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity {
    /// Restarts that are fine within the window.
    pub max_restarts: u32,
    /// Length of the window.
    pub within: Duration,
}

/// Exponential delay before a restart, per child. It starts again at `initial` once a child has
/// lived for `max` (or 10 s if that is longer) without failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Delay before the first restart; doubles with each further one.
    pub initial: Duration,
    /// The delay never exceeds this.
    pub max: Duration,
}

/// The restarts of late.
#[derive(Debug)]
pub(super) struct Budget {
    intensity: Intensity,
    spent: VecDeque<Instant>,
}

impl Intensity {
    /// Never gives up. For supervisors of many independent children, together with a
    /// [`Backoff`]: one that keeps crashing must not take the others down.
    pub const UNLIMITED: Intensity = Intensity {
        max_restarts: u32::MAX,
        within: Duration::from_secs(1),
    };
}

impl Default for Intensity {
    /// Five in ten seconds: enough for a burst of bad luck, soon exhausted by a crash loop.
    fn default() -> Self {
        Self {
            max_restarts: 5,
            within: Duration::from_secs(10),
        }
    }
}

impl Backoff {
    /// The delay before restart number `attempt`, counted from 1.
    pub fn delay(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.initial.saturating_mul(1 << doublings).min(self.max)
    }

    pub(super) fn forgiven_after(&self) -> Duration {
        self.max.max(Duration::from_secs(10))
    }
}

impl Budget {
    pub(super) fn new(intensity: Intensity) -> Self {
        Self {
            intensity,
            spent: VecDeque::new(),
        }
    }

    /// Books a restart at `now`; `false` when it is one too many.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        if self.intensity.max_restarts == u32::MAX {
            return true;
        }
        let window = self.intensity.within;
        while self
            .spent
            .front()
            .is_some_and(|at| now.saturating_duration_since(*at) > window)
        {
            self.spent.pop_front();
        }
        self.spent.push_back(now);
        self.spent.len() <= self.intensity.max_restarts as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_beyond_the_budget_are_refused_until_the_window_has_passed() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut budget = Budget::new(Intensity {
            max_restarts: 2,
            within: 10 * second,
        });
        assert!(budget.spend(start));
        assert!(budget.spend(start + second));
        assert!(!budget.spend(start + 2 * second));
        assert!(budget.spend(start + 13 * second));
    }

    #[test]
    fn backoff_doubles_up_to_its_cap() {
        let backoff = Backoff {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(1),
        };
        let delays: Vec<_> = (1..=6).map(|n| backoff.delay(n).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.delay(u32::MAX), backoff.max);
    }
}
