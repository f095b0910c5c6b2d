//! Waiting for something to become true of an object, by watching it.

use super::failure::{Failure, Outcome, fail};
use super::resolver::Found;
use super::session::Session;
use kabuki_model::object::{ObjectKey, Stored};
use kabuki_model::status::Reason;
use kabuki_model::watch::{WatchEvent, WatchStart};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// When to give up.
#[derive(Debug, Clone, Copy)]
pub struct Limit(Option<Instant>);

impl Limit {
    /// There is none.
    pub const NEVER: Self = Self(None);

    /// Reads the duration that a flag was given; zero is for ever.
    pub fn parse(flag: &str, text: &str) -> Outcome<Self> {
        Ok(Self::of(duration(flag, text)?))
    }

    /// After this long; zero is for ever, and so is what no clock can count to.
    pub fn of(span: Duration) -> Self {
        let span = Some(span).filter(|span| !span.is_zero());
        Self(span.and_then(|span| Instant::now().checked_add(span)))
    }

    /// After this long.
    pub fn after(span: Duration) -> Self {
        Self(Some(Instant::now() + span))
    }

    /// Runs something within the limit; `None` when time was up first.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match self.0 {
            Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok(),
            None => Some(work.await),
        }
    }
}

/// Reads the duration that a flag was given, as Go writes it: `90s`, `1m30s`, `1.5h`, `300ms`. What Go
/// does not know: days stand first (`90d`, `1d12h`), and a bare number is seconds.
pub fn duration(flag: &str, text: &str) -> Outcome<Duration> {
    let span = match (text.parse(), text.split_once('d')) {
        (Ok(seconds), _) => Some(Duration::from_secs(seconds)),
        (Err(_), Some((days, ""))) => whole_days(days),
        (Err(_), Some((days, rest))) => whole_days(days)
            .zip(as_in_go(rest))
            .and_then(|(d, r)| d.checked_add(r)),
        (Err(_), None) => as_in_go(text),
    };
    span.ok_or_else(|| {
        Failure::new(format!(
            "{flag} {text:?} is no duration like 30s, 5m or 1h30m"
        ))
    })
}

fn whole_days(number: &str) -> Option<Duration> {
    let days: u64 = number.parse().ok()?;
    days.checked_mul(86_400).map(Duration::from_secs)
}

/// None of the flags can be told to go back in time.
fn as_in_go(text: &str) -> Option<Duration> {
    let nanos = kabuki_model::duration::parse(text)?;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// Watches one object by name, beginning with what it is now (`None` when it does not exist),
/// until `decide` breaks.
pub async fn watch_object<T>(
    session: &Session,
    key: &ObjectKey,
    mut decide: impl FnMut(Option<&Arc<Stored>>) -> Outcome<ControlFlow<T>>,
) -> Outcome<T> {
    loop {
        let selection = Session::selection_of(key);
        let mut watch = session.watch(selection, WatchStart::List).await?;
        let (mut seen, mut listed) = (false, false);
        loop {
            let object = match watch.next().await {
                None => break,
                Some(Err(error)) if error.reason == Reason::Expired => break,
                Some(Err(error)) => return Err(Failure::Server(error)),
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    seen = true;
                    Some(object)
                }
                Some(Ok(WatchEvent::Deleted(_))) => None,
                Some(Ok(WatchEvent::Bookmark { initial_end, .. })) => {
                    let first = initial_end && !listed;
                    listed |= initial_end;
                    match first && !seen {
                        true => None,
                        false => continue,
                    }
                }
            };
            if let ControlFlow::Break(value) = decide(object.as_ref())? {
                return Ok(value);
            }
        }
    }
}

/// Waits until an object is gone; a successor of the same name does not count.
pub async fn until_gone(session: &Session, found: &Found, limit: &Limit) -> Outcome {
    let uid = &found.object.uid;
    let decide = |object: Option<&Arc<Stored>>| {
        Ok(match object {
            Some(object) if object.uid == *uid => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        })
    };
    match limit.run(watch_object(session, found.key(), decide)).await {
        Some(outcome) => outcome,
        None => fail!(
            "timed out waiting for the condition on {}: it is still there; its finalizers or its \
             node may hold it (`kabuki describe {}`)",
            found.label(),
            found.label()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them_and_in_days_and_seconds() {
        let cases = [
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("300ms", 300),
            ("45", 45_000),
            ("0", 0),
            ("365d", 31_536_000_000),
            ("1d12h", 129_600_000),
        ];
        for (text, ms) in cases {
            let span = duration("--timeout", text).expect("parses");
            assert_eq!(span.as_millis(), ms, "{text}");
        }
        let too_long = format!("{}d", u64::MAX);
        for wrong in [
            "", "s", "5x", "1h-", "ten", "-1s", "d", "1.5d", "1h2d", "1d-1h", &too_long,
        ] {
            let why = duration("--ttl", wrong).expect_err("is refused");
            let expected = format!("--ttl {wrong:?} is no duration like 30s, 5m or 1h30m");
            assert_eq!(why, Failure::new(expected));
        }
    }

    #[test]
    fn a_limit_of_nothing_or_beyond_all_clocks_is_none() {
        for text in ["0", "0s", "213503982334601d"] {
            let limit = Limit::parse("--timeout", text).expect("parses");
            assert!(limit.0.is_none(), "{text}");
        }
    }
}
