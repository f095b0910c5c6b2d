//! The invariants that hold all the way. The auditor keeps a plain copy of everything that was
//! written for certain, so that it depends on nothing that it checks.
//!
//! | module | what |
//! |---|---|
//! | `changes` | what each change may do |
//! | `rollout` | how many pods ReplicaSets and Deployments may make |
//! | `decisions` | what the controllers may ask for, by what they had before them |

mod changes;
mod decisions;
mod rollout;

use kabuki_model::{ObjectKey, Resource, Stored};
use kabuki_store::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What must hold of every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// A write that was answered is there after every crash.
    NothingAcknowledgedIsLost,
    /// Every change has the revision that follows the one before it.
    RevisionsFollowOneAnother,
    /// A change says rightly what was there before it.
    ChangesAreChained,
    /// Every watcher of a resource is told of every change, once, in order.
    EveryWatcherSeesTheSameHistory,
    /// No two objects ever have the same uid.
    UidsAreUnique,
    /// An object is never replaced by another of its name without a deletion.
    OneObjectPerName,
    /// A write that names the form that it is based on is not done to another form.
    NoUpdateIsLost,
    /// A pod stays on its node.
    PodsAreBoundOnce,
    /// What the pods on a node ask for is never more than it has.
    NodesAreNotOvercommitted,
    /// A pod goes only to nodes that, as far as the scheduler knows, take it.
    PodsGoOnlyWhereTheyAreTaken,
    /// No two instances of one container run at once.
    NoContainerRunsTwice,
    /// An agent that starts again adopts what runs.
    RunningContainersAreAdopted,
    /// No two pods of the same name run at once.
    NoTwoPodsOfOneName,
    /// Nothing comes to be in a namespace that is going or gone.
    ClosedNamespacesStayClosed,
    /// A namespace goes only when it is empty.
    NamespacesGoEmpty,
    /// A ReplicaSet makes no more pods than it wants.
    NoMorePodsThanWanted,
    /// A rolling update makes no more pods than its surge allows.
    SurgeIsBounded,
    /// `Recreate` makes no new pod while an old one lives.
    RecreateDoesNotOverlap,
    /// A rolling update takes no more available pods away than may be missing.
    AvailabilityIsKept,
    /// Of too many pods those that are not ready go first.
    UnreadyPodsGoFirst,
    /// Nothing is collected that has an owner.
    OwnedObjectsAreKept,
    /// When the faults have stopped, everything comes to rest.
    ItComesToRest,
    /// At rest, there are as many pods as wanted, all of the wanted template, and they run.
    ActualEqualsDesired,
    /// At rest, every pod has a node and is done or runs.
    EveryPodRuns,
    /// At rest, every dependent has an owner.
    NothingDangles,
    /// At rest, what a selector matches belongs to its controller.
    OrphansAreAdopted,
    /// At rest, nothing runs on a node that the API does not know of.
    NothingRunsUnseen,
    /// At rest, nothing waits for its deletion.
    WhatIsDeletedGoes,
}

/// An invariant that did not hold.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// By what.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.detail)
    }
}

#[derive(Default)]
pub(super) struct Audit {
    pub objects: BTreeMap<ObjectKey, Arc<Stored>>,
    pub applied_index: u64,
    revision: u64,
    uids: BTreeSet<Arc<str>>,
    /// The revisions of the changes of each resource.
    histories: BTreeMap<Resource, Vec<u64>>,
    /// Pods that were deleted without waiting for their node.
    forced: BTreeSet<Arc<str>>,
    wishes: BTreeMap<Arc<str>, Vec<(Duration, rollout::Wish)>>,
}

impl Audit {
    /// The change of `resource` that a watcher which has seen everything up to `revision` must be
    /// told of next.
    pub fn next_after(&self, resource: &Resource, revision: u64) -> Option<u64> {
        let history = self.histories.get(resource)?;
        history
            .get(history.partition_point(|r| *r <= revision))
            .copied()
    }

    /// Holds a recovered state against what was written for certain.
    pub fn compare(&self, recovered: &Snapshot) -> Result<(), String> {
        use kabuki_model::view::View;
        if recovered.revision() != self.revision {
            return Err(format!(
                "revision {} was acknowledged; {} was recovered",
                self.revision,
                recovered.revision()
            ));
        }
        let mut found = recovered.iter();
        for known in self.objects.values() {
            match found.next() {
                Some(object) if object == known => {}
                other => {
                    return Err(format!(
                        "{known:?} was acknowledged; {other:?} was recovered"
                    ));
                }
            }
        }
        match found.next() {
            None => Ok(()),
            Some(extra) => Err(format!("{extra:?} was recovered and never written")),
        }
    }

    pub fn of<'a>(
        &'a self,
        resource: &Resource,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let resource = resource.clone();
        self.objects
            .values()
            .filter(move |o| o.key.resource == resource)
    }
}
