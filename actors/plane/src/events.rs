//! Events about objects, for the people who look at them: recorded by anyone in the control
//! plane, correlated (pure, in `kabuki_model::event`) so that a repetition counts up one event
//! instead of writing many, and written by one actor in the background. An event that cannot be
//! written is dropped: it is a hint, never state.
//!
//! Who talks to it: controllers and the scheduler, through an [`EventSink`].

use crate::gateway::GatewayHandle;
use kabuki_kit::{ChildSpec, Slot};
use kabuki_model::event::{Correlator, EventRecord};
use kabuki_model::identity::Identity;
use kabuki_model::status::Reason;
use kabuki_protocol::ApiHandle;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Records that may wait to be written; the next is dropped.
const MAX_WAITING: usize = 1024;

/// Where events are recorded.
#[derive(Clone)]
pub struct EventSink {
    slot: Slot<EventMessage>,
    component: &'static str,
    waiting: Arc<AtomicUsize>,
}

/// Messages of the event writer.
#[derive(RactorMessage)]
pub enum EventMessage {
    /// Write an event.
    Record(EventRecord),
}

impl Default for EventSink {
    fn default() -> Self {
        Self {
            slot: Slot::new("events"),
            component: "kabuki",
            waiting: Arc::default(),
        }
    }
}

impl EventSink {
    /// What a supervisor starts.
    pub fn child(&self, gateway: &GatewayHandle) -> ChildSpec {
        let (gateway, waiting) = (gateway.clone(), self.waiting.clone());
        ChildSpec::worker("events", &self.slot, move |_place| {
            waiting.store(0, Ordering::Relaxed);
            let writer = EventWriter {
                api: gateway.api(Identity::controller("events")),
                waiting: waiting.clone(),
            };
            (writer, ())
        })
    }

    /// The same sink for another reporting component.
    pub fn from(&self, component: &'static str) -> Self {
        Self {
            component,
            ..self.clone()
        }
    }

    /// Records an event, unless too many wait already.
    pub fn record(&self, mut record: EventRecord) {
        if record.component.is_empty() {
            record.component = self.component.to_string();
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING
            || self.slot.cast(EventMessage::Record(record)).is_err()
        {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

struct EventWriter {
    api: ApiHandle,
    waiting: Arc<AtomicUsize>,
}

impl Actor for EventWriter {
    type Msg = EventMessage;
    type State = Correlator;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<EventMessage>,
        (): (),
    ) -> Result<Correlator, ActorProcessingErr> {
        Ok(Correlator::new("kabuki"))
    }

    async fn handle(
        &self,
        _myself: ActorRef<EventMessage>,
        message: EventMessage,
        correlator: &mut Correlator,
    ) -> Result<(), ActorProcessingErr> {
        let EventMessage::Record(record) = message;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        // An event that was counted up may have expired meanwhile: then it is made anew, once.
        for _ in 0..2 {
            let now = jiff::Timestamp::now();
            let Some(request) = correlator.record(&record, now, rand::random()) else {
                break;
            };
            match self.api.request(request).await {
                Err(error) if error.reason == Reason::NotFound => correlator.forget(&record),
                Err(error) => {
                    tracing::debug!(error = %error, "an event was not written");
                    break;
                }
                Ok(_) => break,
            }
        }
        Ok(())
    }
}
