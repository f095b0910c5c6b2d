//! Shims that wait for a pod, so that a pod's start does not wait for a shim's.
//!
//! States: it keeps as many as the settings say; each one taken is replaced at once, after the
//! taker has it. A spare that dies is replaced when it would have been taken.

use kabuki_kit::{ChildSpec, Slot};
use kabuki_runtime::{ShimClient, ShimError, ShimEvents, ShimLauncher};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A shim and what it tells.
pub(crate) type Shim = (ShimClient, ShimEvents);

/// After a shim that could not be started, the next attempt waits.
const RETRY: Duration = Duration::from_secs(5);

#[derive(RactorMessage)]
pub(crate) enum SpareMessage {
    Fill,
    Started(Result<Shim, ShimError>),
    Again,
}

/// Reaches the spares. They are kept outside of the actor, so that its crash loses none.
#[derive(Clone)]
pub(crate) struct SpareHandle {
    slot: Slot<SpareMessage>,
    launcher: ShimLauncher,
    pool: Arc<Mutex<Vec<Shim>>>,
    wanted: usize,
}

impl SpareHandle {
    pub fn new(launcher: ShimLauncher, wanted: usize) -> Self {
        Self { slot: Slot::new("spares"), launcher, pool: Arc::default(), wanted }
    }

    pub fn child(&self) -> ChildSpec {
        let own = self.clone();
        ChildSpec::worker("spares", &self.slot, move |_| (Spares { own: own.clone() }, ()))
    }

    fn pool(&self) -> MutexGuard<'_, Vec<Shim>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shim without a pod: a spare, or a new one.
    pub async fn take(&self) -> Result<Shim, ShimError> {
        let spare = self.pool().pop();
        // A keeper that restarts fills up by itself.
        let _ = self.slot.cast(SpareMessage::Fill);
        match spare {
            Some(shim) => Ok(shim),
            None => self.launcher.spawn(&new_id()).await,
        }
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
}

impl Spares {
    fn fill(&self, myself: &ActorRef<SpareMessage>, state: &mut SparesState) {
        while !state.failed && self.own.pool().len() + state.starting < self.own.wanted {
            state.starting += 1;
            let (launcher, myself) = (self.own.launcher.clone(), myself.clone());
            tokio::spawn(async move {
                let started = launcher.spawn(&new_id()).await;
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
            SpareMessage::Fill => {
                // A spare that has died is not one.
                self.own.pool().retain(|(client, _)| client_lives(client.pid()));
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
