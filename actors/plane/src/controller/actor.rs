//! The controller actor.

use super::perform::{Refused, perform};
use super::watching::{Followed, Selected, follow};
use crate::events::EventSink;
use crate::gateway::GatewayHandle;
use futures::FutureExt;
use kabuki_kit::{Alarm, ChildSpec, QueueConfig, Slot, WorkQueue};
use kabuki_model::identity::Identity;
use kabuki_model::request::ListRequest;
use kabuki_model::{ObjectKey, Resource, StatusError};
use kabuki_protocol::ApiHandle;
use kabuki_reconcile::Reconciler;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Keys that one controller works on at once: more than one, so that commits are batched; few
/// enough that the newest state is used for each.
const MAX_IN_PROCESS: usize = 32;
/// The first wait after a failure, doubled for each further one.
const RETRY_INITIAL: Duration = Duration::from_millis(5);
/// The longest wait after failures.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Changes that wait between the watches and the actor.
const DEPTH: usize = 256;

/// Messages of a controller.
#[derive(RactorMessage)]
pub(super) enum ControllerMessage {
    /// Objects that it follows have changed: these keys are to be reconciled.
    Changed(Vec<Vec<ObjectKey>>),
    /// Its core panicked over a change.
    Panicked,
    /// The watch of a resource was lost and has begun again.
    Relisted(Resource),
    /// The work on a key has ended.
    Worked {
        /// The key.
        key: ObjectKey,
        /// When it wants to be looked at again, or why it failed.
        result: Result<Option<jiff::Timestamp>, StatusError>,
    },
    /// A key that waited may be due.
    Wake,
}

struct Controller {
    core: Arc<dyn Reconciler>,
    gateway: GatewayHandle,
    api: ApiHandle,
    events: EventSink,
}

struct ControllerState {
    queue: WorkQueue<ObjectKey, Instant>,
    alarm: Alarm,
    tasks: JoinSet<()>,
    _watches: JoinSet<()>,
}

/// What a supervisor starts for one core.
pub fn controller_child(
    core: Arc<dyn Reconciler>,
    gateway: &GatewayHandle,
    events: &EventSink,
) -> ChildSpec {
    let (gateway, events) = (gateway.clone(), events.clone());
    let slot = Slot::new(core.name());
    ChildSpec::worker(core.name(), &slot, move |_place| {
        let api = gateway.api(Identity::controller(core.name()));
        let controller = Controller {
            core: core.clone(),
            gateway: gateway.clone(),
            api,
            events: events.from(core.name()),
        };
        (controller, ())
    })
}

