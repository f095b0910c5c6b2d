//! The top of a tree: the one supervisor that no supervisor heals.

use std::time::Duration;

use ractor::{Actor, ActorCell};
use tokio::task::JoinHandle;

use super::actor::{Supervisor, SupervisorArgs};
use super::spec::{SupervisorSpec, why_not_started};
use crate::instrument::Instrumented;
use crate::tree::{Mailbox, Scope, Tree};

/// A running tree. Dropping it leaves the tree running.
#[derive(Debug)]
pub struct Root {
    cell: ActorCell,
    join: JoinHandle<()>,
    scope: Scope,
}

/// A tree did not come up. What had started was stopped again.
#[derive(Debug, thiserror::Error)]
#[error("supervision tree {name} did not start: {reason}")]
pub struct StartError {
    name: String,
    reason: String,
}

impl Root {
    /// Starts a whole tree under `name`. Returns when every static child's `pre_start` is done.
    pub async fn start(tree: &Tree, name: &str, spec: SupervisorSpec) -> Result<Root, StartError> {
        let failed = |reason: String| StartError {
            name: name.to_owned(),
            reason,
        };
        if name.is_empty() || name.contains('/') {
            return Err(failed("the name is empty or contains a slash".to_owned()));
        }
        let scope = tree.scope(name);
        let (seat, handle) = (scope.seat(), spec.handle.clone());
        seat.mark_supervisor();
        let mailbox = std::sync::Arc::new(Mailbox::new());
        let actor = Instrumented::new(Supervisor, seat, mailbox.clone());
        let args = SupervisorArgs {
            spec,
            scope: scope.clone(),
        };
        let started = Actor::spawn(None, actor, args).await;
        let (actor, join) = started.map_err(|error| failed(why_not_started(error).to_string()))?;
        let cell = actor.get_cell();
        if let Some(handle) = handle {
            handle.slot().fill(actor, Some(mailbox));
        }
        Ok(Root { cell, join, scope })
    }

    /// Stops the tree: children in reverse order, each within its own limit; whatever is left
    /// after `limit` is killed. `Err` names what held on even then.
    pub async fn stop(self, limit: Duration) -> Result<(), Vec<String>> {
        self.cell.stop(Some("shutdown".to_owned()));
        if self.cell.wait(Some(limit)).await.is_err() {
            tracing::warn!(
                actor.path = self.scope.path(),
                "killed: it did not stop in time"
            );
        }
        self.scope.settle(Duration::from_secs(1)).await
    }

    /// Waits until the tree has ended, by itself or because it gave up, and tells why if it
    /// failed.
    pub async fn wait(&mut self) -> Option<String> {
        let _ = (&mut self.join).await;
        self.scope
            .tree()
            .get(self.scope.path())
            .and_then(|info| info.last_failure)
    }
}
