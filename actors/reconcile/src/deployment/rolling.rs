//! The strategy `RollingUpdate`: never more pods than the surge allows, never fewer available
//! ones than may be missing, and one step at a time in between.

use super::rollout::Rollout;

impl Rollout<'_> {
    pub(super) fn roll(&mut self) {
        self.sync_new_set();
        match self.new {
            None => self.make_new_set(),
            Some(new) => {
                let size = self.size_of_new(self.sets[new].replicas);
                let grown = self.resize(new, size);
                // One direction at a time: the other is for when this one shows.
                if !grown && !self.shrink_old(new) && self.is_complete() {
                    self.clean_history();
                }
            }
        }
        self.update_progress();
    }

    /// How many pods the new ReplicaSet may have, when it has `present` now.
    pub(super) fn size_of_new(&self, present: i32) -> i32 {
        let wanted = self.wanted();
        if present >= wanted {
            return wanted;
        }
        if self.is_recreated() {
            return wanted;
        }
        let all: i32 = self
            .sets
            .iter()
            .map(|s| s.at_most())
            .fold(0, i32::saturating_add);
        let room = wanted.saturating_add(self.bounds.surge).saturating_sub(all);
        present + room.clamp(0, wanted - present)
    }

    fn is_recreated(&self) -> bool {
        let strategy = self.deployment.spec.strategy.as_ref();
        strategy.and_then(|s| s.type_.as_deref()) == Some("Recreate")
    }

    /// Takes pods from the old ReplicaSets: first those that are of no use, then as many as the
    /// new ones replace. Says whether any goes.
    fn shrink_old(&mut self, new: usize) -> bool {
        let old: Vec<usize> = self.old().filter(|i| self.sets[*i].replicas > 0).collect();
        if old.is_empty() {
            return false;
        }
        let least = self.wanted() - self.bounds.unavailable;
        let total: i32 = self
            .sets
            .iter()
            .map(|s| s.replicas)
            .fold(0, i32::saturating_add);
        let unready = self.sets[new].replicas - self.sets[new].available();
        let surplus = total - least - unready;
        if surplus <= 0 {
            return false;
        }
        let useless = self.shrink_useless(&old, surplus);
        let replaced = self.shrink_replaced(&old, least);
        useless || replaced
    }

    fn shrink_useless(&mut self, old: &[usize], surplus: i32) -> bool {
        let mut left = surplus;
        for &index in old {
            let set = &self.sets[index];
            // Its status may not know yet of a pod that has just become available.
            let goes = (set.replicas - set.ready).clamp(0, left);
            left -= goes;
            let size = set.replicas - goes;
            self.resize(index, size);
        }
        left < surplus
    }

    fn shrink_replaced(&mut self, old: &[usize], least: i32) -> bool {
        let available: i32 = self
            .sets
            .iter()
            .map(|s| s.available())
            .fold(0, i32::saturating_add);
        let surplus = (available - least).max(0);
        let mut left = surplus;
        for &index in old {
            let goes = self.sets[index].replicas.clamp(0, left);
            left -= goes;
            let size = self.sets[index].replicas - goes;
            self.resize(index, size);
        }
        left < surplus
    }
}
