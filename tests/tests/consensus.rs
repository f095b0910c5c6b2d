//! Many small groups of servers that agree, each with its own faults, under seeded clocks.
//!
//! `SIM_SEEDS=n` runs so many seeds instead of the usual number, `SIM_FIRST=n` begins with
//! another one, and `SIM_SEED=n` with `--nocapture` shows everything that happens in one.

use kabuki_tests::consensus::{Bug, Invariant, Run, Stats, run};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many seeds every test run runs.
const SEEDS: u64 = 200;
/// A planted bug must be caught within so many seeds.
const SEEDS_PER_BUG: u64 = 150;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds on all processors; what they answered.
fn any_of<T: Send>(seeds: std::ops::Range<u64>, ask: impl Fn(u64) -> Option<T> + Sync) -> Vec<T> {
    let next = AtomicU64::new(seeds.start);
    let answers = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
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
    format!("SIM_SEED={seed} cargo test -p kabuki-tests --test consensus replay -- --nocapture")
}

#[test]
fn no_seed_violates_an_invariant() {
    let first = number("SIM_FIRST").unwrap_or(1);
    let count = number("SIM_SEEDS").unwrap_or(SEEDS);
    let total = Mutex::new(Stats::default());
    let failed = any_of(first..first + count, |seed| {
        let run = run(seed, None, false);
        total.lock().expect("no poison").add(&run.stats);
        run.violation.map(|violation| (seed, violation))
    });
    let total = total.into_inner().expect("no poison");
    println!("{count} seeds: {total:?}");
    let mut report = String::new();
    for (seed, violation) in &failed {
        let _ = writeln!(report, "seed {seed}: {violation}\n    {}", command(*seed));
    }
    assert!(
        failed.is_empty(),
        "{} of {count} seeds failed:\n{report}",
        failed.len()
    );
    // Otherwise this proves little.
    let enough = [
        total.writes > count * 50,
        total.reads > count * 30,
        total.watched > count * 100,
        total.lives > count * 5,
        total.terms > count * 2,
        total.snapshots > count / 10,
        total.changes > count / 4,
        total.unknown > count,
        total.stale > 0 || count < 50,
    ];
    assert!(
        enough.iter().all(|enough| *enough),
        "hardly anything happened: {enough:?}"
    );
}

#[test]
fn a_seed_replays_byte_for_byte() {
    for seed in [7, 8, 9] {
        let (one, other) = (run(seed, None, true), run(seed, None, true));
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert_eq!(one.hash, other.hash, "seed {seed}");
        let hash = run(seed, None, false).hash;
        assert_eq!(hash, one.hash, "a kept trace changes nothing");
        let lines = one.trace.len();
        assert!(lines > 1000, "seed {seed} has only {lines} lines");
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
    let said = violation.map(|v| v.to_string());
    assert!(said.is_none(), "{}", said.unwrap_or_default());
}

/// The first seed at which a planted bug violates the invariant.
fn caught(bug: Bug, by: Invariant) -> Option<u64> {
    let caught = |seed: &u64| run(*seed, Some((bug, by)), false).violation.is_some();
    (1..=SEEDS_PER_BUG).find(caught)
}

#[test]
fn every_planted_bug_is_caught() {
    let bugs = Bug::ALL;
    let found = any_of(0..bugs.len() as u64, |index| {
        let (bug, by) = bugs[usize::try_from(index).ok()?];
        Some((bug, by, caught(bug, by)))
    });
    let mut missed = BTreeSet::new();
    for (bug, by, seed) in found {
        match seed {
            Some(seed) => println!("{bug:?} violates {by:?} at seed {seed}"),
            None => drop(missed.insert(format!("{bug:?} never violates {by:?}"))),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
