//! Ways of breaking a core, one at a time. A test plants each of them and sees that it is caught.

use super::audit::Invariant;
use super::random::Random;
use kabuki_admission::Commit;
use kabuki_model::command::{Applied, Expect, Op};
use kabuki_model::k8s_openapi::api::apps::v1::Deployment;
use kabuki_model::request::{Request, Subresource};
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored, kind};
use kabuki_reconcile::{Action, Outcome};
use kabuki_store::Snapshot;
use serde_json::{Value, json};
use std::sync::Arc;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The server answers before the log is on the disk.
    AcknowledgesBeforeSync,
    /// The store gives a revision twice.
    ReusesRevision,
    /// A watch leaves out a change.
    LosesWatchEvent,
    /// Admission does not compare `resourceVersion`.
    IgnoresResourceVersion,
    /// A transaction is done though what it requires does not hold.
    ForgetsRequirements,
    /// The ReplicaSet controller makes a pod twice.
    DoublesCreation,
    /// The ReplicaSet controller does not delete pods.
    DropsDeletion,
    /// The ReplicaSet controller does not take orphans in.
    ForgetsAdoption,
    /// The Deployment controller takes all old pods at once.
    IgnoresMaxUnavailable,
    /// The Deployment controller makes all new pods at once.
    IgnoresSurge,
    /// The scheduler does not see what pods ask for.
    IgnoresRequests,
    /// The scheduler does not see taints and cordons.
    IgnoresTaints,
    /// The garbage collector looks for owners by name alone.
    IgnoresUids,
    /// The namespace controller lets a namespace go with what is in it.
    FinalizesEarly,
    /// The agent does not adopt what runs.
    ForgetsContainers,
}

impl Bug {
    /// Every bug, with the invariant that sees it.
    pub const ALL: &[(Self, Invariant)] = &[
        (
            Self::AcknowledgesBeforeSync,
            Invariant::NothingAcknowledgedIsLost,
        ),
        (Self::ReusesRevision, Invariant::RevisionsFollowOneAnother),
        (
            Self::LosesWatchEvent,
            Invariant::EveryWatcherSeesTheSameHistory,
        ),
        (Self::IgnoresResourceVersion, Invariant::NoUpdateIsLost),
        (
            Self::ForgetsRequirements,
            Invariant::ClosedNamespacesStayClosed,
        ),
        (Self::DoublesCreation, Invariant::NoMorePodsThanWanted),
        (Self::DropsDeletion, Invariant::ActualEqualsDesired),
        (Self::ForgetsAdoption, Invariant::OrphansAreAdopted),
        (Self::IgnoresMaxUnavailable, Invariant::AvailabilityIsKept),
        (Self::IgnoresSurge, Invariant::SurgeIsBounded),
        (Self::IgnoresRequests, Invariant::NodesAreNotOvercommitted),
        (Self::IgnoresTaints, Invariant::PodsGoOnlyWhereTheyAreTaken),
        (Self::IgnoresUids, Invariant::NothingDangles),
        (Self::FinalizesEarly, Invariant::NamespacesGoEmpty),
        (
            Self::ForgetsContainers,
            Invariant::RunningContainersAreAdopted,
        ),
    ];

    /// Changes what a controller's core wants.
    pub(super) fn break_outcome(
        self,
        core: &str,
        view: &Snapshot,
        key: &ObjectKey,
        outcome: &mut Outcome,
        random: &mut Random,
    ) {
        match (self, core) {
            (Self::DoublesCreation, "replicaset-controller") if random.chance(300) => {
                double_creation(outcome);
            }
            (Self::DropsDeletion, "replicaset-controller") => {
                outcome.actions.retain(|a| !is_pod_deletion(a));
            }
            (Self::ForgetsAdoption, "replicaset-controller") => {
                outcome.actions.retain(|a| !is_adoption(a));
            }
            (Self::IgnoresMaxUnavailable, "deployment-controller") => {
                resize_sets(
                    view,
                    outcome,
                    |_, before, after| if after < before { 0 } else { after },
                );
            }
            (Self::IgnoresSurge, "deployment-controller") => {
                let wanted = view.get(key).and_then(|d| d.typed::<Deployment>().ok());
                let wanted = wanted.and_then(|d| d.spec.replicas).unwrap_or(1);
                resize_sets(view, outcome, |_, before, after| {
                    if after > before {
                        i64::from(wanted)
                    } else {
                        after
                    }
                });
            }
            (Self::IgnoresUids, "garbage-collector-controller") => {
                outcome.actions.retain(|a| !has_owner_by_name(view, a));
            }
            (Self::FinalizesEarly, "namespace-controller") if !outcome.actions.is_empty() => {
                let Some(namespace) = view.get(key) else {
                    return;
                };
                outcome.actions = vec![Action::Request(finalize(namespace))];
            }
            _ => {}
        }
    }

