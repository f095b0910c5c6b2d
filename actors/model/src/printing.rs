//! Cells of tables as `kubectl` prints them.

use crate::kind::Kind;
use crate::object::{DecodeError, Stored};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;

/// What stands for a time that is not known.
pub const UNKNOWN: &str = "<unknown>";
/// What stands for an empty list or value.
pub const NONE: &str = "<none>";

/// A span in seconds as `kubectl` shows ages: two units while they matter, then one.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    // Clocks of machines differ a little: less than two seconds ahead is now.
    if seconds < -1 {
        return "<invalid>".to_string();
    }
    match seconds {
        s if s < 0 => "0s".to_string(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => pair(s / MINUTE, "m", s % MINUTE, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => pair(s / HOUR, "h", s % HOUR / MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => pair(s / DAY, "d", s % DAY / HOUR, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => pair(s / YEAR, "y", s % YEAR / DAY, "d"),
        s => format!("{}y", s / YEAR),
    }
}

fn pair(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    match small {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit}{small}{small_unit}"),
    }
}

/// The age of something that began at `from`.
pub fn age(from: Timestamp, now: Timestamp) -> String {
    // Truncation towards zero, as a Go duration's `int(Seconds())`.
    human_duration(now.duration_since(from).as_secs())
}

/// The age of something that began at an optional time.
pub fn age_of(from: Option<&Time>, now: Timestamp) -> String {
    from.map_or_else(|| UNKNOWN.to_string(), |t| age(t.0, now))
}

/// The `AGE` cell of an object.
pub fn creation_age(meta: &ObjectMeta, now: Timestamp) -> String {
    age_of(meta.creation_timestamp.as_ref(), now)
}

/// The `NAME` cell of an object.
pub fn name(meta: &ObjectMeta) -> String {
    meta.name.clone().unwrap_or_default()
}

/// Labels as one cell: `a=b,c=d`, or `<none>`.
pub fn labels(labels: Option<&BTreeMap<String, String>>) -> String {
    match labels {
        Some(labels) if !labels.is_empty() => {
            let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            pairs.join(",")
        }
        _ => NONE.to_string(),
    }
}

/// A list as one cell: `a,b`, or `<none>`.
pub fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<&str> = items.into_iter().collect();
    match items.is_empty() {
        true => NONE.to_string(),
        false => items.join(","),
    }
}

/// One row of a table: a cell for each of the kind's columns, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// The cells.
    pub cells: Vec<String>,
}

impl Kind {
    /// The row of a stored object. Its typed form is decoded once and shared.
    pub fn row(&self, object: &Stored, now: Timestamp) -> Result<Row, DecodeError> {
        Ok(Row {
            namespace: object.key.namespace.to_string(),
            cells: self.cells_of(object, now)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_shown_as_kubectl_does() {
        let (minute, hour, day, year) = (60, 3600, 86400, 365 * 86400);
        let cases = [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (10 * minute - 1, "9m59s"),
            (10 * minute + 1, "10m"),
            (3 * hour - 1, "179m"),
            (3 * hour, "3h"),
            (7 * hour + 59 * minute, "7h59m"),
            (8 * hour + 59 * minute, "8h"),
            (48 * hour - 1, "47h"),
            (48 * hour, "2d"),
            (50 * hour, "2d2h"),
            (8 * day + 5 * hour, "8d"),
            (2 * year - 1, "729d"),
            (2 * year, "2y"),
            (2 * year + day, "2y1d"),
            (8 * year + 40 * day, "8y"),
        ];
        for (seconds, shown) in cases {
            assert_eq!(human_duration(seconds), shown, "{seconds}");
        }
    }

    #[test]
    fn an_age_counts_from_a_time() {
        let from: Timestamp = "2026-01-01T00:00:00Z".parse().expect("time");
        let now: Timestamp = "2026-01-01T00:02:05.9Z".parse().expect("time");
        assert_eq!(age(from, now), "2m5s");
        assert_eq!(age_of(None, now), UNKNOWN);
    }

    #[test]
    fn nothing_is_shown_as_none() {
        assert_eq!(labels(None), "<none>");
        assert_eq!(list([]), "<none>");
        assert_eq!(list(["a", "b"]), "a,b");
    }
}
