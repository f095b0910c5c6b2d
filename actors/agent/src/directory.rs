//! Knows all services of the cluster and their endpoints, for the proxy and the name server.
//!
//! ```text
//!   API ── watch of Services ───────┐
//!   API ── watch of EndpointSlices ─┴─> directory ── changed keys ──> subscribers
//!                                          │ ^
//!                             now and then v │ at the start
//!                                        a file
//! ```
//!
//! Readers look at the shared [`Directory`] itself; subscribers are told which services changed,
//! in order, each once however often it changed before they asked. The directory outlives its
//! actor, so a restart of the actor is no news to anybody. A copy on disk gives a daemon that
//! starts while no server answers what was last known; [`Known`] says which of the two it is.

mod copy;
mod subscription;
#[cfg(test)]
pub(crate) mod tests;

use crate::watching::{self, Messages, ends_list};
use kabuki_kit::{ChildSpec, Slot};
use kabuki_model::Resource;
use kabuki_model::k8s_openapi::api::core::v1::Service;
use kabuki_model::k8s_openapi::api::discovery::v1::EndpointSlice;
use kabuki_model::object::Stored;
use kabuki_model::request::ListRequest;
use kabuki_model::service::{Directory, Known, ServiceKey, ServiceRecord, SliceRecord};
use kabuki_model::watch::WatchEvent;
use kabuki_protocol::ApiHandle;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};
use subscription::Queue;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use subscription::{Changes, Subscription};

/// A change is on disk after this time; many changes cost one writing in this time. Large copies
/// wait longer, so that no more than a fiftieth of the time goes into them.
const SAVE_AFTER: Duration = Duration::from_secs(1);
const SAVE_SHARE: u32 = 50;
/// The first complete list is on disk sooner: until then there may be no copy at all.
const SAVE_FIRST: Duration = Duration::from_millis(200);

#[derive(RactorMessage)]
pub(crate) enum DirectoryMessage {
    ListingServices,
    ListingSlices,
    Services {
        events: Vec<WatchEvent>,
        handled: oneshot::Sender<()>,
    },
    Slices {
        events: Vec<WatchEvent>,
        handled: oneshot::Sender<()>,
    },
    /// It is time to write the copy.
    Save,
    Saved {
        took: Duration,
    },
}

/// Reaches the directory. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DirectoryHandle {
    slot: Slot<DirectoryMessage>,
    shared: Arc<Shared>,
}

struct Shared {
    api: ApiHandle,
    file: PathBuf,
    directory: RwLock<Directory>,
    subscribers: Mutex<Vec<Arc<Queue>>>,
}

impl DirectoryHandle {
    /// A directory with what the file holds.
    pub fn new(api: ApiHandle, file: PathBuf) -> Self {
        let directory = copy::read(&file).unwrap_or_default();
        Self {
            slot: Slot::new("directory"),
            shared: Arc::new(Shared {
                api,
                file,
                directory: RwLock::new(directory),
                subscribers: Mutex::default(),
            }),
        }
    }

    pub fn child(&self) -> ChildSpec {
        let shared = self.shared.clone();
        ChildSpec::worker("directory", &self.slot, move |_| {
            (
                Keeper {
                    shared: shared.clone(),
                },
                (),
            )
        })
    }

    /// Looks at what is known. Hold it briefly: changes wait for it.
    pub fn read(&self) -> RwLockReadGuard<'_, Directory> {
        self.shared.read()
    }

    /// Tells of changes from now on. The first batch is there at once, and stands for everything
    /// that is known.
    pub fn subscribe(&self) -> Subscription {
        let queue = Arc::new(Queue::new());
        let known = {
            // Under the lock of the directory, so that no change falls between the two.
            let directory = self.shared.read();
            self.shared.subscribers().push(queue.clone());
            directory.known()
        };
        queue.push_all(known);
        Subscription::new(queue)
    }
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Directory> {
        self.directory
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<Arc<Queue>>> {
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the directory and tells of it. Says whether anything changed.
    fn change(&self, change: impl FnOnce(&mut Directory) -> Vec<ServiceKey>) -> bool {
        let mut directory = self.write();
        let before = directory.known();
        let changed = change(&mut directory);
        let known = directory.known();
        // Subscribers hear in the order of the changes, so before the lock is given back.
        let mut subscribers = self.subscribers();
        // A subscription that was dropped leaves the queue to us alone.
        subscribers.retain(|queue| Arc::strong_count(queue) > 1);
        if !changed.is_empty() || known != before {
            for queue in subscribers.iter() {
                queue.push(&changed, known);
            }
        }
        !changed.is_empty() || known != before
    }
}

struct Keeper {
    shared: Arc<Shared>,
}

pub(crate) struct KeeperState {
    watchers: [JoinHandle<()>; 2],
    /// A writing of the copy waits or runs.
    saving: bool,
    /// Something changed after it began.
    unsaved: bool,
    /// How long the next change waits.
    wait: Duration,
}

impl Drop for KeeperState {
    fn drop(&mut self) {
        for watcher in &self.watchers {
            watcher.abort();
        }
    }
}

impl Keeper {
    fn changed(&self, myself: &ActorRef<DirectoryMessage>, state: &mut KeeperState) {
        state.unsaved = true;
        if !state.saving {
            state.saving = true;
            myself.send_after(state.wait, || DirectoryMessage::Save);
        }
    }

    /// Writes the copy, if all is known that belongs into it.
    fn save(&self, myself: &ActorRef<DirectoryMessage>, state: &mut KeeperState) {
        if self.shared.read().known() != Known::All {
            // The end of the list is a change, and comes back here.
            state.saving = false;
            return;
        }
        state.unsaved = false;
        let (shared, myself) = (self.shared.clone(), myself.clone());
        tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            let bytes = copy::encode(&shared.read());
            if let Err(error) = bytes.and_then(|bytes| copy::write(&shared.file, &bytes)) {
                tracing::warn!(%error, "the copy of services and endpoints was not written");
            }
            // The actor may have been restarted meanwhile; then it saves after the next change.
            let took = begun.elapsed();
            let _ = myself.cast(DirectoryMessage::Saved { took });
        });
    }
}

