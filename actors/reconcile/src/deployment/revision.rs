//! Which ReplicaSet is the new one, the revisions of all, and making the new one.

use super::rollout::{DESIRED, MAX, Rollout};
use super::status::{self, PROGRESSING};
use crate::ownership::Claimant;
use crate::requests;
use kabuki_model::hash::{POD_TEMPLATE_HASH, pod_template_hash};
use kabuki_model::k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use kabuki_model::k8s_openapi::api::core::v1::PodTemplateSpec;
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kabuki_model::{LabelSelector, ObjectKey, Resource};
use std::collections::BTreeMap;

/// Which revision of the Deployment a ReplicaSet is, and which one the Deployment is at.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// The revisions that a ReplicaSet was before it was rolled back to.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// No more bytes of history than this are kept.
const MAX_HISTORY: usize = 2000;
/// The Deployment's annotations that its ReplicaSets do not get.
const OWN: &[&str] = &[
    kabuki_model::patch::LAST_APPLIED,
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    let labels = template.metadata.as_mut().and_then(|m| m.labels.as_mut());
    if let Some(labels) = labels {
        labels.remove(POD_TEMPLATE_HASH);
    }
    template
}

impl Rollout<'_> {
    /// The oldest ReplicaSet with the Deployment's template.
    pub(super) fn find_new(&self) -> Option<usize> {
        let wanted = without_hash(&self.deployment.spec.template);
        self.sets.iter().position(|set| {
            let template = set.object.spec.template.as_ref();
            template.is_some_and(|t| without_hash(t) == wanted)
        })
    }

    /// One more than the newest of the old ones.
    fn next_revision(&self) -> i64 {
        let revisions = self
            .old()
            .filter_map(|i| revision_of(&self.sets[i].annotations));
        revisions.max().unwrap_or(0) + 1
    }

    /// Brings the new ReplicaSet's revision and annotations up to date, when there is one.
    pub(super) fn sync_new_set(&mut self) {
        let Some(new) = self.new else {
            return;
        };
        let revision = self.next_revision();
        let own = self
            .deployment
            .metadata
            .annotations
            .clone()
            .unwrap_or_default();
        let min_ready_s = self.deployment.spec.min_ready_seconds;
        let set = &mut self.sets[new];
        set.annotations.extend(inherited(&own));
        set.min_ready_s = min_ready_s;
        let before = revision_of(&set.annotations);
        if before.unwrap_or(0) < revision {
            if let Some(before) = before {
                remember(&mut set.annotations, before);
            }
            set.annotations
                .insert(REVISION.to_string(), revision.to_string());
        }
        self.revision = set.annotations.get(REVISION).cloned();
        let name = set.name().to_string();
        if self.has_deadline() && status::find(&self.status, PROGRESSING).is_none() {
            let message = format!("Found new replica set \"{name}\"");
            self.set_progressing("True", "FoundNewReplicaSet", message);
        }
    }

    /// Makes the new ReplicaSet, which is known to be missing.
    pub(super) fn make_new_set(&mut self) {
        let template = &self.deployment.spec.template;
        let hash = pod_template_hash(template, self.status.collision_count);
        let name = format!("{}-{hash}", self.stored.key.name);
        let key = ObjectKey::new(Resource::REPLICA_SETS, &self.stored.key.namespace, &name);
        if self.view.get(&key).is_some() {
            // Somebody else's, or ours with another template: the next count gives another hash.
            let count = self.status.collision_count.get_or_insert(0);
            *count = count.saturating_add(1);
            return;
        }
        let replicas = self.size_of_new(0);
        let revision = self.next_revision().to_string();
        let set = self.new_set(&name, &hash, replicas, &revision);
        let create = requests::create(Resource::REPLICA_SETS, &self.stored.key.namespace, &set);
        let message = format!("Scaled up replica set {name} from 0 to {replicas}");
        self.making
            .push((create, (replicas > 0).then_some(message)));
        self.revision = Some(revision);
        if self.has_deadline() {
            let message = format!("Created new replica set \"{name}\"");
            self.set_progressing("True", "NewReplicaSetCreated", message);
        }
    }

    fn new_set(&self, name: &str, hash: &str, replicas: i32, revision: &str) -> ReplicaSet {
        let spec = &self.deployment.spec;
        let mut template = spec.template.clone();
        let labels = template
            .metadata
            .get_or_insert_default()
            .labels
            .get_or_insert_default();
        labels.insert(POD_TEMPLATE_HASH.to_string(), hash.to_string());
        let labels = labels.clone();
        let mut selector = spec.selector.clone();
        let hashed = selector.match_labels.get_or_insert_default();
        hashed.insert(POD_TEMPLATE_HASH.to_string(), hash.to_string());
        let own = self
            .deployment
            .metadata
            .annotations
            .clone()
            .unwrap_or_default();
        let mut annotations: BTreeMap<String, String> = inherited(&own).collect();
        annotations.insert(REVISION.to_string(), revision.to_string());
        self.annotate_size(&mut annotations);
        let nothing = LabelSelector::nothing();
        let owner = Claimant {
            stored: &self.stored,
            api_version: "apps/v1",
            kind: "Deployment",
            selector: &nothing,
        };
        ReplicaSet {
            metadata: ObjectMeta {
                name: Some(name.to_string()),
                namespace: Some(self.stored.key.namespace.to_string()),
                labels: Some(labels),
                annotations: Some(annotations),
                owner_references: Some(vec![owner.reference()]),
                ..ObjectMeta::default()
            },
            spec: ReplicaSetSpec {
                replicas: Some(replicas),
                min_ready_seconds: spec.min_ready_seconds,
                selector,
                template: Some(template),
            },
            status: None,
        }
    }
}

pub(super) fn revision_of(annotations: &BTreeMap<String, String>) -> Option<i64> {
    annotations.get(REVISION)?.parse().ok()
}

fn inherited(own: &BTreeMap<String, String>) -> impl Iterator<Item = (String, String)> {
    let passed_on = own.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
    passed_on.map(|(name, value)| (name.clone(), value.clone()))
}

/// Adds a revision to the history; the oldest go when it grows too long.
fn remember(annotations: &mut BTreeMap<String, String>, revision: i64) {
    let mut history = annotations.remove(HISTORY).unwrap_or_default();
    if !history.is_empty() {
        history.push(',');
    }
    history.push_str(&revision.to_string());
    while history.len() > MAX_HISTORY {
        match history.split_once(',') {
            Some((_, newer)) => history = newer.to_string(),
            None => break,
        }
    }
    annotations.insert(HISTORY.to_string(), history);
}
