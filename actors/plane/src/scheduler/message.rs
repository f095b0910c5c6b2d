//! Messages of the scheduler.

use crate::controller::Followed;
use kabuki_model::StatusError;
use kabuki_schedule::Pending;
use ractor_cluster::RactorMessage;
use std::sync::Arc;

/// A pod and the node that it is to go to.
pub(super) type Placement = (Arc<Pending>, Arc<str>);

#[derive(RactorMessage)]
pub(super) enum SchedulerMessage {
    /// Learn the state, and follow it from then on.
    Begin,
    /// Pods and nodes have changed.
    Changed(Vec<Followed>),
    /// A batch has been bound: the refusal of each that was not.
    Bound(Vec<(Placement, Option<StatusError>)>),
    /// A pod that waits may be due.
    Wake,
}