impl Actor for Keeper {
    type Msg = DirectoryMessage;
    type State = KeeperState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<DirectoryMessage>,
        (): (),
    ) -> Result<KeeperState, ActorProcessingErr> {
        let api = &self.shared.api;
        let services = watching::run(
            api.clone(),
            ListRequest::all(Resource::named("services"), None),
            myself.clone(),
            Messages {
                listing: || DirectoryMessage::ListingServices,
                events: |events, handled| DirectoryMessage::Services { events, handled },
            },
        );
        let slices = watching::run(
            api.clone(),
            ListRequest::all(Resource::named("endpointslices.discovery.k8s.io"), None),
            myself,
            Messages {
                listing: || DirectoryMessage::ListingSlices,
                events: |events, handled| DirectoryMessage::Slices { events, handled },
            },
        );
        Ok(KeeperState {
            watchers: [tokio::spawn(services), tokio::spawn(slices)],
            saving: false,
            unsaved: false,
            wait: SAVE_FIRST,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<DirectoryMessage>,
        message: DirectoryMessage,
        state: &mut KeeperState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            DirectoryMessage::ListingServices => self.shared.write().begin_services(),
            DirectoryMessage::ListingSlices => self.shared.write().begin_slices(),
            DirectoryMessage::Services { events, handled } => {
                if self.shared.change(|d| see(d, &events, see_service)) {
                    self.changed(&myself, state);
                }
                // The sender may be gone, which is its right.
                let _ = handled.send(());
            }
            DirectoryMessage::Slices { events, handled } => {
                if self.shared.change(|d| see(d, &events, see_slice)) {
                    self.changed(&myself, state);
                }
                let _ = handled.send(());
            }
            DirectoryMessage::Save => self.save(&myself, state),
            DirectoryMessage::Saved { took } => {
                state.saving = false;
                state.wait = SAVE_AFTER.max(took * SAVE_SHARE);
                if state.unsaved {
                    self.changed(&myself, state);
                }
            }
        }
        Ok(())
    }
}

fn see(
    directory: &mut Directory,
    events: &[WatchEvent],
    one: fn(&mut Directory, &WatchEvent, &mut Vec<ServiceKey>),
) -> Vec<ServiceKey> {
    let mut changed = Vec::new();
    for event in events {
        one(directory, event, &mut changed);
    }
    changed
}

fn see_service(directory: &mut Directory, event: &WatchEvent, changed: &mut Vec<ServiceKey>) {
    match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => {
            match object.typed::<Service>() {
                Ok(service) => {
                    changed.extend(directory.put_service(ServiceRecord::from(&*service)));
                }
                Err(error) => tracing::error!(%error, "a service cannot be read"),
            }
        }
        WatchEvent::Deleted(object) => changed.extend(directory.remove_service(&key(object))),
        _ if ends_list(event) => changed.extend(directory.end_services()),
        WatchEvent::Bookmark { .. } => {}
    }
}

fn see_slice(directory: &mut Directory, event: &WatchEvent, changed: &mut Vec<ServiceKey>) {
    match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => {
            match object.typed::<EndpointSlice>() {
                Ok(slice) => match SliceRecord::of(&slice) {
                    Some(record) => changed.extend(directory.put_slice(record)),
                    // It may have been one of a service before.
                    None => changed.extend(forget(directory, object)),
                },
                Err(error) => tracing::error!(%error, "an endpoint slice cannot be read"),
            }
        }
        WatchEvent::Deleted(object) => changed.extend(forget(directory, object)),
        _ if ends_list(event) => changed.extend(directory.end_slices()),
        WatchEvent::Bookmark { .. } => {}
    }
}

fn forget(directory: &mut Directory, object: &Stored) -> Option<ServiceKey> {
    directory.remove_slice(&object.key.namespace, &object.key.name)
}

fn key(object: &Stored) -> ServiceKey {
    ServiceKey {
        namespace: object.key.namespace.clone(),
        name: object.key.name.clone(),
    }
}
