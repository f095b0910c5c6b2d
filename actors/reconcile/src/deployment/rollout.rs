//! What one reconciliation of a Deployment knows, and what it plans: changes of ReplicaSets are
//! gathered here and come out as one request each.

use super::selector_of;
use crate::ownership::Claimant;
use crate::pods;
use crate::reconciler::Outcome;
use crate::{report, requests};
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::percent::{RollingBounds, rolling_bounds};
use kabuki_model::request::Request;
use kabuki_model::view::{Index, View};
use kabuki_model::{ObjectKey, Resource, Stored};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many replicas the Deployment wanted when the ReplicaSet was last scaled.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// How many pods it could have had then.
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";

pub(super) struct Rollout<'a> {
    pub view: &'a dyn View,
    pub stored: Arc<Stored>,
    pub deployment: Arc<Deployment>,
    /// The status as it will be written.
    pub status: DeploymentStatus,
    pub bounds: RollingBounds,
    pub now: Timestamp,
    /// All ReplicaSets, oldest first.
    pub sets: Vec<Set>,
    /// Which of them has the Deployment's template.
    pub new: Option<usize>,
    /// The revision annotation that the Deployment gets.
    pub revision: Option<String>,
    /// Creations and deletions of ReplicaSets, with what is said of each.
    pub making: Vec<(Request, Option<String>)>,
    outcome: Outcome,
}

/// A ReplicaSet of the Deployment, and what is planned for it.
pub(super) struct Set {
    pub stored: Arc<Stored>,
    pub object: Arc<ReplicaSet>,
    /// How many pods it is to have.
    pub replicas: i32,
    pub annotations: BTreeMap<String, String>,
    pub min_ready_s: Option<i32>,
    /// Its pods that count, at this moment; its status may lag behind.
    pub active: i32,
    /// Those of them that are ready.
    pub ready: i32,
    /// Its pods that have not ended, those on their way out included.
    pub living: i32,
}

impl Set {
    fn new(view: &dyn View, stored: Arc<Stored>) -> Option<Self> {
        let object = stored.typed::<ReplicaSet>().ok()?;
        let mut set = Self {
            replicas: object.spec.replicas.unwrap_or(1),
            annotations: object.metadata.annotations.clone().unwrap_or_default(),
            min_ready_s: object.spec.min_ready_seconds,
            active: 0,
            ready: 0,
            living: 0,
            stored,
            object,
        };
        for owned in view.indexed(Index::Owner, &set.stored.uid) {
            if owned.key.resource != Resource::PODS {
                continue;
            }
            if let Ok(pod) = owned.typed::<Pod>() {
                set.active += i32::from(pods::is_active(&pod));
                set.ready += i32::from(pods::is_active(&pod) && pods::is_ready(&pod));
                set.living += i32::from(!pods::is_finished(&pod));
            }
        }
        Some(set)
    }

    pub(super) fn name(&self) -> &str {
        &self.stored.key.name
    }

    /// How many pods it may have, now or when it has done what it is told.
    pub(super) fn at_most(&self) -> i32 {
        self.replicas.max(self.active)
    }

    /// How many of its pods are available and will stay when it has done what it is told.
    pub(super) fn available(&self) -> i32 {
        let status = self.object.status.as_ref();
        let known = status.and_then(|s| s.available_replicas).unwrap_or(0);
        known.min(self.ready).min(self.replicas)
    }

    pub(super) fn annotated(&self, name: &str) -> Option<i32> {
        self.annotations.get(name)?.parse().ok()
    }

    fn is_changed(&self) -> bool {
        self.replicas != self.was()
            || self.min_ready_s != self.object.spec.min_ready_seconds
            || Some(&self.annotations) != self.object.metadata.annotations.as_ref()
                && !(self.annotations.is_empty() && self.object.metadata.annotations.is_none())
    }

    pub(super) fn was(&self) -> i32 {
        self.object.spec.replicas.unwrap_or(1)
    }

    fn patch(&self) -> Request {
        let mut spec = json!({ "replicas": self.replicas });
        if self.min_ready_s != self.object.spec.min_ready_seconds {
            spec["minReadySeconds"] = json!(self.min_ready_s);
        }
        let metadata = json!({ "annotations": self.annotations });
        requests::patch(&self.stored, metadata, Some(spec))
    }
}

