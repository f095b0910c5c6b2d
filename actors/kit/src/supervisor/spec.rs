//! Supervision as data: what to start, how, and what to do when it fails.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};

use super::actor::{Supervisor, SupervisorArgs};
use super::handle::{SupervisorHandle, SupervisorMessage};
use super::intensity::{Backoff, Intensity};
use crate::instrument::Instrumented;
use crate::slot::Slot;
use crate::tree::{Mailbox, Scope, Tree};

/// Which siblings restart together with a failed child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// None.
    OneForOne,
    /// All.
    OneForAll,
    /// Those that were started after it.
    RestForOne,
}

/// When a child that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    Permanent,
    /// After a failure, not after a normal end.
    Transient,
    /// Never.
    Temporary,
}

/// What a supervisor is: its strategy and its children in start order.
pub struct SupervisorSpec {
    pub(super) strategy: Strategy,
    pub(super) intensity: Intensity,
    pub(super) backoff: Option<Backoff>,
    pub(super) children: Vec<ChildSpec>,
    pub(super) handle: Option<SupervisorHandle>,
}

/// How to start, restart and stop one child. Cloning is cheap.
#[derive(Clone)]
pub struct ChildSpec {
    pub(super) name: Arc<str>,
    pub(super) restart: Restart,
    pub(super) start_timeout: Duration,
    pub(super) shutdown_timeout: Duration,
    pub(super) start: StartFn,
    pub(super) retire: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// Where a child is being started: under which supervisor, and at which path of the tree.
#[derive(Clone, Debug)]
pub struct Place {
    supervisor: ActorCell,
    scope: Scope,
}

type StartFuture = Pin<Box<dyn Future<Output = Result<ActorCell, ActorProcessingErr>> + Send>>;
type StartFn = Arc<dyn Fn(Place) -> StartFuture + Send + Sync>;

impl SupervisorSpec {
    /// No children yet, default intensity (5 restarts in 10 s), no backoff.
    pub fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            intensity: Intensity::default(),
            backoff: None,
            children: Vec::new(),
            handle: None,
        }
    }

    /// Adds a child after those already there.
    #[must_use]
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    /// Sets how many restarts are too many.
    #[must_use]
    pub fn intensity(mut self, max_restarts: u32, within: Duration) -> Self {
        self.intensity = Intensity {
            max_restarts,
            within,
        };
        self
    }

    /// Never gives up: see [`Intensity::UNLIMITED`]. Give it a backoff too.
    #[must_use]
    pub fn never_give_up(mut self) -> Self {
        self.intensity = Intensity::UNLIMITED;
        self
    }

    /// Delays restarts.
    #[must_use]
    pub fn backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.backoff = Some(Backoff { initial, max });
        self
    }

    /// Lets `handle` reach this supervisor, for children that come and go.
    #[must_use]
    pub fn handle(mut self, handle: &SupervisorHandle) -> Self {
        self.handle = Some(handle.clone());
        self
    }
}

impl ChildSpec {
    /// A child with its own way to start. The closure runs at every (re)start and must build
    /// everything anew; it starts the actor with [`Place::spawn`] or [`Place::spawn_into`].
    /// Permanent, 30 s to start, 5 s to stop.
    pub fn new<F, S>(name: &str, start: F) -> Self
    where
        F: Fn(Place) -> S + Send + Sync + 'static,
        S: Future<Output = Result<ActorCell, ActorProcessingErr>> + Send + 'static,
    {
        Self {
            name: name.into(),
            restart: Restart::Permanent,
            start_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(5),
            start: Arc::new(move |place| Box::pin(start(place))),
            retire: None,
        }
    }

    /// A plain actor that is reached through `slot`. `make` yields the actor and its arguments and
    /// runs at every (re)start.
    pub fn worker<A, F>(name: &str, slot: &Slot<A::Msg>, make: F) -> Self
    where
        A: Actor,
        F: Fn(&Place) -> (A, A::Arguments) + Send + Sync + 'static,
    {
        let (slot, ending) = (slot.clone(), slot.clone());
        let mut spec = Self::new(name, move |place| {
            let (actor, args) = make(&place);
            let slot = slot.clone();
            async move { Ok(place.spawn_into(&slot, actor, args).await?.get_cell()) }
        });
        spec.retire = Some(Arc::new(move || ending.retire()));
        spec
    }

