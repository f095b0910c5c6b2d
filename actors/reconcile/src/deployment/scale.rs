//! Another number of replicas while more than one ReplicaSet has pods: each takes its share, so
//! that a rollout that is stuck does not get worse (Kubernetes, "Proportional scaling").

use super::rollout::{DESIRED, MAX, Rollout};

impl Rollout<'_> {
    /// Whether the Deployment was scaled since its ReplicaSets were last sized. Sets that `Recreate`
    /// finds beside each other have no shares (Kubernetes waits forever there): the old ones go.
    pub(super) fn is_scaled(&self) -> bool {
        if !self.bounds_apply() && self.sets.iter().filter(|s| s.replicas > 0).count() > 1 {
            return false;
        }
        self.sets.iter().any(|set| {
            let noted = set.annotated(DESIRED);
            set.replicas > 0 && noted.is_some_and(|n| n != self.wanted())
        })
    }

    pub(super) fn scale(&mut self) {
        let active: Vec<usize> = (0..self.sets.len())
            .filter(|i| self.sets[*i].replicas > 0)
            .collect();
        let only = match active.as_slice() {
            [] => self.new.or_else(|| self.sets.len().checked_sub(1)),
            [one] => Some(*one),
            _ => None,
        };
        if let Some(only) = only {
            // The pods of a set that has just been told to have none still count.
            let size = self.size_of_new(self.sets[only].replicas);
            self.resize(only, size);
            self.note_size(only);
        } else if self.is_saturated() {
            let new = self.new;
            for index in active.into_iter().filter(|i| Some(*i) != new) {
                self.resize(index, 0);
            }
        } else if active.len() > 1 && self.bounds_apply() {
            self.share_out(active);
        }
    }

    fn bounds_apply(&self) -> bool {
        let strategy = self.deployment.spec.strategy.as_ref();
        strategy.and_then(|s| s.type_.as_deref()) != Some("Recreate")
    }

    /// Whether the new ReplicaSet has all that the Deployment wants.
    fn is_saturated(&self) -> bool {
        let wanted = self.wanted();
        self.new.is_some_and(|new| {
            let set = &self.sets[new];
            set.replicas == wanted
                && set.annotated(DESIRED) == Some(wanted)
                && set.available() == wanted
        })
    }

    fn share_out(&mut self, mut active: Vec<usize>) {
        let wanted = self.wanted();
        let allowed = match wanted {
            0 => 0,
            _ => wanted.saturating_add(self.bounds.surge),
        };
        let present = active
            .iter()
            .map(|i| self.sets[*i].replicas)
            .fold(0, i32::saturating_add);
        // Growing waits for pods that are to go and have not gone yet.
        let all = self
            .sets
            .iter()
            .map(|s| s.at_most())
            .fold(0, i32::saturating_add);
        let room = allowed.saturating_sub(all).max(0);
        let change = (allowed - present).min(room);
        // The largest first; among equals the newest when growing, the oldest when shrinking.
        active.sort_by_key(|i| {
            let age = i32::try_from(*i).unwrap_or(0);
            (-self.sets[*i].replicas, if change > 0 { -age } else { age })
        });
        let mut sizes: Vec<i32> = Vec::with_capacity(active.len());
        let mut done = 0;
        for &index in &active {
            let share = self.share(index, change, done);
            done += share;
            sizes.push(self.sets[index].replicas + share);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + change - done).max(0);
        }
        for (index, size) in active.into_iter().zip(sizes) {
            self.resize(index, size);
            self.note_size(index);
        }
    }

    /// How much of `change` one ReplicaSet takes, when `done` of it is taken already.
    fn share(&self, index: usize, change: i32, done: i32) -> i32 {
        let set = &self.sets[index];
        let left = change - done;
        if set.replicas == 0 || change == 0 || left == 0 {
            return 0;
        }
        let fraction = self.fraction(index);
        match change > 0 {
            true => fraction.min(left),
            false => fraction.max(left),
        }
    }

    /// By how much the ReplicaSet changes when the Deployment's size does.
    fn fraction(&self, index: usize) -> i32 {
        let set = &self.sets[index];
        if self.wanted() == 0 {
            return -set.replicas;
        }
        let before = set
            .annotated(MAX)
            .filter(|n| *n > 0)
            .or(self.status.replicas)
            .unwrap_or(0);
        if before == 0 {
            return 0;
        }
        let most = f64::from(self.wanted()) + f64::from(self.bounds.surge);
        let size = f64::from(set.replicas) * most / f64::from(before);
        // Sizes are 32-bit numbers, which this representation holds exactly.
        size.round() as i32 - set.replicas
    }
}