    /// Changes what the scheduler sees of a pod or node.
    pub(super) fn break_scheduled(self, object: &Arc<Stored>) -> Arc<Stored> {
        let is_pod = object.key.resource == Resource::PODS;
        let Ok(mut value) = object.to_value() else {
            return object.clone();
        };
        match (self, is_pod) {
            (Self::IgnoresRequests, true) => {
                for container in value["spec"]["containers"]
                    .as_array_mut()
                    .into_iter()
                    .flatten()
                {
                    container["resources"] = json!({});
                }
            }
            (Self::IgnoresTaints, false) => value["spec"] = json!({}),
            _ => return object.clone(),
        }
        let (key, uid) = (object.key.clone(), object.uid.clone());
        Arc::new(Stored::new(
            key,
            uid,
            object.revision,
            value.to_string().into(),
        ))
    }
}

/// Asks for the first new pod once more, under another name.
fn double_creation(outcome: &mut Outcome) {
    let is_pod = |a: &&Action| matches!(a, Action::Request(Request::Create { resource, .. }) if *resource == Resource::PODS);
    let Some(Action::Request(first)) = outcome.actions.iter().find(is_pod).cloned() else {
        return;
    };
    let Request::Create {
        resource,
        namespace,
        object,
        options,
    } = first
    else {
        return;
    };
    let Ok(mut pod) = serde_json::from_slice::<Value>(&object) else {
        return;
    };
    let name = format!("{}x", pod["metadata"]["name"].as_str().unwrap_or_default());
    pod["metadata"]["name"] = name.into();
    let object = pod.to_string().into();
    outcome.request(Request::Create {
        resource,
        namespace,
        object,
        options,
    });
}

fn is_pod_deletion(action: &Action) -> bool {
    matches!(action, Action::Request(Request::Delete { key, .. }) if key.resource == Resource::PODS)
}

fn is_adoption(action: &Action) -> bool {
    matches!(
        action,
        Action::Request(Request::Patch { key, patch, .. })
            if key.resource == Resource::PODS
                && String::from_utf8_lossy(patch).contains("\"controller\":true")
    )
}

/// Gives ReplicaSets other sizes: of a set, what it had and what it was to get.
fn resize_sets(view: &Snapshot, outcome: &mut Outcome, size: impl Fn(&ObjectKey, i64, i64) -> i64) {
    for action in &mut outcome.actions {
        let Action::Request(request) = action else {
            continue;
        };
        let (key, body, before) = match request {
            Request::Patch { key, patch, .. } if key.resource == Resource::REPLICA_SETS => {
                let set = view
                    .get(key)
                    .and_then(|s| s.to_value().ok())
                    .unwrap_or_default();
                (
                    key.clone(),
                    patch,
                    set["spec"]["replicas"].as_i64().unwrap_or(0),
                )
            }
            Request::Create {
                resource,
                namespace,
                object,
                ..
            } if *resource == Resource::REPLICA_SETS => {
                (ObjectKey::new(resource.clone(), namespace, ""), object, 0)
            }
            _ => continue,
        };
        let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
            continue;
        };
        if let Some(after) = value["spec"]["replicas"].as_i64() {
            value["spec"]["replicas"] = size(&key, before, after).into();
            *body = value.to_string().into();
        }
    }
}

/// Whether something has the name of an owner of what is to be deleted.
fn has_owner_by_name(view: &Snapshot, action: &Action) -> bool {
    let Action::Request(Request::Delete { key, .. }) = action else {
        return false;
    };
    let Some(object) = view.get(key) else {
        return false;
    };
    object
        .meta()
        .owner_references
        .iter()
        .flatten()
        .any(|owner| {
            kind::by_name(&owner.kind).is_some_and(|kind| {
                let key = ObjectKey::new(kind.resource.clone(), &key.namespace, &owner.name);
                view.get(&key).is_some()
            })
        })
}

fn finalize(namespace: &Stored) -> Request {
    let body = json!({"metadata": {"uid": &*namespace.uid}, "spec": {"finalizers": []}});
    Request::Update {
        key: namespace.key.clone(),
        subresource: Some(Subresource::Finalize),
        object: body.to_string().into(),
        options: Default::default(),
    }
}

/// A request without the revision that it is based on.
pub(super) fn without_revision(request: &mut Request) {
    match request {
        Request::Update { object: body, .. } | Request::Patch { patch: body, .. } => {
            let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
                return;
            };
            if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
                meta.remove("resourceVersion");
                *body = value.to_string().into();
            }
        }
        Request::Delete { options, .. } => options.revision = None,
        _ => {}
    }
}

pub(super) fn without_expected_revision(commit: &mut Commit) {
    for op in &mut commit.command.ops {
        if let Op::Put { expect, .. } = op
            && matches!(expect, Expect::Revision(_))
        {
            *expect = Expect::Present;
        }
    }
}

pub(super) fn without_requirements(commit: &mut Commit) {
    commit
        .command
        .ops
        .retain(|op| !matches!(op, Op::Require { .. }));
}

pub(super) fn reuse_revision(applied: &mut Applied) {
    if let Applied::Committed(changes) = applied {
        for change in changes {
            change.object = Arc::new(change.object.at_revision(change.object.revision - 1));
        }
    }
}
