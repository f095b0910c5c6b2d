//! The manager's messages and what it does about them.

use super::adopt::{self, Adopted};
use super::copy::{self, Saving};
use super::statics::Statics;
use super::watch;
use crate::pod::{self, PodMessage};
use crate::services::{PodEntry, Services};
use k8s_openapi::api::core::v1::Pod;
use kabuki_kit::{ChildError, ChildSpec, Slot, SupervisorHandle};
use kabuki_lifecycle::Fact;
use kabuki_lifecycle::statics::{is_mirror, is_static};
use kabuki_model::Stored;
use kabuki_model::watch::WatchEvent;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A pod's actors start and stop within this time, or something is badly wrong.
const CHILD_LIMIT: Duration = Duration::from_secs(60);

#[derive(RactorMessage)]
pub(crate) enum ManagerMessage {
    Begin,
    Adopted(Adopted),
    /// A watch begins with every pod that there is.
    Listing,
    Events {
        events: Vec<WatchEvent>,
        handled: oneshot::Sender<()>,
    },
    Finished {
        uid: String,
    },
    /// The node cannot keep the pod.
    Evict {
        uid: String,
        reason: &'static str,
        message: String,
        grace_s: i64,
    },
    Ended {
        uid: String,
    },
    /// Nothing may have been heard of the API so far.
    Alone,
    /// It is time to write the copy of the pods.
    Save,
    Saved,
    /// The folder of static pods has these.
    Statics(Vec<Arc<Pod>>),
}

/// Reaches the manager.
#[derive(Clone)]
pub(crate) struct ManagerHandle {
    slot: Slot<ManagerMessage>,
    pods: SupervisorHandle,
}

impl ManagerHandle {
    pub fn new(pods: SupervisorHandle) -> Self {
        Self {
            slot: Slot::new("manager"),
            pods,
        }
    }

    pub fn child(&self, services: &Arc<Services>) -> ChildSpec {
        let (own, services) = (self.clone(), services.clone());
        ChildSpec::worker("manager", &self.slot, move |_| {
            (
                Manager {
                    own: own.clone(),
                    services: services.clone(),
                },
                (),
            )
        })
    }

    /// The node cannot keep the pod; it has so many seconds to end.
    pub fn evict(&self, uid: &str, reason: &'static str, message: &str, grace_s: i64) {
        // Whoever evicts looks again a moment later.
        let _ = self.slot.cast(ManagerMessage::Evict {
            uid: uid.to_string(),
            reason,
            message: message.to_string(),
            grace_s,
        });
    }

    /// A pod's life is over; its actors can go.
    pub fn finished(&self, uid: &str) {
        // A manager that restarts finds the pod finished by itself.
        let _ = self.slot.cast(ManagerMessage::Finished {
            uid: uid.to_string(),
        });
    }
}

pub(super) struct Manager {
    own: ManagerHandle,
    pub(super) services: Arc<Services>,
}

#[derive(Default)]
pub(crate) struct ManagerState {
    /// Pods with actors.
    pub(super) slots: HashMap<String, Slot<PodMessage>>,
    /// Pods that were found running, by uid, with their shims.
    adopted: HashMap<String, String>,
    /// While the initial list arrives: what it had so far.
    listing: Option<HashSet<String>>,
    watcher: Option<JoinHandle<()>>,
    /// Reads the folder of static pods.
    pub(super) folder: Option<JoinHandle<()>>,
    /// Whether the API has said anything.
    heard: bool,
    saving: Saving,
    /// Pods from files.
    pub(super) statics: Statics,
}

impl Drop for ManagerState {
    fn drop(&mut self) {
        for task in [self.watcher.take(), self.folder.take()] {
            task.iter().for_each(JoinHandle::abort);
        }
    }
}

