//! Talking to a supervisor: children that come and go at run time.

use std::sync::Arc;
use std::time::Duration;

use ractor::RpcReplyPort;
use ractor_cluster::RactorMessage;

use super::spec::{ChildSpec, Restart};
use crate::slot::{CallError, Slot};
use crate::tree::ActorState;

/// Reaches a supervisor, over its restarts. Make it before the supervisor and pass it to
/// [`SupervisorSpec::handle`](crate::SupervisorSpec::handle).
///
/// Children started through it are forgotten when the supervisor itself restarts: whoever asked
/// for them must be started after the supervisor (rest-for-one) and ask again.
#[derive(Clone, Debug)]
pub struct SupervisorHandle {
    slot: Slot<SupervisorMessage>,
}

/// Why a supervisor did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChildError {
    /// The name is taken; also by a child that is still being terminated.
    #[error("child {0} exists already")]
    Exists(Arc<str>),
    /// No child has this name.
    #[error("no child {0}")]
    Unknown(String),
    /// A name is one part of a path.
    #[error("child name {0:?} is empty or contains a slash")]
    InvalidName(Arc<str>),
    /// `pre_start` failed, panicked or took too long. The child is not kept.
    #[error("child {name} did not start: {reason}")]
    Start { name: Arc<str>, reason: String },
    /// Terminated, but something below never yields, so the name stays taken.
    #[error("child {name} was killed but {paths:?} did not end")]
    Stuck { name: Arc<str>, paths: Vec<String> },
    /// The supervisor itself did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// One child, as [`SupervisorHandle::which_children`] tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildInfo {
    /// The name in the spec.
    pub name: Arc<str>,
    /// The policy in the spec.
    pub restart: Restart,
    /// Where the child is in its life.
    pub state: ActorState,
}

/// What a supervisor understands. Use [`SupervisorHandle`].
#[derive(RactorMessage)]
pub enum SupervisorMessage {
    #[doc(hidden)]
    StartChild {
        spec: ChildSpec,
        reply: RpcReplyPort<Result<(), ChildError>>,
    },
    #[doc(hidden)]
    TerminateChild {
        name: String,
        reply: RpcReplyPort<Result<(), ChildError>>,
    },
    #[doc(hidden)]
    WhichChildren { reply: RpcReplyPort<Vec<ChildInfo>> },
    /// The children of a restart are down and their delay is over.
    #[doc(hidden)]
    RestartDue { generation: u64, stuck: Vec<String> },
    /// A child that was being terminated is down.
    #[doc(hidden)]
    Terminated { generation: u64, stuck: Vec<String> },
}

impl SupervisorHandle {
    /// A handle for a supervisor that is still to be started; `name` appears in errors.
    pub fn new(name: &str) -> Self {
        Self {
            slot: Slot::new(name),
        }
    }

    /// Starts a child after the present ones. Returns when its `pre_start` is done.
    pub async fn start_child(&self, spec: ChildSpec, limit: Duration) -> Result<(), ChildError> {
        self.slot
            .call(|reply| SupervisorMessage::StartChild { spec, reply }, limit)
            .await?
    }

    /// Stops a child (kills it after its shutdown limit) and forgets it. Returns when all of it
    /// is gone, so the name is free again.
    pub async fn terminate_child(&self, name: &str, limit: Duration) -> Result<(), ChildError> {
        let name = name.to_owned();
        self.slot
            .call(
                |reply| SupervisorMessage::TerminateChild { name, reply },
                limit,
            )
            .await?
    }

    /// All children in start order.
    pub async fn which_children(&self, limit: Duration) -> Result<Vec<ChildInfo>, ChildError> {
        Ok(self
            .slot
            .call(|reply| SupervisorMessage::WhichChildren { reply }, limit)
            .await?)
    }

    pub(super) fn slot(&self) -> &Slot<SupervisorMessage> {
        &self.slot
    }
}
