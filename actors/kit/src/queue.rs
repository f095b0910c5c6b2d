//! A work queue of keys: the heart of a controller.
//!
//! ```text
//!              add                next                 done
//!   (nothing) ─────> ready ──────────────> in process ──────> (nothing)
//!        │             ^                     │   │
//!        │ add_after   │ due        added in │   │ retry
//!        └───────> waiting <─── meantime ────┘   └────> waiting (backoff)
//! ```
//!
//! A key that is added many times before it is taken is handed out once. A key that is added while
//! in process is handed out once more afterwards, never at the same time. Order is first come,
//! first served; a key that comes again queues behind the others.
//!
//! Pure: no clock, no task, no randomness. Time is an argument, of any type that a [`Duration`] can
//! be added to, so that an actor runs it on `Instant` and a simulation on its own clock. The actor
//! around it asks [`next_wakeup`](WorkQueue::next_wakeup) and sets an [`Alarm`](crate::Alarm):
//!
//! ```
//! use std::time::{Duration, Instant};
//! use kabuki_kit::{QueueConfig, WorkQueue};
//!
//! let mut queue = WorkQueue::new(QueueConfig::default());
//! queue.add("default/web");
//! let now = Instant::now();
//! while let Some(key) = queue.next(now) {
//!     match reconcile(key) {
//!         Ok(Some(again_in)) => {
//!             queue.done(&key);
//!             queue.add_after(key, now, again_in);
//!         }
//!         Ok(None) => queue.done(&key),
//!         Err(_) => drop(queue.retry(&key, now)),
//!     }
//! }
//! if let Some(at) = queue.next_wakeup(now) {
//!     // alarm.set(at, &myself, ControllerMessage::Wake)
//! #   assert!(at > now);
//! }
//! # fn reconcile(_: &str) -> Result<Option<Duration>, ()> { Ok(Some(Duration::from_secs(30))) }
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Add, Sub};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// A point in time: `Instant`, a calendar timestamp, or a `Duration` since some start.
pub trait Moment: Copy + Ord + Add<Duration, Output = Self> + Sub<Duration, Output = Self> {}

impl<T> Moment for T where T: Copy + Ord + Add<Duration, Output = T> + Sub<Duration, Output = T> {}

/// How a [`WorkQueue`] paces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueConfig {
    /// Delay after a key's first failure; doubles with each further one.
    pub retry_initial: Duration,
    /// The delay after a failure never exceeds this.
    pub retry_max: Duration,
    /// Limits how fast keys are handed out; `None` is as fast as they are taken.
    pub rate: Option<Rate>,
}

/// A token bucket: one key each `interval` in the long run, `burst` of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Time between two keys in the long run.
    pub interval: Duration,
    /// Keys that may go at once after a pause; 0 counts as 1.
    pub burst: u32,
}

/// The queue. `K` is the key, `T` the kind of time.
#[derive(Debug, Clone)]
pub struct WorkQueue<K, T> {
    config: QueueConfig,
    ready: VecDeque<K>,
    entries: BTreeMap<K, Entry<T>>,
    /// Ordered by time, then by arrival.
    timers: BTreeMap<(T, u64), (K, Timer)>,
    arrivals: u64,
    in_process: usize,
    /// When the rate's bucket will be full again.
    full_at: Option<T>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Ready,
    InProcess { again: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    /// Asked for by `add_after`.
    Due,
    /// Backoff after a failure; pointless once the key has been handed out for another reason.
    Retry,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    stage: Stage,
    failures: u32,
    due: Option<(T, u64)>,
    retry: Option<(T, u64)>,
}

impl Default for QueueConfig {
    /// 5 ms to 1000 s and no rate limit: the pace of Kubernetes' controllers.
    fn default() -> Self {
        Self {
            retry_initial: Duration::from_millis(5),
            retry_max: Duration::from_secs(1000),
            rate: None,
        }
    }
}

impl<T> Default for Entry<T> {
    fn default() -> Self {
        Self {
            stage: Stage::Idle,
            failures: 0,
            due: None,
            retry: None,
        }
    }
}

impl<K: Ord + Clone, T: Moment> WorkQueue<K, T> {
    /// An empty queue.
    pub fn new(config: QueueConfig) -> Self {
        Self {
            config,
            ready: VecDeque::new(),
            entries: BTreeMap::new(),
            timers: BTreeMap::new(),
            arrivals: 0,
            in_process: 0,
            full_at: None,
        }
    }

    /// Something about `key` changed: hand it out as soon as its turn comes.
    pub fn add(&mut self, key: K) {
        let entry = self.entries.entry(key.clone()).or_default();
        match &mut entry.stage {
            Stage::Idle => {
                entry.stage = Stage::Ready;
                self.ready.push_back(key);
            }
            Stage::Ready => {}
            Stage::InProcess { again } => *again = true,
        }
    }

    /// Adds `key` when `delay` has passed. Of several such requests the earliest stands; it stands
    /// also when the key is handed out before for another reason.
    pub fn add_after(&mut self, key: K, now: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let at = now + delay;
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.due.is_some_and(|(due, _)| due <= at) {
            return;
        }
        if let Some(later) = entry.due.take() {
            self.timers.remove(&later);
        }
        self.arrivals += 1;
        entry.due = Some((at, self.arrivals));
        self.timers.insert((at, self.arrivals), (key, Timer::Due));
    }

