//! The end of a namespace (Kubernetes, "Namespaces"): everything in it is deleted, pods first,
//! and when nothing is left, the finalizer that kept it is taken away.

use crate::reconciler::{Outcome, Reconciler};
use crate::requests;
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kabuki_model::kind::{self, Scope};
use kabuki_model::request::{DeleteOptions, ListRequest, Propagation, Request, Subresource};
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored};
use serde_json::json;
use std::collections::BTreeMap;

/// The finalizer that this controller takes away.
const FINALIZER: &str = "kubernetes";

/// The core of the namespace controller.
pub(crate) struct Namespaces;

impl Reconciler for Namespaces {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        let mut watched = namespaced();
        watched.push(Resource::NAMESPACES);
        watched
    }

    fn keys(
        &self,
        view: &dyn View,
        object: &Stored,
        _previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        let key = match &*object.key.namespace {
            "" if removed => return Vec::new(),
            "" => object.key.clone(),
            namespace => requests::namespace_key(namespace),
        };
        let ends = view
            .get(&key)
            .is_some_and(|n| n.meta().deletion_timestamp.is_some());
        ends.then_some(key).into_iter().collect()
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        let Some(stored) = view.get(key) else {
            return outcome;
        };
        let Ok(namespace) = stored.typed::<Namespace>() else {
            return outcome;
        };
        let finalizers = namespace.spec.as_ref().and_then(|s| s.finalizers.clone());
        let mut finalizers = finalizers.unwrap_or_default();
        let ours = finalizers.iter().any(|f| f == FINALIZER);
        if namespace.metadata.deletion_timestamp.is_none() || !ours {
            return outcome;
        }
        let left = Left::count(view, &key.name);
        if left.resources.is_empty() {
            finalizers.retain(|f| f != FINALIZER);
            let body = json!({ "spec": { "finalizers": finalizers } });
            outcome.request(requests::replace_part(stored, Subresource::Finalize, body));
            return outcome;
        }
        for resource in left.next_to_delete() {
            outcome.request(Request::DeleteCollection {
                selection: ListRequest::all(resource.clone(), Some(&key.name)),
                options: DeleteOptions {
                    propagation: Some(Propagation::Background),
                    ..DeleteOptions::default()
                },
            });
        }
        let status = left.status(&namespace, now);
        if namespace.status.as_ref() != Some(&status) {
            outcome.request(requests::set_status(stored, &status));
        }
        outcome
    }
}

fn namespaced() -> Vec<Resource> {
    let kinds = kind::all()
        .iter()
        .filter(|k| k.scope() == Scope::Namespaced);
    kinds.map(|k| k.resource.clone()).collect()
}

/// What is left in a namespace.
#[derive(Default)]
struct Left {
    /// How many objects of each resource.
    resources: BTreeMap<Resource, usize>,
    /// The resources of which some are not even marked.
    unmarked: Vec<Resource>,
    /// How many objects each finalizer keeps.
    finalizers: BTreeMap<String, usize>,
}

impl Left {
    fn count(view: &dyn View, namespace: &str) -> Self {
        let mut left = Self::default();
        for resource in namespaced() {
            let mut unmarked = false;
            for object in view.scan(&resource, Some(namespace), None) {
                *left.resources.entry(resource.clone()).or_default() += 1;
                let meta = object.meta();
                unmarked |= meta.deletion_timestamp.is_none();
                for finalizer in meta.finalizers.iter().flatten() {
                    *left.finalizers.entry(finalizer.clone()).or_default() += 1;
                }
            }
            if unmarked {
                left.unmarked.push(resource);
            }
        }
        left
    }

    /// Pods go before what they may still need.
    fn next_to_delete(&self) -> &[Resource] {
        const PODS: &[Resource] = &[Resource::PODS];
        match self.resources.contains_key(&Resource::PODS) {
            true if self.unmarked.contains(&Resource::PODS) => PODS,
            true => &[],
            false => &self.unmarked,
        }
    }

    fn status(&self, namespace: &Namespace, now: Timestamp) -> NamespaceStatus {
        let listed = |of: &mut dyn Iterator<Item = String>| of.collect::<Vec<_>>().join(", ");
        let resources = listed(
            &mut self
                .resources
                .iter()
                .map(|(r, n)| format!("{} has {n} resource instances", dotted(r))),
        );
        let finalizers = listed(
            &mut self
                .finalizers
                .iter()
                .map(|(f, n)| format!("{f} in {n} resource instances")),
        );
        let some_finalizers = !self.finalizers.is_empty();
        let texts = [
            (
                "NamespaceDeletionDiscoveryFailure",
                false,
                "ResourcesDiscovered",
                "All resources successfully discovered".to_string(),
            ),
            (
                "NamespaceDeletionGroupVersionParsingFailure",
                false,
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed".to_string(),
            ),
            (
                "NamespaceDeletionContentFailure",
                false,
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization".to_string(),
            ),
            (
                "NamespaceContentRemaining",
                true,
                "SomeResourcesRemain",
                format!("Some resources are remaining: {resources}"),
            ),
            match some_finalizers {
                true => (
                    "NamespaceFinalizersRemaining",
                    true,
                    "SomeFinalizersRemain",
                    format!("Some content in the namespace has finalizers remaining: {finalizers}"),
                ),
                false => (
                    "NamespaceFinalizersRemaining",
                    false,
                    "ContentHasNoFinalizers",
                    "All content-preserving finalizers finished".to_string(),
                ),
            },
        ];
        let mut status = namespace.status.clone().unwrap_or_default();
        let before = status.conditions.take().unwrap_or_default();
        let conditions = texts.into_iter().map(|(kind, holds, reason, message)| {
            let holds = if holds { "True" } else { "False" };
            let known = before.iter().find(|c| c.type_ == kind && c.status == holds);
            NamespaceCondition {
                type_: kind.to_string(),
                status: holds.to_string(),
                reason: Some(reason.to_string()),
                message: Some(message),
                last_transition_time: known
                    .and_then(|c| c.last_transition_time.clone())
                    .or(Some(Time(now))),
            }
        });
        status.conditions = Some(conditions.collect());
        status
    }
}

/// `pods.` and `deployments.apps`, as Kubernetes writes them here.
fn dotted(resource: &Resource) -> String {
    format!("{}.{}", resource.plural(), resource.group())
}

#[cfg(test)]
mod tests;
