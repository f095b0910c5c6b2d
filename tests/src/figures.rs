//! How the benches show what they measured: one line for each figure, beside what is to be
//! reached, as a Markdown table. Nothing is asserted: a timing is never a test.

use std::time::Duration;

/// A table of figures.
pub struct Table {
    rows: Vec<[String; 5]>,
}

impl Table {
    /// A table without figures yet.
    pub fn new(what: &str) -> Self {
        let head = [what, "n", "p50", "p99", "reach"].map(str::to_string);
        Self { rows: vec![head] }
    }

    /// How long something took, each time.
    pub fn times(&mut self, what: &str, times: &[Duration], reach: &str) {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let at = |percent| percentile(&sorted, percent).map_or_else(|| "-".to_string(), time);
        self.row(what, sorted.len(), at(50), at(99), reach);
    }

    /// What ninety-nine of a hundred stay within.
    pub fn p99(times: &[Duration]) -> Duration {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        percentile(&sorted, 99).unwrap_or_default()
    }

    /// Something that is measured once.
    pub fn value(&mut self, what: &str, value: impl Into<String>, reach: &str) {
        self.row(what, 1, value.into(), String::new(), reach);
    }

    fn row(&mut self, what: &str, count: usize, p50: String, p99: String, reach: &str) {
        self.rows.push([
            what.to_string(),
            count.to_string(),
            p50,
            p99,
            reach.to_string(),
        ]);
    }

    /// Prints it, with how busy the machine was: figures of a shared machine need that.
    pub fn print(&self) {
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..5).map(|column| width(column).unwrap_or(0)).collect();
        println!();
        for (number, row) in self.rows.iter().enumerate() {
            let cells = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, width))| match (1..=3).contains(&column) {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:<width$}"),
                });
            println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
            if number == 0 {
                let lines = widths.iter().map(|width| "-".repeat(*width));
                println!("| {} |", lines.collect::<Vec<_>>().join(" | "));
            }
        }
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default().to_string();
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        println!("\n{cores} cores, load average {load} at the end\n");
    }
}

/// How often a bench measures: `full` times, or what `KABUKI_COUNT` says when that is less.
pub fn count(full: usize) -> usize {
    let asked = std::env::var("KABUKI_COUNT")
        .ok()
        .and_then(|n| n.parse().ok());
    asked.map_or(full, |asked: usize| asked.clamp(1, full))
}

fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last * percent).div_ceil(100)).copied()
}

/// A duration in the unit that suits it.
pub fn time(time: Duration) -> String {
    let us = time.as_secs_f64() * 1e6;
    match us {
        ..1000.0 => format!("{us:.0} us"),
        ..10_000.0 => format!("{:.2} ms", us / 1e3),
        ..1_000_000.0 => format!("{:.1} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

/// A size in MiB.
pub fn mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 99), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&times, 50), Some(Duration::from_millis(51)));
        assert_eq!(percentile(&times[..1], 99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 50), None);
    }
}
