//! What must hold when the faults have stopped and nothing happens any more.

use super::audit::Invariant;
use super::world::World;
use kabuki_model::hash::pod_template_hash;
use kabuki_model::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::kind;
use kabuki_model::reference::{controller_of, is_controlled_by};
use kabuki_model::view::View;
use kabuki_model::{LabelSelector, ObjectKey, Resource, Stored};
use std::sync::Arc;
use std::time::Duration;

/// So long after the beginning everything must have come to rest: longer than any back-off.
const LONG_ENOUGH: Duration = Duration::from_secs(1800);

type Finding = Result<(), (Invariant, String)>;

impl World {
    /// Whether nothing happens any more, and all is well; or it has taken too long.
    pub fn is_at_rest(&mut self) -> bool {
        if self.faults.active || !self.people.is_content {
            return false;
        }
        if self.now > LONG_ENOUGH {
            self.check_rest();
            let busy = self
                .busy()
                .unwrap_or_else(|| "nothing is left to do".to_string());
            self.violate(
                Invariant::ItComesToRest,
                format!("not within {LONG_ENOUGH:?}: {busy}"),
            );
            return true;
        }
        let sandboxes = self.machines.values().map(|m| m.runtime.len()).sum();
        let state = (self.server.store.view().revision(), sandboxes);
        let is_checked = self.rest_checked == Some(state);
        if is_checked || self.busy().is_some() {
            return false;
        }
        self.rest_checked = Some(state);
        self.at_rest().is_ok()
    }

    pub fn check_rest(&mut self) {
        if let Err((invariant, detail)) = self.at_rest() {
            self.violate(invariant, detail);
        }
    }

    /// What is still being done.
    fn busy(&self) -> Option<String> {
        if !self.server.is_up || !self.server.is_idle() {
            return Some("the server".to_string());
        }
        if !self.calls.is_empty() || !self.tasks.is_empty() {
            return Some(format!(
                "{} calls, {} tasks",
                self.calls.len(),
                self.tasks.len()
            ));
        }
        let busy = self.controllers.iter().find(|c| c.queue.ready() > 0);
        if let Some(controller) = busy {
            return Some(controller.core.name().to_string());
        }
        if self.followers.values().any(|f| f.is_scheduled()) {
            return Some("a watch".to_string());
        }
        match self.is_every_machine_idle() {
            true => None,
            false => Some("a node".to_string()),
        }
    }

    fn at_rest(&self) -> Finding {
        self.check_sets()?;
        self.check_deployments()?;
        self.check_pods()?;
        self.check_owners()?;
        self.check_deletions()?;
        self.check_machines()
    }

    fn check_deployments(&self) -> Finding {
        for stored in self.audit.of(&Resource::DEPLOYMENTS) {
            let Ok(deployment) = stored.typed::<Deployment>() else {
                continue;
            };
            let wanted = deployment.spec.replicas.unwrap_or(1);
            let wrong = |why: String| {
                Err((
                    Invariant::ActualEqualsDesired,
                    format!("{}: {why}", stored.key),
                ))
            };
            let owned = |s: &&Arc<Stored>| is_controlled_by(s.meta(), &stored.uid);
            let sets: Vec<&Arc<Stored>> = self
                .audit
                .of(&Resource::REPLICA_SETS)
                .filter(owned)
                .collect();
            let active: i32 = sets.iter().map(|s| self.audit.active_of(&s.uid)).sum();
            if active != wanted && deployment.spec.paused != Some(true) {
                return wrong(format!("{active} of {wanted} pods"));
            }
            if deployment.spec.paused == Some(true) || wanted == 0 {
                continue;
            }
            let hash = |s: &Stored| {
                let set = s.typed::<ReplicaSet>().ok()?;
                Some(pod_template_hash(set.spec.template.as_ref()?, None))
            };
            let new = pod_template_hash(&deployment.spec.template, None);
            let of_new: i32 = sets
                .iter()
                .filter(|s| hash(s).as_ref() == Some(&new))
                .map(|s| self.audit.active_of(&s.uid))
                .sum();
            if of_new != wanted {
                return wrong(format!("{of_new} of {wanted} pods have the new template"));
            }
            let status = deployment.status.clone().unwrap_or_default();
            let shown = (status.updated_replicas, status.available_replicas);
            if shown != (Some(wanted), Some(wanted)) {
                return wrong(format!("it says {shown:?}, {wanted} are there"));
            }
            if status.observed_generation != deployment.metadata.generation {
                return wrong("its newest form was not observed".to_string());
            }
        }
        Ok(())
    }

