//! Old ReplicaSets beyond `revisionHistoryLimit` go, the oldest revisions first.

use super::revision::revision_of;
use super::rollout::Rollout;
use crate::requests;

impl Rollout<'_> {
    pub(super) fn clean_history(&mut self) {
        let Some(limit) = self.deployment.spec.revision_history_limit else {
            return;
        };
        let limit = usize::try_from(limit).unwrap_or(0);
        let alive = |i: &usize| self.sets[*i].object.metadata.deletion_timestamp.is_none();
        let mut old: Vec<usize> = self.old().filter(alive).collect();
        let Some(surplus) = old.len().checked_sub(limit) else {
            return;
        };
        old.sort_by_key(|i| revision_of(&self.sets[*i].annotations));
        for index in old.into_iter().take(surplus) {
            let set = &self.sets[index];
            let status = set.object.status.as_ref();
            let seen = status.and_then(|s| s.observed_generation);
            let empty = status.map_or(0, |s| s.replicas) == 0 && set.replicas == 0;
            if empty && set.active == 0 && set.was() == 0 && seen >= set.object.metadata.generation
            {
                self.making.push((requests::delete(&set.stored), None));
            }
        }
    }
}
