//! How many pods ReplicaSets and Deployments may make. A controller acts on what it has read, so
//! what was wanted a short while ago may still be acted upon.

use super::changes::{is_finished, is_going};
use super::{Audit, Invariant};
use crate::simulation::world::World;
use kabuki_model::command::Change;
use kabuki_model::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::percent::rolling_bounds;
use kabuki_model::reference::{controller_of, is_controlled_by};
use kabuki_model::{Resource, Stored};
use std::sync::Arc;
use std::time::Duration;

/// For so long an older wish may still be acted upon: longer than any request within the
/// server's process takes.
const HINDSIGHT: Duration = Duration::from_secs(3);

/// What an object wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wish {
    /// How many pods there may be.
    most: i32,
    /// Whether old pods must be gone before new ones come.
    recreates: bool,
    /// Which object it belonged to.
    owner: Option<String>,
}

impl World {
    pub(super) fn note_wish(&mut self, change: &Change) {
        let object = &change.object;
        let wish = if object.key.resource == Resource::REPLICA_SETS {
            object.typed::<ReplicaSet>().ok().map(|set| Wish {
                most: set.spec.replicas.unwrap_or(1),
                recreates: false,
                owner: controller_of(object.meta()).map(|o| o.uid.clone()),
            })
        } else if object.key.resource == Resource::DEPLOYMENTS {
            object.typed::<Deployment>().ok().map(|deployment| Wish {
                most: deployment.spec.replicas.unwrap_or(1) + rolling_bounds(&deployment).surge,
                recreates: recreates(&deployment),
                owner: None,
            })
        } else {
            None
        };
        let Some(wish) = wish else { return };
        let wishes = self.audit.wishes.entry(object.uid.clone()).or_default();
        if wishes.last().is_none_or(|(_, last)| *last != wish) {
            wishes.push((self.now, wish));
        }
    }

    pub(super) fn check_new_pod(&self, change: &Change) -> Result<(), (Invariant, String)> {
        let object = &change.object;
        if object.key.resource != Resource::PODS || change.previous.is_some() || change.removed {
            return Ok(());
        }
        let Some(owner) = controller_of(object.meta()) else {
            return Ok(());
        };
        let present = self.audit.active_of(&owner.uid) + 1;
        let most = self.audit.most(&owner.uid, self.now).unwrap_or(i32::MAX);
        if present > most {
            let detail = format!("{} is number {present} of {most}", object.key);
            return Err((Invariant::NoMorePodsThanWanted, detail));
        }
        let Some(set) = self.audit.by_uid(&Resource::REPLICA_SETS, &owner.uid) else {
            return Ok(());
        };
        match controller_of(set.meta()) {
            Some(deployment) => self.check_rollout(object, set, &deployment.uid),
            None => Ok(()),
        }
    }

    fn check_rollout(
        &self,
        pod: &Stored,
        set: &Stored,
        deployment: &str,
    ) -> Result<(), (Invariant, String)> {
        let audit = &self.audit;
        // A Deployment on its way out no longer sizes anything.
        if audit
            .by_uid(&Resource::DEPLOYMENTS, deployment)
            .is_none_or(|d| is_going(d))
        {
            return Ok(());
        }
        // What else the Deployment has may have been adopted a moment ago, or its template
        // changed: then old wishes are still being acted upon.
        let settled = |uid: &str| audit.is_settled(uid, self.now);
        let Some(most) = audit.most(deployment, self.now) else {
            return Ok(());
        };
        let sets: Vec<&Arc<Stored>> = audit
            .of(&Resource::REPLICA_SETS)
            .filter(|s| is_controlled_by(s.meta(), deployment))
            .collect();
        if !sets
            .iter()
            .all(|s| audit.owner_is_settled(&s.uid, self.now))
        {
            return Ok(());
        }
        if audit.recreates(deployment) {
            // A set that has had its size for a while only replaces what it lost.
            let begins = audit.living_of(&set.uid) == 0 && !settled(&set.uid);
            if !begins || !settled(deployment) {
                return Ok(());
            }
            let old = sets.iter().filter(|s| s.uid != set.uid);
            let living: i32 = old.map(|s| audit.living_of(&s.uid)).sum();
            if living > 0 {
                let detail = format!("{} comes while {living} old pods live", pod.key);
                return Err((Invariant::RecreateDoesNotOverlap, detail));
            }
            return Ok(());
        }
        let present: i32 = sets.iter().map(|s| audit.active_of(&s.uid)).sum::<i32>() + 1;
        if present > most {
            let detail = format!("{} makes {present} pods of {most}", pod.key);
            return Err((Invariant::SurgeIsBounded, detail));
        }
        Ok(())
    }
}

impl Audit {
    pub(super) fn by_uid<'a>(&'a self, resource: &Resource, uid: &str) -> Option<&'a Arc<Stored>> {
        self.of(resource).find(|o| *o.uid == *uid)
    }

    fn pods_of<'a>(&'a self, uid: &str) -> impl Iterator<Item = (&'a Arc<Stored>, Arc<Pod>)> {
        self.of(&Resource::PODS)
            .filter(move |p| is_controlled_by(p.meta(), uid))
            .filter_map(|p| Some((p, p.typed::<Pod>().ok()?)))
    }

    /// How many pods of a ReplicaSet count.
    pub(in crate::simulation) fn active_of(&self, uid: &str) -> i32 {
        count(
            self.pods_of(uid)
                .filter(|(p, pod)| !is_going(p) && !is_finished(pod)),
        )
    }

    /// How many of its pods have not ended.
    fn living_of(&self, uid: &str) -> i32 {
        count(self.pods_of(uid).filter(|(_, pod)| !is_finished(pod)))
    }

    /// The greatest number of pods that is or was a short while ago allowed.
    fn most(&self, uid: &str, now: Duration) -> Option<i32> {
        let wishes = self.wishes.get(uid)?;
        let ended = |index: usize| wishes.get(index + 1).map(|(at, _)| *at);
        let held = wishes.iter().enumerate();
        held.filter(|(index, _)| ended(*index).is_none_or(|at| at + HINDSIGHT >= now))
            .map(|(_, (_, wish))| wish.most)
            .max()
    }

    fn recreates(&self, uid: &str) -> bool {
        self.wishes
            .get(uid)
            .and_then(|w| w.last())
            .is_some_and(|(_, w)| w.recreates)
    }

    fn is_settled(&self, uid: &str, now: Duration) -> bool {
        let wishes = self.wishes.get(uid);
        wishes
            .and_then(|w| w.last())
            .is_some_and(|(at, _)| *at + HINDSIGHT < now)
    }

    /// Whether a ReplicaSet has had its owner from the beginning, or for a while.
    fn owner_is_settled(&self, uid: &str, now: Duration) -> bool {
        let Some(wishes) = self.wishes.get(uid) else {
            return true;
        };
        let mut pairs = wishes.windows(2);
        !pairs.any(|pair| pair[0].1.owner != pair[1].1.owner && pair[1].0 + HINDSIGHT >= now)
    }
}

fn count<T>(of: impl Iterator<Item = T>) -> i32 {
    i32::try_from(of.count()).unwrap_or(i32::MAX)
}

fn recreates(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.strategy.as_ref();
    strategy.and_then(|s| s.type_.as_deref()) == Some("Recreate")
}