    fn check_sets(&self) -> Finding {
        for stored in self.audit.of(&Resource::REPLICA_SETS) {
            let Ok(set) = stored.typed::<ReplicaSet>() else {
                continue;
            };
            let Ok(selector) = LabelSelector::try_from(&set.spec.selector) else {
                continue;
            };
            let orphan = self.audit.of(&Resource::PODS).find(|p| {
                p.key.namespace == stored.key.namespace
                    && controller_of(p.meta()).is_none()
                    && p.meta().deletion_timestamp.is_none()
                    && selector.matches_meta(p.meta())
            });
            if let Some(orphan) = orphan {
                let detail = format!("{} does not belong to {}", orphan.key, stored.key);
                return Err((Invariant::OrphansAreAdopted, detail));
            }
            let (wanted, active) = (
                set.spec.replicas.unwrap_or(1),
                self.audit.active_of(&stored.uid),
            );
            let status = set.status.clone().unwrap_or_default();
            let ready = status.ready_replicas.unwrap_or(0);
            if active != wanted || status.replicas != wanted || ready != wanted {
                let detail = format!(
                    "{} wants {wanted}, has {active}, says {} and {ready} ready",
                    stored.key, status.replicas
                );
                return Err((Invariant::ActualEqualsDesired, detail));
            }
        }
        Ok(())
    }

    fn check_pods(&self) -> Finding {
        for stored in self.audit.of(&Resource::PODS) {
            let Ok(pod) = stored.typed::<Pod>() else {
                continue;
            };
            let phase = pod
                .status
                .as_ref()
                .and_then(|s| s.phase.as_deref())
                .unwrap_or_default();
            if matches!(phase, "Succeeded" | "Failed") {
                continue;
            }
            let node = pod
                .spec
                .as_ref()
                .and_then(|s| s.node_name.clone())
                .unwrap_or_default();
            let runs = self.machines.get(&node).is_some_and(|m| {
                m.runtime
                    .get(&*stored.uid)
                    .is_some_and(|s| s.runs_anything())
            });
            if phase != "Running" || !runs {
                let detail = format!("{} is {phase:?} on {node:?}; runs: {runs}", stored.key);
                return Err((Invariant::EveryPodRuns, detail));
            }
        }
        Ok(())
    }

    fn check_owners(&self) -> Finding {
        for object in self.audit.objects.values() {
            let owners = object
                .meta()
                .owner_references
                .as_deref()
                .unwrap_or_default();
            for owner in owners {
                let Some(kind) = kind::by_name(&owner.kind) else {
                    continue;
                };
                let key = ObjectKey::new(kind.resource.clone(), &object.key.namespace, &owner.name);
                let found = self.audit.objects.get(&key);
                if found.is_none_or(|f| *f.uid != *owner.uid) {
                    let detail =
                        format!("{} is owned by {}, which is gone", object.key, owner.name);
                    return Err((Invariant::NothingDangles, detail));
                }
            }
        }
        Ok(())
    }

    fn check_deletions(&self) -> Finding {
        let marked = |o: &&Arc<Stored>| o.meta().deletion_timestamp.is_some();
        match self.audit.objects.values().find(marked) {
            Some(object) => Err((
                Invariant::WhatIsDeletedGoes,
                format!("{} is still there", object.key),
            )),
            None => Ok(()),
        }
    }

    fn check_machines(&self) -> Finding {
        for (name, machine) in &self.machines {
            for (uid, held) in &machine.runtime {
                if self
                    .audit
                    .objects
                    .get(&held.key)
                    .is_none_or(|p| *p.uid != **uid)
                {
                    let detail = format!("{} ({uid}) is on {name}", held.key);
                    return Err((Invariant::NothingRunsUnseen, detail));
                }
            }
        }
        Ok(())
    }
}
