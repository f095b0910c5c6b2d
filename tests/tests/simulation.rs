//! Many small clusters, each with its own faults, under seeded clocks.
//!
//! `SIM_SEEDS=n` runs so many seeds instead of the usual number, `SIM_FIRST=n` begins with
//! another one, and `SIM_SEED=n` with `--nocapture` shows everything that happens in one.

use kabuki_tests::simulation::{Bug, Invariant, Run, run};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many seeds every test run runs.
const SEEDS: u64 = 200;
/// A planted bug must be caught within so many seeds.
const SEEDS_PER_BUG: u64 = 300;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs seeds on all processors until one answers.
fn any_of<T: Send>(seeds: std::ops::Range<u64>, ask: impl Fn(u64) -> Option<T> + Sync) -> Vec<T> {
    let next = AtomicU64::new(seeds.start);
    let answers = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if let Some(answer) = ask(seed) {
                        answers.lock().expect("no poison").push(answer);
                    }
                }
            });
        }
    });
    answers.into_inner().expect("no poison")
}

fn command(seed: u64) -> String {
    format!("SIM_SEED={seed} cargo test -p kabuki-tests --test simulation replay -- --nocapture")
}

#[test]
fn no_seed_violates_an_invariant() {
    let first = number("SIM_FIRST").unwrap_or(1);
    let count = number("SIM_SEEDS").unwrap_or(SEEDS);
    let (steps, writes, lives) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let failed = any_of(first..first + count, |seed| {
        let run = run(seed, None, false);
        steps.fetch_add(run.steps, Ordering::Relaxed);
        writes.fetch_add(run.writes, Ordering::Relaxed);
        lives.fetch_add(run.lives, Ordering::Relaxed);
        run.violation.map(|violation| (seed, violation))
    });
    println!("{count} seeds: {steps:?} steps, {writes:?} writes, {lives:?} lives of servers");
    let mut report = String::new();
    for (seed, violation) in &failed {
        let _ = writeln!(report, "seed {seed}: {violation}\n    {}", command(*seed));
    }
    assert!(
        failed.is_empty(),
        "{} of {count} seeds failed:\n{report}",
        failed.len()
    );
    assert!(writes.into_inner() > count * 20, "hardly anything happened");
}

#[test]
fn a_seed_replays_byte_for_byte() {
    for seed in [7, 8, 9] {
        let (one, other) = (run(seed, None, true), run(seed, None, true));
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert_eq!(one.hash, other.hash, "seed {seed}");
        assert_eq!(
            run(seed, None, false).hash,
            one.hash,
            "a kept trace changes nothing"
        );
        assert!(
            one.trace.len() > 500,
            "seed {seed} has only {} lines",
            one.trace.len()
        );
    }
    assert_ne!(run(7, None, false).hash, run(8, None, false).hash);
}

/// Shows one seed; with no seed asked for, that a run can be shown.
#[test]
fn replay() {
    let Run {
        trace, violation, ..
    } = run(number("SIM_SEED").unwrap_or(1), None, true);
    match number("SIM_SEED") {
        Some(_) => trace.iter().for_each(|line| println!("{line}")),
        None => assert!(!trace.is_empty()),
    }
    assert!(
        violation.is_none(),
        "{}",
        violation.map(|v| v.to_string()).unwrap_or_default()
    );
}

/// The first seed at which a planted bug violates the invariant; or what it violates instead.
fn caught(bug: Bug, by: Invariant) -> Result<u64, BTreeSet<String>> {
    let mut others = BTreeSet::new();
    for seed in 1..=SEEDS_PER_BUG {
        match run(seed, Some(bug), false).violation {
            Some(violation) if violation.invariant == by => return Ok(seed),
            other => others.extend(other.map(|v| v.to_string())),
        }
    }
    Err(others)
}

#[test]
fn every_planted_bug_is_caught() {
    let bugs = Bug::ALL;
    let found = any_of(0..bugs.len() as u64, |index| {
        let (bug, by) = bugs[usize::try_from(index).ok()?];
        Some((bug, by, caught(bug, by)))
    });
    let mut missed = String::new();
    for (bug, by, seed) in found {
        match seed {
            Ok(seed) => println!("{bug:?} violates {by:?} at seed {seed}"),
            Err(others) => {
                let _ = writeln!(missed, "{bug:?} never violates {by:?}, only {others:#?}");
            }
        }
    }
    assert!(missed.is_empty(), "{missed}");
}
