//! Writes events to the API. What is repeated, and a pod that floods, is the business of the
//! correlator, which every recorder of events shares.
//!
//! Events are news, not state: those that wait when the actor crashes are lost, and so are
//! those that the API refuses.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kabuki_kit::{ChildSpec, Slot};
use kabuki_model::event::{Correlator, EventRecord, EventType};
use kabuki_model::status::Reason;
use kabuki_protocol::ApiHandle;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The program that events come from, as `kubectl` shows it.
const COMPONENT: &str = "kubelet";
/// Events that may wait; more are dropped.
const WAITING_MAX: usize = 1_000;
/// An event to be written.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub about: ObjectReference,
    pub warning: bool,
    pub reason: String,
    pub message: String,
}

#[derive(RactorMessage)]
pub(crate) enum EventMessage {
    Record(Box<Note>),
}

/// Reaches the writer.
#[derive(Clone)]
pub(crate) struct EventHandle {
    slot: Slot<EventMessage>,
    waiting: Arc<AtomicUsize>,
    api: ApiHandle,
    node: String,
}

impl EventHandle {
    pub fn new(api: ApiHandle, node: &str) -> Self {
        let (slot, waiting) = (Slot::new("events"), Arc::default());
        Self {
            slot,
            waiting,
            api,
            node: node.to_string(),
        }
    }

    pub fn child(&self) -> ChildSpec {
        let own = self.clone();
        ChildSpec::worker("events", &self.slot, move |_| {
            // What its predecessor had waiting is gone.
            own.waiting.store(0, Ordering::Relaxed);
            (Events { own: own.clone() }, ())
        })
    }

    /// Has an event written, unless too many wait.
    pub fn record(&self, note: Note) {
        tracing::debug!(
            event.reason = note.reason,
            event.message = note.message,
            "event"
        );
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX
            || self
                .slot
                .cast(EventMessage::Record(Box::new(note)))
                .is_err()
        {
            self.done();
        }
    }

    fn done(&self) {
        let down = |n: usize| Some(n.saturating_sub(1));
        let _ = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, down);
    }
}

struct Events {
    own: EventHandle,
}

impl Events {
    async fn write(&self, note: Note, correlator: &mut Correlator) {
        let record = EventRecord {
            regarding: note.about,
            event_type: if note.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: note.reason,
            message: note.message,
            component: COMPONENT.to_string(),
            node: self.own.node.clone(),
        };
        // An event that was counted up may have expired meanwhile: then it is made anew, once.
        for _ in 0..2 {
            let request = correlator.record(&record, Timestamp::now(), rand::random());
            let Some(request) = request else { return };
            match self.own.api.request(request).await {
                Err(error) if error.reason == Reason::NotFound => correlator.forget(&record),
                Err(error) => {
                    tracing::debug!(%error, event.reason = record.reason, "event was not written");
                    return;
                }
                Ok(_) => return,
            }
        }
    }
}

impl Actor for Events {
    type Msg = EventMessage;
    type State = Correlator;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<EventMessage>,
        (): (),
    ) -> Result<Correlator, ActorProcessingErr> {
        Ok(Correlator::new(COMPONENT))
    }

    async fn handle(
        &self,
        _myself: ActorRef<EventMessage>,
        message: EventMessage,
        state: &mut Correlator,
    ) -> Result<(), ActorProcessingErr> {
        let EventMessage::Record(note) = message;
        self.write(*note, state).await;
        self.own.done();
        Ok(())
    }
}

/// The reference by which an event names a pod.
pub(crate) fn about_pod(pod: &k8s_openapi::api::core::v1::Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_string()),
        kind: Some("Pod".to_string()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}