impl Manager {
    /// A pod is there, or changed.
    async fn see(&self, object: &Arc<Stored>, state: &mut ManagerState) {
        let pod = match object.typed::<Pod>() {
            Ok(pod) => pod,
            Err(error) => {
                tracing::error!(%error, "a pod cannot be read");
                return;
            }
        };
        let uid = object.uid.to_string();
        if let Some(listing) = &mut state.listing {
            listing.insert(uid.clone());
        }
        if is_mirror(&pod) {
            return self.services.mirrors.seen(&self.services, pod);
        }
        if let Some(slot) = state.slots.get(&uid) {
            if let Some(entry) = self.services.pods.get(&uid) {
                entry.set_pod(pod);
                let _ = slot.cast(PodMessage::Changed);
            }
            return;
        }
        self.take_up(uid, pod, state).await;
    }

    /// Starts the actors of a pod that has none.
    pub(super) async fn take_up(&self, uid: String, pod: Arc<Pod>, state: &mut ManagerState) {
        let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let key = format!("{}/{}", part(namespace), part(name));
        self.services.traces.receive(&uid, key);
        let shim = state.adopted.remove(&uid);
        let entry = match self.services.pods.get(&uid) {
            // Its actors died with their supervisor; what it knew is still right.
            Some(entry) => {
                entry.set_pod(pod);
                entry
            }
            None => Arc::new(PodEntry::new(&uid, pod, shim)),
        };
        self.services.pods.insert(entry.clone());
        self.start(&entry, state).await;
    }

    async fn start(&self, entry: &Arc<PodEntry>, state: &mut ManagerState) {
        let slot = Slot::new(&entry.child);
        let child = pod::child(&self.services, entry, &self.own, &slot);
        match self.own.pods.start_child(child, CHILD_LIMIT).await {
            Ok(()) => {}
            Err(ChildError::Exists(_)) => {
                // The manager restarted and the pod's actors did not: begin them anew, so that
                // the slot that this incarnation holds is the one that they fill.
                let _ = self
                    .own
                    .pods
                    .terminate_child(&entry.child, CHILD_LIMIT)
                    .await;
                let child = pod::child(&self.services, entry, &self.own, &slot);
                if let Err(error) = self.own.pods.start_child(child, CHILD_LIMIT).await {
                    tracing::error!(pod.uid = entry.uid, %error, "pod not started");
                }
            }
            Err(error) => tracing::error!(pod.uid = entry.uid, %error, "pod not started"),
        }
        state.slots.insert(entry.uid.clone(), slot);
    }

    /// The API has forgotten a pod.
    fn lose(&self, uid: &str, state: &mut ManagerState) {
        if let Some(entry) = self.services.pods.get(uid)
            && let Some(slot) = state.slots.get(uid)
        {
            entry.set_vanished();
            let _ = slot.cast(PodMessage::Changed);
        } else {
            self.services.mirrors.lost(&self.services, uid);
        }
    }

    /// The list is complete: what is known and not in it is gone.
    fn listed(&self, state: &mut ManagerState) {
        let Some(listed) = state.listing.take() else {
            return;
        };
        self.services.pods.set_whole();
        let lost: Vec<String> = state
            .slots
            .keys()
            .filter(|uid| !listed.contains(*uid) && !state.statics.runs(uid))
            .cloned()
            .collect();
        for uid in lost {
            self.lose(&uid, state);
        }
        self.services.mirrors.listed(&self.services, &listed);
        let orphans = std::mem::take(&mut state.adopted);
        let known = state.slots.keys().cloned().collect();
        adopt::end_orphans(&self.services, orphans, known);
    }

    /// No server answers: goes on with the pods that run, as they were last known.
    async fn go_on_alone(&self, state: &mut ManagerState) {
        if state.heard || state.adopted.is_empty() {
            return;
        }
        let file = self.services.layout.known_pods();
        let pods = tokio::task::spawn_blocking(move || copy::read(&file)).await;
        for pod in pods.unwrap_or_default() {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            if state.adopted.contains_key(&uid) && !is_static(&pod) {
                tracing::info!(
                    pod.uid = uid,
                    "no server answers, the pod goes on as it was"
                );
                self.take_up(uid, Arc::new(pod), state).await;
            }
        }
    }

    fn changed(&self, myself: &ActorRef<ManagerMessage>, state: &mut ManagerState) {
        if state.saving.changed() {
            myself.send_after(copy::SAVE_AFTER, || ManagerMessage::Save);
        }
    }