impl<'a> Rollout<'a> {
    pub(super) fn begin(view: &'a dyn View, key: &ObjectKey, now: Timestamp) -> Option<Self> {
        let stored = view.get(key)?.clone();
        let deployment = stored.typed::<Deployment>().ok()?;
        let selector = selector_of(&deployment)?;
        let mut outcome = Outcome::done();
        let claimant = Claimant {
            stored: &stored,
            api_version: "apps/v1",
            kind: "Deployment",
            selector: &selector,
        };
        let claimed = claimant.claim(view, &Resource::REPLICA_SETS, &mut outcome);
        let mut sets: Vec<Set> = claimed
            .into_iter()
            .filter_map(|s| Set::new(view, s))
            .collect();
        sets.sort_by_key(|s| {
            let created = s.object.metadata.creation_timestamp.as_ref().map(|t| t.0);
            (created, s.stored.key.name.clone())
        });
        let mut rollout = Self {
            view,
            status: deployment.status.clone().unwrap_or_default(),
            bounds: rolling_bounds(&deployment),
            now,
            new: None,
            revision: None,
            making: Vec::new(),
            outcome,
            sets,
            stored,
            deployment,
        };
        rollout.new = rollout.find_new();
        Some(rollout)
    }

    /// How many replicas are wanted.
    pub(super) fn wanted(&self) -> i32 {
        self.deployment.spec.replicas.unwrap_or(1)
    }

    pub(super) fn old(&self) -> impl Iterator<Item = usize> + use<> {
        let new = self.new;
        (0..self.sets.len()).filter(move |i| Some(*i) != new)
    }

    pub(super) fn annotate_size(&self, annotations: &mut BTreeMap<String, String>) {
        let wanted = self.wanted();
        let max = wanted.saturating_add(self.bounds.surge);
        annotations.insert(DESIRED.to_string(), wanted.to_string());
        annotations.insert(MAX.to_string(), max.to_string());
    }

    /// Plans another size of a ReplicaSet. Says whether it is another.
    pub(super) fn resize(&mut self, index: usize, replicas: i32) -> bool {
        if self.sets[index].replicas == replicas {
            return false;
        }
        self.sets[index].replicas = replicas;
        self.note_size(index);
        true
    }

    /// Notes on a ReplicaSet for which size of the Deployment it was sized.
    pub(super) fn note_size(&mut self, index: usize) {
        let mut annotations = std::mem::take(&mut self.sets[index].annotations);
        self.annotate_size(&mut annotations);
        self.sets[index].annotations = annotations;
    }

    pub(super) fn look_again(&mut self, at: Timestamp) {
        self.outcome.look_again(at);
    }

    /// Everything that was planned, as actions.
    pub(super) fn finish(mut self) -> Outcome {
        for set in &self.sets {
            if !set.is_changed() {
                continue;
            }
            self.outcome.request(set.patch());
            let (from, to) = (set.was(), set.replicas);
            if from != to {
                let way = if to > from { "up" } else { "down" };
                let message = format!(
                    "Scaled {way} replica set {} from {from} to {to}",
                    set.name()
                );
                self.outcome
                    .event(report::normal(&self.stored, "ScalingReplicaSet", message));
            }
        }
        for (request, message) in std::mem::take(&mut self.making) {
            self.outcome.request(request);
            if let Some(message) = message {
                self.outcome
                    .event(report::normal(&self.stored, "ScalingReplicaSet", message));
            }
        }
        self.write_revision();
        if self.deployment.status.as_ref() != Some(&self.status) {
            self.outcome
                .request(requests::set_status(&self.stored, &self.status));
        }
        self.outcome
    }

    fn write_revision(&mut self) {
        let annotations = self.deployment.metadata.annotations.as_ref();
        let noted = annotations.and_then(|a| a.get(super::revision::REVISION));
        if let Some(revision) = self.revision.take().filter(|r| Some(r) != noted) {
            let key = super::revision::REVISION;
            let metadata = json!({ "annotations": { key: revision } });
            self.outcome
                .request(requests::patch(&self.stored, metadata, None));
        }
    }
}
