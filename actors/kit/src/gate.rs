//! Credit gates: a bound on what is in flight, because ractor's mailboxes have none.
//!
//! ```text
//!   caller ── enter(class) ──> Permit ── request ──> actor ── reply ──> Permit dropped
//!                        └───> TooManyRequests { retry_after }
//! ```
//!
//! A full gate refuses at once; it never queues, because a queue in front of an overloaded actor
//! only makes every answer late. Each class of caller has credits of its own, so that a flood of
//! one (watch clients) cannot starve another (node agents).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Credits per class of caller. Clones share the credits.
#[derive(Debug, Clone)]
pub struct Gate<C> {
    classes: Arc<BTreeMap<C, Credits>>,
}

/// One request's credit; given back when dropped. Keep it until the request is answered.
#[derive(Debug)]
#[must_use = "dropping a permit gives the credit back"]
pub struct Permit {
    _credit: OwnedSemaphorePermit,
}

/// The class has no credit left, or none at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("too many requests of class {class}, retry after {retry_after:?}")]
pub struct TooManyRequests {
    /// The class as displayed.
    pub class: String,
    /// When it makes sense to try again.
    pub retry_after: Duration,
}

#[derive(Debug)]
struct Credits {
    free: Arc<Semaphore>,
    total: usize,
    retry_after: Duration,
}

impl<C: Ord + Display> Gate<C> {
    /// A gate with, per class, how many requests may be in flight and what a refused caller is
    /// told. A class that is not listed is always refused.
    pub fn new(classes: impl IntoIterator<Item = (C, usize, Duration)>) -> Self {
        let credits = |total: usize, retry_after| {
            let total = total.min(Semaphore::MAX_PERMITS);
            Credits {
                free: Arc::new(Semaphore::new(total)),
                total,
                retry_after,
            }
        };
        let classes = classes
            .into_iter()
            .map(|(class, total, after)| (class, credits(total, after)));
        Self {
            classes: Arc::new(classes.collect()),
        }
    }

    /// Takes one credit of `class`, or refuses. Never waits.
    pub fn enter(&self, class: &C) -> Result<Permit, TooManyRequests> {
        self.enter_many(class, 1)
    }

    /// Takes `weight` credits at once (a large request), or refuses. Never waits.
    pub fn enter_many(&self, class: &C, weight: u32) -> Result<Permit, TooManyRequests> {
        let refused = |retry_after| TooManyRequests {
            class: class.to_string(),
            retry_after,
        };
        let credits = self
            .classes
            .get(class)
            .ok_or_else(|| refused(Duration::from_secs(1)))?;
        let credit = credits.free.clone().try_acquire_many_owned(weight);
        let credit = credit.map_err(|_full| refused(credits.retry_after))?;
        Ok(Permit { _credit: credit })
    }

    /// Credits of `class` that are in use.
    pub fn in_flight(&self, class: &C) -> usize {
        self.classes
            .get(class)
            .map_or(0, |c| c.total - c.free.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_millis(250);

    #[test]
    fn a_full_class_is_refused_at_once_and_others_are_not() {
        let gate = Gate::new([("user", 2, AFTER), ("node", 1, AFTER)]);
        let first = gate.enter(&"user").expect("first credit");
        let _second = gate.enter(&"user").expect("second credit");
        let refused = gate.enter(&"user").expect_err("a third must be refused");
        assert_eq!(
            refused,
            TooManyRequests {
                class: "user".to_owned(),
                retry_after: AFTER
            }
        );
        assert_eq!(gate.in_flight(&"user"), 2);
        let _node = gate
            .enter(&"node")
            .expect("another class has credits of its own");
        drop(first);
        assert_eq!(gate.in_flight(&"user"), 1);
        let _third = gate
            .enter(&"user")
            .expect("a returned credit can be taken again");
    }

    #[test]
    fn a_weight_is_taken_whole_or_not_at_all() {
        let gate = Gate::new([("user", 3, AFTER)]);
        let _two = gate.enter_many(&"user", 2).expect("two of three");
        assert!(gate.enter_many(&"user", 2).is_err());
        assert_eq!(gate.in_flight(&"user"), 2);
    }

    #[test]
    fn an_unlisted_class_never_enters() {
        let gate = Gate::new([("user", 3, AFTER)]);
        assert!(gate.enter(&"stranger").is_err());
    }
}
