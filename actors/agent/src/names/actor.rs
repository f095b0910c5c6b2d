//! Keeps zone, address and server.

use super::{NamesMessage, Shared};
use crate::directory::Changes;
use crate::event::Note;
use crate::pod::chain;
use k8s_openapi::api::core::v1::ObjectReference;
use kabuki_dns::server::Published;
use kabuki_dns::zone::Zone;
use kabuki_model::service::{Known, ServiceEntry, ServiceKey};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What could not be opened is tried again after this time, later on after longer.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// What an event about a failure is called.
const NO_SERVER: &str = "NameServerFailed";

pub(super) struct Keeper {
    shared: Arc<Shared>,
}

impl Keeper {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

pub(crate) struct KeeperState {
    zone: Zone,
    complete: bool,
    follower: JoinHandle<()>,
    watchman: Option<JoinHandle<()>>,
    wait: Duration,
    failing: bool,
}

impl Drop for KeeperState {
    fn drop(&mut self) {
        self.follower.abort();
        if let Some(watchman) = &self.watchman {
            watchman.abort();
        }
    }
}

/// Hands the directory's changes on, as fast as they are taken.
async fn follow(shared: Arc<Shared>, names: ActorRef<NamesMessage>) {
    let mut changes = shared.directory.subscribe();
    loop {
        let changes = changes.next().await;
        let (handled, done) = oneshot::channel();
        if names
            .cast(NamesMessage::Changed { changes, handled })
            .is_err()
        {
            return;
        }
        // An actor that crashes over it begins with everything.
        let _ = done.await;
    }
}

impl Keeper {
    /// Makes the address local and has a whole server listen on it.
    async fn open(&self, myself: &ActorRef<NamesMessage>, state: &mut KeeperState) {
        match self.try_open(state).await {
            Ok(server) => {
                let (mut failed, myself) = (server.failed(), myself.clone());
                // It must not keep the server, whose end it would then wait for.
                drop(server);
                let watchman = tokio::spawn(async move {
                    if failed.wait_for(|failed| *failed).await.is_ok() {
                        let _ = myself.cast(NamesMessage::Broken);
                    }
                });
                if let Some(before) = state.watchman.replace(watchman) {
                    before.abort();
                }
                if state.failing {
                    self.tell(false, "the name server answers again".to_string());
                }
                (state.failing, state.wait) = (false, RETRY_FIRST);
            }
            Err(why) => {
                tracing::warn!(error = why, "the name server cannot be opened");
                if !state.failing {
                    self.tell(
                        true,
                        format!("cannot open the cluster's name server: {why}"),
                    );
                }
                state.failing = true;
                myself.send_after(state.wait, || NamesMessage::Open);
                state.wait = (state.wait * 2).min(RETRY_MAX);
            }
        }
    }

    async fn try_open(
        &self,
        state: &KeeperState,
    ) -> Result<Arc<kabuki_dns::server::Server>, String> {
        let held = self.shared.network.hold_local(&self.shared.addresses).await;
        held.map_err(|e| chain(&e))?;
        if let Some(server) = self.shared.server().filter(|s| s.is_whole()) {
            return Ok(server);
        }
        let published = Published {
            zone: state.zone.clone(),
            complete: state.complete,
        };
        // Ending the threads of a broken server takes a moment.
        let shared = self.shared.clone();
        let opened = tokio::task::spawn_blocking(move || shared.open(published));
        opened.await.map_err(|e| chain(&e))?.map_err(|e| chain(&e))
    }

    fn tell(&self, warning: bool, message: String) {
        let about = ObjectReference {
            api_version: Some("v1".to_string()),
            kind: Some("Node".to_string()),
            name: Some(self.shared.node_name.clone()),
            ..ObjectReference::default()
        };
        self.shared.events.record(Note {
            about,
            warning,
            reason: if warning {
                NO_SERVER
            } else {
                "NameServerReady"
            }
            .to_string(),
            message,
        });
    }

    /// Takes changes into the zone and publishes it.
    fn take(&self, changes: &Changes, state: &mut KeeperState) {
        let directory = &self.shared.directory;
        let copied = |(key, entry): (&ServiceKey, &ServiceEntry)| (key.clone(), entry.clone());
        let now_s = now_s();
        let mut changed = state.complete != (changes.known >= Known::Saved);
        state.complete = changes.known >= Known::Saved;
        if changes.all {
            // Records are shared: this copies pointers, and the directory is free at once.
            let all: Vec<_> = directory.read().iter().map(copied).collect();
            state.zone = state.zone.cleared();
            for (key, entry) in &all {
                state.zone.update(key, Some(entry), now_s);
            }
            changed = true;
        } else {
            let some: Vec<_> = {
                let directory = directory.read();
                let entry = |key: &ServiceKey| (key.clone(), directory.get(key).cloned());
                changes.keys.iter().map(entry).collect()
            };
            for (key, entry) in &some {
                changed |= state.zone.update(key, entry.as_ref(), now_s);
            }
        }
        if changed && let Some(server) = self.shared.server() {
            server.publish(Published {
                zone: state.zone.clone(),
                complete: state.complete,
            });
        }
    }
}

/// Seconds since the epoch.
pub(super) fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_secs())
}

impl Actor for Keeper {
    type Msg = NamesMessage;
    type State = KeeperState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<NamesMessage>,
        (): (),
    ) -> Result<KeeperState, ActorProcessingErr> {
        let shared = &self.shared;
        let known = shared.server().map(|server| server.published());
        let (zone, complete) = match known {
            Some(known) => (known.zone.clone(), known.complete),
            None => (Zone::new(&shared.zone)?, false),
        };
        if !shared.addresses.is_empty() {
            myself.cast(NamesMessage::Open)?;
        }
        Ok(KeeperState {
            zone,
            complete,
            follower: tokio::spawn(follow(shared.clone(), myself)),
            watchman: None,
            wait: RETRY_FIRST,
            failing: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<NamesMessage>,
        message: NamesMessage,
        state: &mut KeeperState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            NamesMessage::Changed { changes, handled } => {
                self.take(&changes, state);
                // The sender may be gone, which is its right.
                let _ = handled.send(());
            }
            NamesMessage::Open | NamesMessage::Broken => self.open(&myself, state).await,
        }
        Ok(())
    }
}