    /// The next key to work on, if one is ready and the rate allows. It stays in process until
    /// [`done`](Self::done) or [`retry`](Self::retry).
    pub fn next(&mut self, now: T) -> Option<K> {
        self.promote(now);
        if self.ready.is_empty() || !self.spend(now) {
            return None;
        }
        let key = self.ready.pop_front()?;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.stage = Stage::InProcess { again: false };
            if let Some(retry) = entry.retry.take() {
                self.timers.remove(&retry);
            }
        }
        self.in_process += 1;
        Some(key)
    }

    /// The work on `key` succeeded. Its failures are forgotten; when it was added in the meantime
    /// it queues again. No effect when it is not in process.
    pub fn done(&mut self, key: &K) {
        self.leave(key, |entry| entry.failures = 0);
    }

    /// The work on `key` failed. It comes again after its backoff, or at once (in its turn) when
    /// it was added in the meantime. Returns the delay. No effect when it is not in process.
    pub fn retry(&mut self, key: &K, now: T) -> Option<Duration> {
        let again = self.leave(key, |entry| {
            entry.failures = entry.failures.saturating_add(1)
        })?;
        if again {
            return Some(Duration::ZERO);
        }
        let failures = self.failures(key);
        let doublings = failures.saturating_sub(1).min(31);
        let delay = self.config.retry_initial.saturating_mul(1 << doublings);
        let delay = delay.min(self.config.retry_max);
        self.arrivals += 1;
        let at = (now + delay, self.arrivals);
        self.entries.entry(key.clone()).or_default().retry = Some(at);
        self.timers.insert(at, (key.clone(), Timer::Retry));
        Some(delay)
    }

    /// Drops what is known of `key`: its failures, its delays, its place in the queue. When it is
    /// in process it stays so until `done` or `retry`, and will not come again on account of what
    /// was added before.
    pub fn forget(&mut self, key: &K) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        for timer in [entry.due.take(), entry.retry.take()].into_iter().flatten() {
            self.timers.remove(&timer);
        }
        entry.failures = 0;
        match &mut entry.stage {
            Stage::InProcess { again } => *again = false,
            Stage::Ready => {
                self.ready.retain(|ready| ready != key);
                self.entries.remove(key);
            }
            Stage::Idle => {
                self.entries.remove(key);
            }
        }
    }

    /// When to call [`next`](Self::next) again: `now` when a key can be had at once, `None` when
    /// nothing will happen unless something is added or finished.
    pub fn next_wakeup(&self, now: T) -> Option<T> {
        let timer = self.timers.keys().next().map(|(at, _)| *at);
        let ready = (!self.ready.is_empty()).then_some(now);
        let soonest = match (ready, timer) {
            (Some(ready), Some(timer)) => ready.min(timer),
            (one, other) => one.or(other)?,
        };
        Some(soonest.max(self.allowed_at(now)))
    }

    /// Keys ready to be handed out. Those whose delay has passed count from the next
    /// [`next`](Self::next) on.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Keys handed out and neither done nor retried.
    pub fn in_process(&self) -> usize {
        self.in_process
    }

    /// Delays that are running.
    pub fn waiting(&self) -> usize {
        self.timers.len()
    }

    /// How often `key` failed in a row.
    pub fn failures(&self, key: &K) -> u32 {
        self.entries.get(key).map_or(0, |entry| entry.failures)
    }

    /// Nothing is ready, in process, waiting or remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes `key` out of process; tells whether it was queued again.
    fn leave(&mut self, key: &K, update: impl FnOnce(&mut Entry<T>)) -> Option<bool> {
        let entry = self.entries.get_mut(key)?;
        let Stage::InProcess { again } = entry.stage else {
            return None;
        };
        update(entry);
        self.in_process -= 1;
        if again {
            entry.stage = Stage::Ready;
            self.ready.push_back(key.clone());
        } else if entry.failures == 0 && entry.due.is_none() {
            self.entries.remove(key);
        } else {
            entry.stage = Stage::Idle;
        }
        Some(again)
    }

    /// Moves what is due to the ready ones, in the order of time.
    fn promote(&mut self, now: T) {
        while let Some(first) = self.timers.first_entry() {
            if first.key().0 > now {
                return;
            }
            let (key, timer) = first.remove();
            if let Some(entry) = self.entries.get_mut(&key) {
                match timer {
                    Timer::Due => entry.due = None,
                    Timer::Retry => entry.retry = None,
                }
            }
            self.add(key);
        }
    }

    /// The earliest time at which the rate lets a key go.
    fn allowed_at(&self, now: T) -> T {
        match (self.config.rate, self.full_at) {
            (Some(rate), Some(full_at)) if full_at > now + rate.tolerance() => {
                full_at - rate.tolerance()
            }
            _ => now,
        }
    }

    fn spend(&mut self, now: T) -> bool {
        let Some(rate) = self.config.rate else {
            return true;
        };
        if self.allowed_at(now) > now {
            return false;
        }
        let from = self.full_at.map_or(now, |full_at| full_at.max(now));
        self.full_at = Some(from + rate.interval);
        true
    }
}

impl Rate {
    /// How far ahead of its long-run pace the bucket may run.
    fn tolerance(&self) -> Duration {
        self.interval.saturating_mul(self.burst.saturating_sub(1))
    }
}
