//! The supervisor actor itself.

use std::time::{Duration, Instant};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, Signal, SupervisionEvent};
use tokio::task::JoinSet;

use super::child::{Child, Down, Life};
use super::handle::{ChildError, SupervisorMessage};
use super::intensity::{Backoff, Budget};
use super::spec::{ChildSpec, Place, Restart, Strategy, SupervisorSpec};
use crate::tree::{Phase, Scope, current_occupancy};

pub(super) struct Supervisor;

pub(super) struct SupervisorArgs {
    pub(super) spec: SupervisorSpec,
    pub(super) scope: Scope,
}

pub(super) struct SupervisorState {
    myself: ActorRef<SupervisorMessage>,
    scope: Scope,
    strategy: Strategy,
    backoff: Option<Backoff>,
    budget: Budget,
    children: Vec<Child>,
    /// Numbers restarts and terminations, so that late notices of an overtaken one are dropped.
    generation: u64,
    /// Tasks that bring children down. They end with this state, and this incarnation lasts until
    /// they have: else one could kill a child of the next incarnation.
    tasks: JoinSet<()>,
}

#[derive(Debug, thiserror::Error)]
enum SupervisorError {
    #[error(transparent)]
    Child(#[from] ChildError),
    #[error("gave up: too many restarts, the last one of {name} after: {reason}")]
    GaveUp { name: String, reason: String },
}

impl Actor for Supervisor {
    type Msg = SupervisorMessage;
    type State = SupervisorState;
    type Arguments = SupervisorArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        args: SupervisorArgs,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        let SupervisorArgs { spec, scope } = args;
        let mut state = SupervisorState {
            myself,
            scope,
            strategy: spec.strategy,
            backoff: spec.backoff,
            budget: Budget::new(spec.intensity),
            children: Vec::new(),
            generation: 0,
            tasks: JoinSet::new(),
        };
        let names: Vec<_> = spec
            .children
            .iter()
            .map(|child| child.name.clone())
            .collect();
        state
            .scope
            .keep_children(|name| names.iter().any(|known| **known == *name));
        for child in spec.children {
            if let Err(error) = state.add(child, false).await {
                state.stop_all().await;
                return Err(error.into());
            }
        }
        Ok(state)
    }

    async fn handle(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMessage::StartChild { spec, reply } => {
                let _ = reply.send(state.add(spec, true).await);
            }
            SupervisorMessage::TerminateChild { name, reply } => state.terminate(name, reply),
            SupervisorMessage::WhichChildren { reply } => {
                let _ = reply.send(state.children.iter().map(Child::info).collect());
            }
            SupervisorMessage::RestartDue { generation, stuck } => {
                state.start_due(generation, stuck).await?;
            }
            SupervisorMessage::Terminated { generation, stuck } => {
                state.terminated(generation, stuck);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, failure) = match event {
            SupervisionEvent::ActorTerminated(cell, state, reason) => {
                // ractor calls a kill a termination. It hands over no state when it cut a handler
                // off, and names the signal as the reason when it killed an idle actor.
                let killed = Signal::Kill.to_string();
                let crashed = state.is_none() || reason.as_deref() == Some(&*killed);
                (cell, crashed.then(|| reason.unwrap_or(killed)))
            }
            SupervisionEvent::ActorFailed(cell, error) => (cell, Some(error.to_string())),
            _ => return Ok(()),
        };
        state.child_exited(&cell, failure).await?;
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        state.stop_all().await;
        Ok(())
    }
}

impl SupervisorState {
    /// Adds a child and starts it; forgets it again when it does not start.
    async fn add(&mut self, spec: ChildSpec, dynamic: bool) -> Result<(), ChildError> {
        if spec.name.is_empty() || spec.name.contains('/') {
            return Err(ChildError::InvalidName(spec.name));
        }
        if self
            .children
            .iter()
            .any(|child| child.spec.name == spec.name)
        {
            return Err(ChildError::Exists(spec.name));
        }
        let name = spec.name.clone();
        self.children.push(Child::new(spec, &self.scope, dynamic));
        let index = self.children.len() - 1;
        // A killed predecessor of this supervisor may have left dying actors behind.
        let left = self.children[index].down().run().await;
        let started = match left.is_empty() {
            true => self.start(index).await,
            false => Err(format!("still running: {left:?}")),
        };
        started.map_err(|reason| {
            let child = self.children.remove(index);
            match dynamic {
                true => child.scope.forget(),
                false => child.seat.record_failure(&reason),
            }
            ChildError::Start { name, reason }
        })
    }

    async fn start(&mut self, index: usize) -> Result<(), String> {
        let child = &mut self.children[index];
        child.seat.set_phase(Phase::Starting);
        let place = Place::new(self.myself.get_cell(), child.scope.clone());
        let limit = child.spec.start_timeout;
        match tokio::time::timeout(limit, (child.spec.start)(place)).await {
            Ok(Ok(cell)) => {
                child.run(cell);
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("not started within {limit:?}")),
        }
    }

    async fn child_exited(
        &mut self,
        cell: &ActorCell,
        failure: Option<String>,
    ) -> Result<(), SupervisorError> {
        // Of those that are going down on request somebody else takes care.
        let Some(index) = self
            .children
            .iter()
            .position(|child| child.cell() == Some(cell))
        else {
            return Ok(());
        };
        let child = &mut self.children[index];
        if let Some(reason) = &failure {
            tracing::warn!(actor.path = child.scope.path(), reason, "actor failed");
            child.seat.record_failure(reason);
        }
        let restart = match child.spec.restart {
            Restart::Permanent => true,
            Restart::Transient => failure.is_some(),
            Restart::Temporary => false,
        };
        if restart {
            let reason = failure.unwrap_or_else(|| "it ended".to_owned());
            return self.restart(index, reason).await;
        }
        child.end();
        if child.dynamic {
            self.children.remove(index).scope.forget();
        }
        Ok(())
    }