    /// A supervisor with a tree of its own. `make` runs at every (re)start. It gets 30 s to stop,
    /// because its children stop one after the other within that time.
    pub fn supervisor<F>(name: &str, make: F) -> Self
    where
        F: Fn(&Place) -> SupervisorSpec + Send + Sync + 'static,
    {
        Self::new(name, move |place| {
            let spec = make(&place);
            async move { Ok(place.spawn_supervisor(spec).await?.get_cell()) }
        })
        .shutdown_timeout(Duration::from_secs(30))
    }

    /// Sets when the child is started again.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Sets how long `pre_start` may take; longer is a failure.
    #[must_use]
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.start_timeout = limit;
        self
    }

    /// Sets how long a stop may take; then the child is killed.
    #[must_use]
    pub fn shutdown_timeout(mut self, limit: Duration) -> Self {
        self.shutdown_timeout = limit;
        self
    }

    /// The name, which is the last part of the child's path.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Place {
    pub(super) fn new(supervisor: ActorCell, scope: Scope) -> Self {
        Self { supervisor, scope }
    }

    /// The tree, for actors that report it.
    pub fn tree(&self) -> &Tree {
        self.scope.tree()
    }

    /// The path that the child will have.
    pub fn path(&self) -> &str {
        self.scope.path()
    }

    /// The supervisor's cell, for actors started without the kit's help.
    pub fn supervisor(&self) -> &ActorCell {
        &self.supervisor
    }

    /// Starts `actor` here: linked to the supervisor, seated in the tree, counted and timed.
    pub async fn spawn<A: Actor>(
        &self,
        actor: A,
        args: A::Arguments,
    ) -> Result<ActorRef<A::Msg>, ActorProcessingErr> {
        self.spawn_counted(actor, args, Arc::new(Mailbox::new()))
            .await
    }

    /// [`spawn`](Self::spawn), and lets `slot` point to the new incarnation.
    pub async fn spawn_into<A: Actor>(
        &self,
        slot: &Slot<A::Msg>,
        actor: A,
        args: A::Arguments,
    ) -> Result<ActorRef<A::Msg>, ActorProcessingErr> {
        let mailbox = Arc::new(Mailbox::new());
        let actor = self.spawn_counted(actor, args, mailbox.clone()).await?;
        slot.fill(actor.clone(), Some(mailbox));
        Ok(actor)
    }

    /// Starts a supervisor here.
    pub async fn spawn_supervisor(
        &self,
        spec: SupervisorSpec,
    ) -> Result<ActorRef<SupervisorMessage>, ActorProcessingErr> {
        let handle = spec.handle.clone();
        let args = SupervisorArgs {
            spec,
            scope: self.scope.clone(),
        };
        self.scope.seat().mark_supervisor();
        match handle {
            Some(handle) => self.spawn_into(handle.slot(), Supervisor, args).await,
            None => self.spawn(Supervisor, args).await,
        }
    }

    async fn spawn_counted<A: Actor>(
        &self,
        actor: A,
        args: A::Arguments,
        mailbox: Arc<Mailbox>,
    ) -> Result<ActorRef<A::Msg>, ActorProcessingErr> {
        let actor = Instrumented::new(actor, self.scope.seat(), mailbox);
        // Unnamed on purpose: ractor's registry is untyped, and remote deaths unregister names.
        let started = Actor::spawn_linked(None, actor, args, self.supervisor.clone()).await;
        let (actor, _join) = started.map_err(why_not_started)?;
        Ok(actor)
    }
}

/// The actor's own error, without the words that ractor puts around it at every level.
pub(super) fn why_not_started(error: SpawnErr) -> ActorProcessingErr {
    match error {
        SpawnErr::StartupFailed(own) => own,
        other => other.into(),
    }
}
