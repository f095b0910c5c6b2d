//! From what was measured to what is short, and since when.

use super::threshold::{Settings, Signal};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// Of what.
    pub signal: Signal,
    /// What is left.
    pub available: i64,
    /// All that there is.
    pub capacity: i64,
}

/// The node's conditions that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    /// `MemoryPressure`.
    pub memory: bool,
    /// `DiskPressure`.
    pub disk: bool,
    /// `PIDPressure`.
    pub pids: bool,
}

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Whether thresholds are crossed at this moment, whatever their grace.
    pub pressed: Pressure,
    /// What must be reclaimed now, the most urgent first.
    pub reclaim: Option<Reclaim>,
}

/// One shortage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reclaim {
    /// What was measured.
    pub observed: Observation,
    /// Below which threshold.
    pub threshold: i64,
    /// How long an evicted pod may take to end, in seconds: zero for a hard threshold.
    pub grace_s: i64,
}

/// Remembers since when thresholds are crossed.
#[derive(Debug, Default)]
pub struct Monitor {
    /// Since when, by signal and whether the threshold is hard.
    since: BTreeMap<(Signal, bool), Timestamp>,
}

impl Monitor {
    /// Judges what was measured now.
    pub fn judge(
        &mut self,
        settings: &Settings,
        observed: &[Observation],
        now: Timestamp,
    ) -> Judgement {
        let mut pressed = Pressure::default();
        let mut reclaim: Option<Reclaim> = None;
        let mut sorted = observed.to_vec();
        sorted.sort_by_key(|o| o.signal);
        for observed in sorted {
            let hard = settings.hard.get(&observed.signal);
            let hard = hard.map(|amount| (*amount, SignedDuration::ZERO, true));
            let soft = settings.soft.get(&observed.signal);
            let soft = soft.map(|(amount, grace)| (*amount, *grace, false));
            for (amount, grace, is_hard) in hard.into_iter().chain(soft) {
                let threshold = amount.of(observed.capacity);
                let Some(since) = self.crossed(settings, &observed, threshold, is_hard, now) else {
                    continue;
                };
                match observed.signal {
                    Signal::MemoryAvailable => pressed.memory = true,
                    Signal::PidAvailable => pressed.pids = true,
                    _ => pressed.disk = true,
                }
                if now.duration_since(since) >= grace && reclaim.is_none() {
                    reclaim = Some(Reclaim {
                        observed,
                        threshold,
                        grace_s: if is_hard { 0 } else { settings.max_pod_grace_s },
                    });
                }
            }
        }
        Judgement { pressed, reclaim }
    }

    /// Since when the threshold is crossed. Once it is, it stays so until the minimum that is to
    /// be reclaimed is there as well.
    fn crossed(
        &mut self,
        settings: &Settings,
        observed: &Observation,
        threshold: i64,
        is_hard: bool,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let key = (observed.signal, is_hard);
        let more = settings.minimum_reclaim.get(&observed.signal);
        let more = more.map_or(0, |amount| amount.of(observed.capacity));
        let was_crossed = self.since.contains_key(&key);
        let bound = if was_crossed {
            threshold.saturating_add(more)
        } else {
            threshold
        };
        // What cannot be measured says nothing.
        if observed.capacity <= 0 || observed.available >= bound {
            self.since.remove(&key);
            return None;
        }
        Some(*self.since.entry(key).or_insert(now))
    }
}
