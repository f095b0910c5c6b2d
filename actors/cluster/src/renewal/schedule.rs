//! When to renew, and how loud to be. Time is an argument.

use jiff::Timestamp;
use std::time::Duration;

/// The waits between attempts that fail.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// How much of a certificate's life the moment of renewal is spread over, so that nodes that
/// joined together do not renew together.
const SPREAD: f64 = 0.05;

/// How much of a certificate's life is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Left {
    /// It has ended.
    Nothing,
    /// Less than a sixth.
    Little,
    /// Enough.
    Enough,
}

/// When a certificate is to be renewed: at two thirds of its life, `jitter` (0 to 1) earlier or
/// later.
pub(super) fn due(begins: Timestamp, ends: Timestamp, jitter: f64) -> Timestamp {
    let life = ends.as_second() - begins.as_second();
    let share = 2.0 / 3.0 + SPREAD * (jitter - 0.5);
    let after = (life as f64 * share) as i64;
    Timestamp::from_second(begins.as_second().saturating_add(after)).unwrap_or(begins)
}

/// How much is left at `now`.
pub(super) fn left(begins: Timestamp, ends: Timestamp, now: Timestamp) -> Left {
    let life = ends.as_second() - begins.as_second();
    match ends.as_second() - now.as_second() {
        rest if rest <= 0 => Left::Nothing,
        rest if rest < life / 6 => Left::Little,
        _ => Left::Enough,
    }
}

/// How long to wait after `failures` failed attempts in a row, when `rest` of the certificate's
/// life is left: a certificate of a short life is not outlived by a wait.
pub(super) fn retry_after(failures: u32, rest: Duration) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1u32 << failures.saturating_sub(1).min(10));
    doubled.min(LAST_RETRY).min(rest / 4).max(FIRST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn a_certificate_is_renewed_at_about_two_thirds_of_its_life() {
        let (begins, ends) = (at(1_000_000), at(1_086_400));
        assert_eq!(due(begins, ends, 0.5), at(1_057_600));
        assert!(due(begins, ends, 0.0) < due(begins, ends, 1.0));
        assert!(due(begins, ends, 0.0) > at(1_000_000 + 86_400 / 2));
        assert!(due(begins, ends, 1.0) < at(1_000_000 + 86_400 * 3 / 4));
    }

    #[test]
    fn what_is_left_is_told_apart() {
        let (begins, ends) = (at(0), at(600));
        assert_eq!(left(begins, ends, at(10)), Left::Enough);
        assert_eq!(left(begins, ends, at(501)), Left::Little);
        assert_eq!(left(begins, ends, at(600)), Left::Nothing);
    }

    #[test]
    fn failures_are_tried_again_later_and_later_but_not_too_late() {
        let long = Duration::from_secs(86_400);
        let waits: Vec<u64> = (1..9).map(|n| retry_after(n, long).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(retry_after(u32::MAX, long), LAST_RETRY);
        assert_eq!(retry_after(9, Duration::from_secs(40)).as_secs(), 10);
        assert_eq!(retry_after(9, Duration::ZERO), FIRST_RETRY);
    }
}
