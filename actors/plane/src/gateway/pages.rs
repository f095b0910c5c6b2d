//! The states that lists in pages are read from: every page of a list shows one revision, so the
//! state of its first page is kept until the list is likely to be done.

use kabuki_store::Snapshot;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kabuki_model::view::View;

/// How long a list in pages may take; etcd compacts after as long in Kubernetes.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// How many states are kept. Each holds only what has changed since.
const KEPT: usize = 32;

/// The states of lists in pages. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Pages {
    kept: Arc<Mutex<VecDeque<(Instant, Snapshot)>>>,
}

impl Pages {
    /// Keeps the state of a list that goes on.
    pub(super) fn keep(&self, snapshot: &Snapshot) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(at, _)| at.elapsed() < KEPT_FOR);
        if kept
            .iter()
            .any(|(_, k)| k.revision() == snapshot.revision())
        {
            return;
        }
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((Instant::now(), snapshot.clone()));
    }

    /// The state at a revision, if it is still kept.
    pub(super) fn at(&self, revision: u64) -> Option<Snapshot> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept
            .iter()
            .find(|(at, k)| k.revision() == revision && at.elapsed() < KEPT_FOR);
        found.map(|(_, snapshot)| snapshot.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_found_again_by_its_revision_alone() {
        let pages = Pages::default();
        assert!(pages.at(0).is_none());
        pages.keep(&Snapshot::empty());
        assert!(pages.at(0).is_some());
        assert!(pages.at(1).is_none());
    }
}