    /// Books a restart and begins it, or gives up.
    async fn restart(&mut self, index: usize, reason: String) -> Result<(), SupervisorError> {
        let now = Instant::now();
        if !self.budget.spend(now) {
            let name = self.children[index].scope.path().to_owned();
            let error = SupervisorError::GaveUp { name, reason };
            self.scope.seat().record_failure(&error.to_string());
            tracing::error!(actor.path = self.scope.path(), error = %error, "supervisor gave up");
            self.stop_all().await;
            return Err(error);
        }
        let child = &mut self.children[index];
        child.seat.count_restart();
        let mut delay = Duration::ZERO;
        if let Some(backoff) = self.backoff {
            if now.saturating_duration_since(child.started) >= backoff.forgiven_after() {
                child.attempts = 0;
            }
            child.attempts = child.attempts.saturating_add(1);
            delay = backoff.delay(child.attempts);
        }
        self.begin_restart(index, delay);
        Ok(())
    }

    /// Brings down, in a task, what must go with the child, last started first; `RestartDue`
    /// follows when all of it is gone and the delay is over.
    fn begin_restart(&mut self, index: usize, delay: Duration) {
        self.generation += 1;
        let generation = self.generation;
        let affected = match self.strategy {
            Strategy::OneForOne => index..index + 1,
            Strategy::OneForAll => 0..self.children.len(),
            Strategy::RestForOne => index..self.children.len(),
        };
        let mut downs = Vec::new();
        for (at, child) in self
            .children
            .iter_mut()
            .enumerate()
            .take(affected.end)
            .rev()
        {
            let ended = matches!(child.life, Life::Terminating(..))
                || (matches!(child.life, Life::Ended) && at != index);
            if at < affected.start || ended {
                continue;
            }
            downs.push(child.down());
            child.life = Life::Restarting(generation);
            child.seat.set_phase(Phase::Restarting);
        }
        self.bring_down(downs, delay, move |stuck| SupervisorMessage::RestartDue {
            generation,
            stuck,
        });
    }

    fn bring_down(
        &mut self,
        downs: Vec<Down>,
        delay: Duration,
        notice: impl FnOnce(Vec<String>) -> SupervisorMessage + Send + 'static,
    ) {
        while self.tasks.try_join_next().is_some() {}
        let (myself, occupancy) = (self.myself.clone(), current_occupancy());
        self.tasks.spawn(async move {
            let _occupancy = occupancy;
            let mut stuck = Vec::new();
            for down in downs {
                stuck.extend(down.run().await);
            }
            tokio::time::sleep(delay).await;
            // A supervisor that is gone needs no notice.
            let _ = myself.send_message(notice(stuck));
        });
    }

    /// Starts, in order, the children that wait for this generation.
    async fn start_due(
        &mut self,
        generation: u64,
        stuck: Vec<String>,
    ) -> Result<(), SupervisorError> {
        let due = |child: &Child| matches!(child.life, Life::Restarting(of) if of == generation);
        for index in 0..self.children.len() {
            if !due(&self.children[index]) {
                continue;
            }
            let started = match stuck.is_empty() {
                true => self.start(index).await,
                false => Err(format!("still running: {stuck:?}")),
            };
            if let Err(reason) = started {
                let child = &self.children[index];
                tracing::warn!(
                    actor.path = child.scope.path(),
                    reason,
                    "actor did not restart"
                );
                child.seat.record_failure(&reason);
                // Whatever was to start after it waits along: the strategy covers it.
                return self.restart(index, reason).await;
            }
        }
        Ok(())
    }

    fn terminate(&mut self, name: String, reply: ractor::RpcReplyPort<Result<(), ChildError>>) {
        let Some(child) = self
            .children
            .iter_mut()
            .find(|child| *child.spec.name == *name)
        else {
            let _ = reply.send(Err(ChildError::Unknown(name)));
            return;
        };
        if let Life::Terminating(_, replies) = &mut child.life {
            replies.push(reply);
            return;
        }
        self.generation += 1;
        let generation = self.generation;
        let down = child.down();
        child.life = Life::Terminating(generation, vec![reply]);
        self.bring_down(vec![down], Duration::ZERO, move |stuck| {
            SupervisorMessage::Terminated { generation, stuck }
        });
    }

    fn terminated(&mut self, generation: u64, stuck: Vec<String>) {
        let of = |child: &Child| matches!(child.life, Life::Terminating(of, _) if of == generation);
        let Some(index) = self.children.iter().position(of) else {
            return;
        };
        let child = &mut self.children[index];
        let life = std::mem::replace(&mut child.life, Life::Ended);
        child.end();
        let name = child.spec.name.clone();
        let result = match stuck.is_empty() {
            true => {
                self.children.remove(index).scope.forget();
                Ok(())
            }
            false => Err(ChildError::Stuck { name, paths: stuck }),
        };
        if let Life::Terminating(_, replies) = life {
            for reply in replies {
                let _ = reply.send(result.clone());
            }
        }
    }

    /// Stops all children, last started first, each within its limit.
    async fn stop_all(&mut self) {
        while let Some(child) = self.children.pop() {
            let stuck = child.down().run().await;
            if !stuck.is_empty() {
                tracing::error!(
                    actor.path = child.scope.path(),
                    ?stuck,
                    "actors did not end"
                );
            }
            child.seat.set_phase(Phase::Stopped);
        }
    }
}
