//! One probe: when it is due, and when so many results in a row turn it.
//!
//! Times are milliseconds of a clock that never goes back, so that setting the node's clock
//! neither stops probes nor makes them come all at once.

use super::ProbeKind;
use k8s_openapi::api::core::v1::Probe;

const PERIOD_S: i32 = 10;
const FAILURES: i32 = 3;
const TIMEOUT_S: i32 = 1;

/// Attempts after the first fall on multiples of this, so that those of a node's many probes come
/// together: waking up for each alone costs more than the probe itself.
const BEAT_MS: u64 = 50;

/// What came of performing a probe once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded.
    Success,
    /// It succeeded, and there is something to say.
    Warning(String),
    /// It failed: what the program said.
    Failure(String),
    /// It could not be performed, which says nothing of the program and counts as nothing.
    Error(String),
}

/// What a result means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Took {
    /// The probe has come to another result than before.
    pub turned: Option<bool>,
    /// Reason and message of a warning for people.
    pub event: Option<(&'static str, String)>,
}

/// The state of one probe of one instance.
#[derive(Debug, Clone)]
pub struct Prober {
    kind: ProbeKind,
    period_ms: u64,
    timeout_ms: u64,
    successes: u32,
    failures: u32,
    due_ms: u64,
    /// The last result, and how often it came in a row.
    streak: Option<(bool, u32)>,
    /// What the pod's machine was told last.
    told: Option<bool>,
}

impl Prober {
    /// A probe of an instance that has run for `age_ms`. `held` is what it came to before. After
    /// a restart of the agent (`adopted`) it goes on in its old rhythm, so that the probes of
    /// many pods do not all come at once. All probes of a node must have the same clock.
    pub fn new(
        kind: ProbeKind,
        probe: &Probe,
        held: bool,
        age_ms: u64,
        adopted: bool,
        now_ms: u64,
    ) -> Self {
        let at_least_1 = |value: Option<i32>, default: i32| {
            let value = value.filter(|v| *v > 0).unwrap_or(default);
            u64::try_from(value).unwrap_or(1)
        };
        let count = |value, default| u32::try_from(at_least_1(value, default)).unwrap_or(1);
        let period_ms = at_least_1(probe.period_seconds, PERIOD_S) * 1000;
        let delay_s = probe.initial_delay_seconds.filter(|s| *s > 0).unwrap_or(0);
        let delay_ms = u64::try_from(delay_s).unwrap_or(0) * 1000;
        let wait_ms = match delay_ms.checked_sub(age_ms) {
            Some(rest) => rest,
            None if adopted => period_ms - (age_ms - delay_ms) % period_ms,
            None => 0,
        };
        let begin_ms = now_ms.saturating_add(wait_ms);
        Self {
            kind,
            period_ms,
            timeout_ms: at_least_1(probe.timeout_seconds, TIMEOUT_S) * 1000,
            successes: count(probe.success_threshold, 1),
            failures: count(probe.failure_threshold, FAILURES),
            due_ms: if adopted { beat(begin_ms) } else { begin_ms },
            streak: None,
            told: match kind {
                // It has come to nothing yet.
                ProbeKind::Startup => None,
                ProbeKind::Readiness => Some(held),
                ProbeKind::Liveness => Some(true),
            },
        }
    }

    /// When it is to be performed next.
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// How long performing it may take.
    pub fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    /// It was performed, which ended at `now_ms`. The next time is the first beat one period after
    /// this one was due; when that has passed already, at once, and then in the old rhythm.
    pub fn took(&mut self, outcome: Outcome, now_ms: u64) -> Took {
        let next = beat(self.due_ms.saturating_add(self.period_ms));
        let missed = now_ms.saturating_sub(next) / self.period_ms;
        self.due_ms = next.saturating_add(missed.saturating_mul(self.period_ms));
        let healthy = match &outcome {
            Outcome::Success | Outcome::Warning(_) => true,
            Outcome::Failure(_) => false,
            Outcome::Error(_) => {
                return Took {
                    turned: None,
                    event: self.event(outcome),
                };
            }
        };
        let in_a_row = match self.streak {
            Some((last, count)) if last == healthy => count.saturating_add(1),
            _ => 1,
        };
        self.streak = Some((healthy, in_a_row));
        let enough = in_a_row
            >= if healthy {
                self.successes
            } else {
                self.failures
            };
        let turned = (enough && self.told != Some(healthy)).then_some(healthy);
        if turned.is_some() {
            self.told = turned;
        }
        Took {
            turned,
            event: self.event(outcome),
        }
    }

    fn event(&self, outcome: Outcome) -> Option<(&'static str, String)> {
        let kind = self.kind;
        match outcome {
            Outcome::Success => None,
            Outcome::Warning(text) => {
                Some(("ProbeWarning", format!("{kind} probe warning: {text}")))
            }
            Outcome::Failure(text) => Some(("Unhealthy", format!("{kind} probe failed: {text}"))),
            Outcome::Error(text) => {
                let text = format!("{kind} probe errored and resulted in unknown state: {text}");
                Some(("Unhealthy", text))
            }
        }
    }
}

/// The first beat that is not before.
fn beat(ms: u64) -> u64 {
    ms.checked_next_multiple_of(BEAT_MS).unwrap_or(ms)
}

#[cfg(test)]
mod tests;