    fn save(&self, myself: &ActorRef<ManagerMessage>, state: &mut ManagerState) {
        state.saving.begin();
        let (services, myself) = (self.services.clone(), myself.clone());
        tokio::task::spawn_blocking(move || {
            copy::write(&services);
            // The manager may have been restarted meanwhile; then it saves after the next change.
            let _ = myself.cast(ManagerMessage::Saved);
        });
    }

    fn end(&self, uid: &str, myself: &ActorRef<ManagerMessage>) {
        let Some(entry) = self.services.pods.get(uid) else {
            return;
        };
        let (pods, services) = (self.own.pods.clone(), self.services.clone());
        let (myself, uid) = (myself.clone(), uid.to_string());
        tokio::spawn(async move {
            if let Err(error) = pods.terminate_child(&entry.child, CHILD_LIMIT).await {
                tracing::warn!(pod.uid = uid, %error, "pod's actors did not end");
            }
            let (layout, dir) = (services.layout.clone(), entry.log_dir());
            let removed = tokio::task::spawn_blocking(move || pod::remove_logs(&layout, &dir));
            if let Err(error) = removed.await {
                tracing::warn!(pod.uid = uid, %error, "logs not removed");
            }
            let _ = myself.cast(ManagerMessage::Ended { uid });
        });
    }
}

impl Actor for Manager {
    type Msg = ManagerMessage;
    type State = ManagerState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<ManagerMessage>,
        (): (),
    ) -> Result<ManagerState, ActorProcessingErr> {
        myself.cast(ManagerMessage::Begin)?;
        Ok(ManagerState::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<ManagerMessage>,
        message: ManagerMessage,
        state: &mut ManagerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ManagerMessage::Begin => {
                let services = self.services.clone();
                tokio::spawn(async move {
                    let adopted = adopt::find(&services).await;
                    let _ = myself.cast(ManagerMessage::Adopted(adopted));
                });
            }
            ManagerMessage::Adopted(adopted) => {
                state.adopted = adopted.pods;
                // Before the API says who is nobody's: what they run is theirs.
                self.begin_statics(&myself, state).await;
                myself.send_after(copy::ALONE_AFTER, || ManagerMessage::Alone);
                let watching = watch::run(self.services.clone(), myself);
                state.watcher = Some(tokio::spawn(watching));
            }
            ManagerMessage::Listing => {
                state.heard = true;
                state.listing = Some(HashSet::new());
            }
            ManagerMessage::Events { events, handled } => {
                for event in events {
                    match event {
                        WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                            self.see(&object, state).await;
                        }
                        WatchEvent::Deleted(object) => self.lose(&object.uid, state),
                        WatchEvent::Bookmark {
                            initial_end: true, ..
                        } => self.listed(state),
                        WatchEvent::Bookmark { .. } => {}
                    }
                }
                // A list is one change, when it is complete.
                if state.listing.is_none() {
                    self.changed(&myself, state);
                }
                // The watcher may have been stopped meanwhile.
                let _ = handled.send(());
            }
            ManagerMessage::Finished { uid } => self.end(&uid, &myself),
            ManagerMessage::Evict {
                uid,
                reason,
                message,
                grace_s,
            } => {
                if let Some(slot) = state.slots.get(&uid) {
                    let fact = Fact::Evicted {
                        reason: reason.to_string(),
                        message,
                        grace_s: Some(grace_s),
                    };
                    let _ = slot.cast(PodMessage::Fact(fact));
                }
            }
            ManagerMessage::Ended { uid } => {
                state.slots.remove(&uid);
                self.services.pods.remove(&uid);
                self.services.room.freed();
                self.services.statuses.forget(&uid);
                self.changed(&myself, state);
                self.static_ended(&uid, state).await;
            }
            ManagerMessage::Statics(pods) => self.set_statics(pods, state).await,
            ManagerMessage::Alone => self.go_on_alone(state).await,
            ManagerMessage::Save => self.save(&myself, state),
            ManagerMessage::Saved => {
                if state.saving.done() {
                    myself.send_after(copy::SAVE_AFTER, || ManagerMessage::Save);
                }
            }
        }
        Ok(())
    }
}
