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
    /// Reads a duration; zero is for ever.
    pub fn parse(text: &str) -> Outcome<Self> {
        let span = duration(text)?;
        Ok(Self((!span.is_zero()).then(|| Instant::now() + span)))
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

/// Reads a duration as Go writes it: `90s`, `1m30s`, `1.5h`, `300ms`; a bare number is seconds.
pub fn duration(text: &str) -> Outcome<Duration> {
    let wrong = || Failure::new(format!("{text:?} is no duration like 30s, 5m or 1h30m"));
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let (mut rest, mut total) = (text, 0f64);
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let units = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let scale = match &rest[..units] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return Err(wrong()),
        };
        total += number * scale;
        rest = &rest[units..];
    }
    Duration::try_from_secs_f64(total).map_err(|_| wrong())
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
    fn durations_are_read_as_go_writes_them() {
        let cases = [
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("300ms", 300),
            ("45", 45_000),
            ("0", 0),
        ];
        for (text, ms) in cases {
            assert_eq!(duration(text).expect("parses").as_millis(), ms, "{text}");
        }
        for wrong in ["", "s", "5x", "1h-", "ten"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
