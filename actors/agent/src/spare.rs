//! Shims that wait for a pod, so that a pod's start does not wait for a shim's.
//!
//! It keeps as many as the settings say, from the first discovery on; each one taken is replaced
//! a moment later, when the taker's pod runs: until then it would be in that pod's way.
//!
//! Invariant: no shim starts while shims are discovered. One that has a directory but no lock
//! yet looks dead, and would be cleaned away.

use kabuki_kit::{ChildSpec, Slot};
use kabuki_runtime::{Discovery, ShimClient, ShimError, ShimEvents, ShimLauncher};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::RwLock;

/// A shim and what it tells.
pub(crate) type Shim = (ShimClient, ShimEvents);

/// A pod's start takes about half of this time.
const REST: Duration = Duration::from_millis(50);
/// After a shim that could not be started, the next attempt waits.
const RETRY: Duration = Duration::from_secs(5);

#[derive(RactorMessage)]
pub(crate) enum SpareMessage {
    Fill,
    Taken,
    Started(Result<Shim, ShimError>),
    Again,
}

/// Reaches the spares. They are kept outside of the actor, so that its crash loses none.
#[derive(Clone)]
pub(crate) struct SpareHandle {
    slot: Slot<SpareMessage>,
    launcher: ShimLauncher,
    pool: Arc<Mutex<Vec<Shim>>>,
    /// Held for reading while a shim starts, for writing while they are discovered.
    starting: Arc<RwLock<()>>,
    opened: Arc<AtomicBool>,
    wanted: usize,
}

impl SpareHandle {
    pub fn new(launcher: ShimLauncher, wanted: usize) -> Self {
        Self {
            slot: Slot::new("spares"),
            launcher,
            pool: Arc::default(),
            starting: Arc::default(),
            opened: Arc::default(),
            wanted,
        }
    }

    pub fn child(&self) -> ChildSpec {
        let own = self.clone();
        ChildSpec::worker("spares", &self.slot, move |_| {
            (Spares { own: own.clone() }, ())
        })
    }

    fn pool(&self) -> MutexGuard<'_, Vec<Shim>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shim without a pod: a spare, or a new one.
    pub async fn take(&self) -> Result<Shim, ShimError> {
        let spare = self.pool().pop();
        // A keeper that restarts fills up by itself.
        let _ = self.slot.cast(SpareMessage::Taken);
        match spare {
            Some(shim) => Ok(shim),
            None => self.spawn().await,
        }
    }

    async fn spawn(&self) -> Result<Shim, ShimError> {
        let _starting = self.starting.read().await;
        self.launcher.spawn(&new_id()).await
    }

    /// Finds the shims of an earlier agent, while none starts. Spares begin after the first time.
    pub async fn discover(&self) -> Result<Discovery, ShimError> {
        let found = {
            let _nothing_starts = self.starting.write().await;
            self.launcher.discover().await
        };
        self.opened.store(true, Ordering::Release);
        // A keeper that restarts fills up by itself.
        let _ = self.slot.cast(SpareMessage::Fill);
        found
    }

    /// Keeps a spare of an earlier agent, unless it is here already or not needed.
    pub fn adopt(&self, shim: Shim) {
        let mut pool = self.pool();
        if pool.iter().any(|(held, _)| held.id() == shim.0.id()) {
            return;
        }
        if pool.len() < self.wanted {
            pool.push(shim);
            return;
        }
        drop(pool);
        tokio::spawn(async move {
            if let Err(error) = shim.0.shutdown().await {
                tracing::warn!(%error, "a needless spare shim did not end");
            }
        });
    }
}

fn new_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

struct Spares {
    own: SpareHandle,
}

#[derive(Default)]
struct SparesState {
    starting: usize,
    failed: bool,
    /// It is known that some are missing, and soon to be changed.
    resting: bool,
}

impl Spares {
    fn fill(&self, myself: &ActorRef<SpareMessage>, state: &mut SparesState) {
        let opened = self.own.opened.load(Ordering::Acquire);
        while opened && !state.failed && self.own.pool().len() + state.starting < self.own.wanted {
            state.starting += 1;
            let (own, myself) = (self.own.clone(), myself.clone());
            tokio::spawn(async move {
                let started = own.spawn().await;
                if let Err(unheard) = myself.cast(SpareMessage::Started(started)) {
                    tracing::debug!(error = %unheard, "a spare shim came too late");
                }
            });
        }
    }
}

impl Actor for Spares {
    type Msg = SpareMessage;
    type State = SparesState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<SpareMessage>,
        (): (),
    ) -> Result<SparesState, ActorProcessingErr> {
        myself.cast(SpareMessage::Fill)?;
        Ok(SparesState::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<SpareMessage>,
        message: SpareMessage,
        state: &mut SparesState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SpareMessage::Taken => {
                if !state.resting {
                    state.resting = true;
                    myself.send_after(REST, || SpareMessage::Fill);
                }
                return Ok(());
            }
            SpareMessage::Fill => {
                state.resting = false;
                // A spare that has died is not one.
                self.own
                    .pool()
                    .retain(|(client, _)| client_lives(client.pid()));
            }
            SpareMessage::Started(Ok(shim)) => {
                state.starting = state.starting.saturating_sub(1);
                self.own.pool().push(shim);
            }
            SpareMessage::Started(Err(error)) => {
                tracing::warn!(%error, "a spare shim did not start");
                state.starting = state.starting.saturating_sub(1);
                state.failed = true;
                myself.send_after(RETRY, || SpareMessage::Again);
            }
            SpareMessage::Again => state.failed = false,
        }
        self.fill(&myself, state);
        Ok(())
    }
}

fn client_lives(pid: i32) -> bool {
    std::path::Path::new("/proc").join(pid.to_string()).exists()
}
