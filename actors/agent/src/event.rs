//! Writes events to the API. Repeated ones are counted in one object, and a pod that floods is
//! cut short (as Kubernetes' recorder does: a burst, then one in a while).
//!
//! Events are news, not state: those that wait when the actor crashes are lost, and so are
//! those that the API refuses.

use crate::api;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kabuki_kit::{ChildSpec, Slot};
use kabuki_model::{ObjectKey, Resource};
use kabuki_protocol::ApiHandle;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The program that events come from, as `kubectl` shows it.
const COMPONENT: &str = "kubelet";
/// Events that may wait; more are dropped.
const WAITING_MAX: usize = 1_000;
/// Different events that are remembered for counting.
const REMEMBERED_MAX: usize = 4_096;
/// An event that is not repeated within this time is a new one.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// Events of one object in a row, and how long each further one must wait.
const BURST: f64 = 25.0;
const REFILL_S: f64 = 300.0;

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

#[derive(Default)]
struct EventsState {
    written: HashMap<Identity, Written>,
    credit: HashMap<String, Credit>,
}

/// What makes two events the same.
#[derive(PartialEq, Eq, Hash)]
struct Identity {
    uid: String,
    part: String,
    reason: String,
    message: String,
}

struct Written {
    name: String,
    count: i32,
    at: Instant,
}

struct Credit {
    left: f64,
    at: Instant,
}

impl EventsState {
    fn may_write(&mut self, uid: &str, now: Instant) -> bool {
        if self.credit.len() >= REMEMBERED_MAX {
            self.credit
                .retain(|_, c| now.duration_since(c.at).as_secs_f64() < REFILL_S);
        }
        let credit = self.credit.entry(uid.to_string()).or_insert(Credit {
            left: BURST,
            at: now,
        });
        let earned = now.duration_since(credit.at).as_secs_f64() / REFILL_S;
        credit.left = (credit.left + earned).min(BURST);
        credit.at = now;
        if credit.left < 1.0 {
            return false;
        }
        credit.left -= 1.0;
        true
    }

    fn forget_old(&mut self, now: Instant) {
        if self.written.len() >= REMEMBERED_MAX {
            self.written
                .retain(|_, w| now.duration_since(w.at) < REMEMBERED_FOR);
        }
        if self.written.len() >= REMEMBERED_MAX {
            self.written.clear();
        }
    }
}

impl Events {
    async fn write(&self, note: Note, state: &mut EventsState) {
        let now = Instant::now();
        let uid = note.about.uid.clone().unwrap_or_default();
        if !state.may_write(&uid, now) {
            return;
        }
        state.forget_old(now);
        let identity = Identity {
            uid,
            part: note.about.field_path.clone().unwrap_or_default(),
            reason: note.reason.clone(),
            message: note.message.clone(),
        };
        if let Some(held) = state.written.get_mut(&identity)
            && now.duration_since(held.at) < REMEMBERED_FOR
        {
            held.count += 1;
            held.at = now;
            if self.count(&note, &held.name, held.count).await {
                return;
            }
        }
        let name = self.create(&note).await;
        state.written.insert(
            identity,
            Written {
                name,
                count: 1,
                at: now,
            },
        );
    }

    async fn count(&self, note: &Note, name: &str, count: i32) -> bool {
        let namespace = namespace_of(note);
        let key = ObjectKey::new(Resource::EVENTS, &namespace, name);
        let patch = json!({"count": count, "lastTimestamp": shown(Timestamp::now())});
        api::patch(&self.own.api, key, None, &patch).await.is_ok()
    }

    async fn create(&self, note: &Note) -> String {
        let now = Timestamp::now();
        let namespace = namespace_of(note);
        let about = note.about.name.clone().unwrap_or_default();
        // Unique without asking: the time in nanoseconds, as Kubernetes names events.
        let name = format!("{about}.{:x}", now.as_nanosecond());
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": note.about,
            "type": if note.warning { "Warning" } else { "Normal" },
            "reason": note.reason, "message": note.message,
            "source": {"component": COMPONENT, "host": self.own.node},
            "reportingComponent": COMPONENT, "reportingInstance": self.own.node,
            "firstTimestamp": shown(now), "lastTimestamp": shown(now), "count": 1,
        });
        let created = api::create(&self.own.api, Resource::EVENTS, &namespace, &event).await;
        if let Err(error) = created {
            tracing::debug!(%error, event.reason = note.reason, "event was not written");
        }
        name
    }
}

fn namespace_of(note: &Note) -> String {
    note.about
        .namespace
        .clone()
        .filter(|n| !n.is_empty())
        .unwrap_or_else(|| "default".to_string())
}

fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Actor for Events {
    type Msg = EventMessage;
    type State = EventsState;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<EventMessage>,
        (): (),
    ) -> Result<EventsState, ActorProcessingErr> {
        Ok(EventsState::default())
    }

    async fn handle(
        &self,
        _myself: ActorRef<EventMessage>,
        message: EventMessage,
        state: &mut EventsState,
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
