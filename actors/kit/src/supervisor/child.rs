//! One child's record in its supervisor, and how it is brought down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{ActorCell, RpcReplyPort};

use super::handle::{ChildError, ChildInfo};
use super::spec::ChildSpec;
use crate::tree::{ActorState, Phase, Scope, Seat};

/// How long a killed actor may take to die before it counts as stuck. It dies at its next await.
const KILL_LIMIT: Duration = Duration::from_secs(1);

pub(super) struct Child {
    pub(super) spec: ChildSpec,
    pub(super) scope: Scope,
    /// Kept by the child so that its counters outlive a `forget` of the path.
    pub(super) seat: Arc<Seat>,
    /// Added at run time: forgotten when it ends for good.
    pub(super) dynamic: bool,
    pub(super) life: Life,
    /// The last incarnation's cell, whatever became of it.
    last: Option<ActorCell>,
    /// Restarts since it last lived long enough to be forgiven.
    pub(super) attempts: u32,
    pub(super) started: Instant,
}

pub(super) enum Life {
    Running(ActorCell),
    /// Down or going down; to be started when `RestartDue` of this generation arrives.
    Restarting(u64),
    /// Going down for good; `Terminated` of this generation ends it.
    Terminating(u64, Vec<RpcReplyPort<Result<(), ChildError>>>),
    /// Ended, not to be restarted on its own account.
    Ended,
}

/// What a task needs to bring one child down without its supervisor.
pub(super) struct Down {
    cell: Option<ActorCell>,
    scope: Scope,
    limit: Duration,
}

impl Child {
    pub(super) fn new(spec: ChildSpec, parent: &Scope, dynamic: bool) -> Self {
        let scope = parent.child(&spec.name);
        let (seat, started) = (scope.seat(), Instant::now());
        Self {
            spec,
            scope,
            seat,
            dynamic,
            life: Life::Ended,
            last: None,
            attempts: 0,
            started,
        }
    }

    pub(super) fn cell(&self) -> Option<&ActorCell> {
        match &self.life {
            Life::Running(cell) => Some(cell),
            _ => None,
        }
    }

    pub(super) fn run(&mut self, cell: ActorCell) {
        self.started = Instant::now();
        self.last = Some(cell.clone());
        self.life = Life::Running(cell);
    }

    pub(super) fn down(&self) -> Down {
        Down {
            cell: self.last.clone(),
            scope: self.scope.clone(),
            limit: self.spec.shutdown_timeout,
        }
    }

    /// It will not run again on its own account.
    pub(super) fn end(&mut self) {
        self.life = Life::Ended;
        self.seat.set_phase(Phase::Stopped);
        if let Some(retire) = &self.spec.retire {
            retire();
        }
    }

    pub(super) fn info(&self) -> ChildInfo {
        let state = match &self.life {
            Life::Running(_) => ActorState::Running,
            Life::Restarting(_) => ActorState::Restarting,
            Life::Terminating(..) => ActorState::Stopping,
            Life::Ended => ActorState::Stopped,
        };
        ChildInfo {
            name: self.spec.name.clone(),
            restart: self.spec.restart,
            state,
        }
    }
}

impl Down {
    /// Asks it to stop, kills it after its limit, and waits until nothing of it is left. Returns
    /// the paths that hold on all the same.
    pub(super) async fn run(self) -> Vec<String> {
        if let Some(cell) = &self.cell {
            cell.stop(Some("shutdown".to_owned()));
            if cell.wait(Some(self.limit)).await.is_err() {
                tracing::warn!(
                    actor.path = self.scope.path(),
                    "killed: it did not stop in time"
                );
                cell.kill();
                let _ = cell.wait(Some(KILL_LIMIT)).await;
            }
        }
        self.scope
            .settle(KILL_LIMIT.max(self.limit))
            .await
            .err()
            .unwrap_or_default()
    }
}