impl Actor for Controller {
    type Msg = ControllerMessage;
    type State = ControllerState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<ControllerMessage>,
        (): (),
    ) -> Result<ControllerState, ActorProcessingErr> {
        let (sink, mut changes) = mpsc::channel(DEPTH);
        let own = myself.clone();
        let relisted = move |resource: &Resource| {
            let _ = own.cast(ControllerMessage::Relisted(resource.clone()));
        };
        let (core, gateway, own) = (self.core.clone(), self.gateway.clone(), myself.clone());
        // Most changes concern few controllers: the others' actors need not hear of them.
        let heard = move |change: Followed| {
            let keys = || {
                let previous = change.previous.as_deref();
                core.keys(&gateway.view(), &change.object, previous, change.removed)
            };
            let Ok(keys) = catch_unwind(AssertUnwindSafe(keys)) else {
                let _ = own.cast(ControllerMessage::Panicked);
                return None;
            };
            (!keys.is_empty()).then_some(keys)
        };
        let core = &self.core;
        let selected = core.watches().into_iter().map(|resource| Selected {
            list: ListRequest {
                fields: core.selects(&resource),
                ..ListRequest::all(resource, None)
            },
            known: Vec::new(),
        });
        let mut watches = follow(&self.api, selected.collect(), &sink, heard, relisted);
        watches.spawn(async move {
            let mut batch = Vec::new();
            while changes.recv_many(&mut batch, DEPTH).await > 0 {
                let message = ControllerMessage::Changed(std::mem::take(&mut batch));
                if myself.cast(message).is_err() {
                    return;
                }
            }
        });
        let config = QueueConfig {
            retry_initial: RETRY_INITIAL,
            retry_max: RETRY_MAX,
            rate: None,
        };
        Ok(ControllerState {
            queue: WorkQueue::new(config),
            alarm: Alarm::new(),
            tasks: JoinSet::new(),
            _watches: watches,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ControllerMessage>,
        message: ControllerMessage,
        state: &mut ControllerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ControllerMessage::Changed(keys) => {
                for key in keys.into_iter().flatten() {
                    state.queue.add(key);
                }
            }
            // What it knew may be wrong: it begins anew.
            ControllerMessage::Panicked => return Err("the controller's core panicked".into()),
            ControllerMessage::Relisted(resource) => {
                let view = self.gateway.view();
                for key in self.core.relisted(&view, &resource) {
                    state.queue.add(key);
                }
            }
            ControllerMessage::Worked { key, result } => {
                let now = Instant::now();
                match result {
                    // `done` queues the key again when it was added while it was worked on.
                    Ok(again_at) => {
                        state.queue.done(&key);
                        if let Some(at) = again_at {
                            state.queue.add_after(key, now, until(at));
                        }
                    }
                    Err(error) => {
                        let core = self.core.name();
                        tracing::debug!(core, key = %key, error = %error, "will try again");
                        state.queue.retry(&key, now);
                    }
                }
            }
            ControllerMessage::Wake => {}
        }
        self.work(&myself, state);
        Ok(())
    }
}

impl Controller {
    /// Begins work on as many keys as may be worked on, and sets the alarm for the next.
    fn work(&self, myself: &ActorRef<ControllerMessage>, state: &mut ControllerState) {
        while state.tasks.try_join_next().is_some() {}
        let now = Instant::now();
        while state.queue.in_process() < MAX_IN_PROCESS {
            let Some(key) = state.queue.next(now) else {
                break;
            };
            let (core, gateway) = (self.core.clone(), self.gateway.clone());
            let (api, events, myself) = (self.api.clone(), self.events.clone(), myself.clone());
            state.tasks.spawn(async move {
                let work = AssertUnwindSafe(reconcile(&*core, &gateway, &api, &events, &key));
                // A core that panics is a bug, but must not keep its key for ever.
                let result = work.catch_unwind().await.unwrap_or_else(|_| {
                    let (core, key) = (core.name(), &key);
                    tracing::error!(core, key = %key, "the controller's core panicked");
                    Err(StatusError::internal("the controller's core panicked"))
                });
                let _ = myself.cast(ControllerMessage::Worked { key, result });
            });
        }
        match state.queue.next_wakeup(now) {
            Some(at) if at > now => state.alarm.set(at, myself, ControllerMessage::Wake),
            _ => state.alarm.clear(),
        }
    }
}

/// Works on one key: when it wants to be looked at again, or why it failed.
async fn reconcile(
    core: &dyn Reconciler,
    gateway: &GatewayHandle,
    api: &ApiHandle,
    events: &EventSink,
    key: &ObjectKey,
) -> Result<Option<jiff::Timestamp>, StatusError> {
    let outcome = core.reconcile(&gateway.view(), key, jiff::Timestamp::now());
    let Err(Refused { request, error }) = perform(api, events, outcome.actions).await else {
        return Ok(outcome.again_at);
    };
    let told = core.refused(
        &gateway.view(),
        key,
        &request,
        &error,
        jiff::Timestamp::now(),
    );
    // The key comes again in any case, so nothing is lost if this fails too.
    let _ = perform(api, events, told.actions).await;
    Err(error)
}

/// How long until `at`; nothing when it has passed.
fn until(at: jiff::Timestamp) -> Duration {
    let wait = at.duration_since(jiff::Timestamp::now());
    Duration::try_from(wait).unwrap_or(Duration::ZERO)
}
