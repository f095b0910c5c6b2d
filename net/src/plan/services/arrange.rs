//! The order of endpoints.

use super::Target;
use std::collections::HashSet;

/// Puts the endpoints in an order in which as few as can be have another number than before: who
/// stays keeps its number, new ones and the last ones take the numbers of those that went.
pub(super) fn arrange(before: &[Target], wanted: Vec<Target>) -> Vec<Target> {
    if before.is_empty() || before == wanted {
        return wanted;
    }
    let wanted_set: HashSet<Target> = wanted.iter().copied().collect();
    let held: HashSet<Target> = before.iter().copied().collect();
    let mut new = wanted.into_iter().filter(|t| !held.contains(t));
    let mut seen = HashSet::new();
    let mut placed: Vec<Option<Target>> = before
        .iter()
        .map(|t| (wanted_set.contains(t) && seen.insert(*t)).then_some(*t))
        .collect();
    for place in &mut placed {
        if place.is_none() {
            *place = new.next();
        }
    }
    placed.extend(new.map(Some));
    // The last ones fill what is still open.
    let mut at = 0;
    while at < placed.len() {
        match placed.get(at) {
            Some(None) => {
                placed.swap_remove(at);
            }
            _ => at += 1,
        }
    }
    placed.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(number: u8) -> Target {
        Target {
            address: [10, 244, 0, number].into(),
            port: 80,
        }
    }

    #[test]
    fn one_that_goes_moves_one() {
        let before: Vec<_> = (0..5).map(target).collect();
        let wanted = [0, 2, 3, 4].map(target).to_vec();
        assert_eq!(arrange(&before, wanted), [0, 4, 2, 3].map(target));
    }

    proptest! {
        #[test]
        fn everyone_wanted_is_there_once_and_few_move(
            before in proptest::collection::hash_set(0u8..40, 0..30),
            wanted in proptest::collection::hash_set(0u8..40, 0..30),
        ) {
            let before: Vec<_> = before.into_iter().map(target).collect();
            let wanted: Vec<_> = wanted.into_iter().map(target).collect();
            let after = arrange(&before, wanted.clone());
            let mut sorted = (after.clone(), wanted.clone());
            sorted.0.sort();
            sorted.1.sort();
            prop_assert_eq!(&sorted.0, &sorted.1);
            let gone = before.iter().filter(|t| !wanted.contains(t)).count();
            let moved = before.iter().enumerate()
                .filter(|(at, t)| wanted.contains(t) && after.get(*at) != Some(t)).count();
            prop_assert!(moved <= gone);
        }
    }
}
