//! The host's ids of pods that have users of their own (`hostUsers: false`): a range of 65536 for
//! each, which no other pod of the node has, nor a user of the machine (`/etc/subuid`).
//!
//! The claim is a file of the pod's, so that a new daemon knows of it and nobody has to give it
//! back: the range is free when the pod's files are gone.

use crate::config::Layout;
use kabuki_runtime::IdRange;
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Ids of a pod. Those of the machine itself are the first so many.
pub(super) const WIDTH: u32 = 65_536;
/// Beyond are ids that some programs take for negative.
const RANGES: u32 = 1 << 15;
/// The claim, in the pod's directory.
const CLAIM: &str = "users";

/// Between looking and claiming, nobody else may.
static CLAIMING: Mutex<()> = Mutex::new(());

/// The range of a pod: the one that it has, or a new one. Blocking.
///
/// # Errors
/// When all are taken, or the claim cannot be written.
pub(super) fn range_of(layout: &Layout, uid: &str) -> Result<IdRange, String> {
    let _claiming = CLAIMING.lock().unwrap_or_else(PoisonError::into_inner);
    let file = layout.pod(uid).join(CLAIM);
    let number = match claimed(&file) {
        Some(number) => number,
        None => {
            let number = free(layout).ok_or("no range of user ids is free")?;
            let written = fs::create_dir_all(layout.pod(uid))
                .and_then(|()| fs::write(&file, number.to_string()));
            written.map_err(|e| format!("cannot claim user ids in {}: {e}", file.display()))?;
            number
        }
    };
    Ok(IdRange {
        first: number * WIDTH,
        count: WIDTH,
    })
}

fn claimed(file: &Path) -> Option<u32> {
    let number = fs::read_to_string(file).ok()?.parse().ok()?;
    (1..RANGES).contains(&number).then_some(number)
}

fn free(layout: &Layout) -> Option<u32> {
    let pods = fs::read_dir(layout.pods()).into_iter().flatten().flatten();
    let mut taken: HashSet<u32> = pods
        .filter_map(|p| claimed(&p.path().join(CLAIM)))
        .collect();
    for file in ["/etc/subuid", "/etc/subgid"] {
        taken.extend(given(&fs::read_to_string(file).unwrap_or_default()));
    }
    (1..RANGES).find(|number| !taken.contains(number))
}

/// The ranges that lines of `name:first:count` reach into.
fn given(text: &str) -> impl Iterator<Item = u32> {
    text.lines().flat_map(|line| {
        let mut numbers = line.split(':').skip(1).map(|n| n.trim().parse::<u32>());
        match (numbers.next(), numbers.next()) {
            (Some(Ok(first)), Some(Ok(count))) if count > 0 => {
                let last = first.saturating_add(count - 1);
                first / WIDTH..(last / WIDTH + 1).min(RANGES)
            }
            _ => 0..0,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pod_has_a_range_of_its_own_until_its_files_are_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(dir.path());
        let first = |uid: &str| range_of(&layout, uid).expect("a range").first;
        let (one, two) = (first("one"), first("two"));
        assert_ne!(one, two);
        assert!(one >= WIDTH && one % WIDTH == 0);
        assert_eq!(first("one"), one, "a new daemon asks again");
        fs::remove_dir_all(layout.pod("one")).expect("gone");
        assert_eq!(first("three"), one);
    }

    #[test]
    fn ranges_of_the_machines_users_are_passed_over() {
        let numbers: Vec<u32> = given("ann:100000:65536\nbob:x:1\n\nroot:0:10").collect();
        assert_eq!(numbers, [1, 2, 0]);
    }
}
