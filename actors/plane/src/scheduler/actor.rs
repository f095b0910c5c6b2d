//! The actor.

use super::message::{Placement, SchedulerMessage};
use super::perform::{bind, complain};
use crate::controller::{Followed, Selected, follow};
use crate::events::EventSink;
use crate::gateway::GatewayHandle;
use jiff::Timestamp;
use kabuki_kit::{Alarm, ChildSpec, Slot};
use kabuki_model::identity::Identity;
use kabuki_model::request::{ListRequest, Request};
use kabuki_model::{Resource, StatusError, Stored};
use kabuki_protocol::ApiHandle;
use kabuki_schedule::{Cluster, Pending, Queue, plan};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Pods that are decided about at once: enough to share commits, few enough that each batch is
/// bound soon.
const MAX_BATCH: usize = 1024;
/// Changes that wait between the watches and the actor.
const DEPTH: usize = 1024;

pub(super) struct Scheduler {
    pub(super) api: ApiHandle,
    pub(super) events: EventSink,
}

pub(super) struct SchedulerState {
    cluster: Cluster,
    queue: Queue,
    /// Breaks ties: another one in each incarnation.
    seed: u64,
    /// Whether a batch is being bound.
    binding: bool,
    alarm: Alarm,
    tasks: JoinSet<()>,
    watches: JoinSet<()>,
}

/// What a supervisor starts.
pub fn scheduler_child(gateway: &GatewayHandle, events: &EventSink) -> ChildSpec {
    let (gateway, events) = (gateway.clone(), events.from("default-scheduler"));
    ChildSpec::worker("scheduler", &Slot::new("scheduler"), move |_place| {
        let scheduler = Scheduler {
            api: gateway.api(Identity::scheduler()),
            events: events.clone(),
        };
        (scheduler, ())
    })
}

impl Actor for Scheduler {
    type Msg = SchedulerMessage;
    type State = SchedulerState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<SchedulerMessage>,
        (): (),
    ) -> Result<SchedulerState, ActorProcessingErr> {
        myself.cast(SchedulerMessage::Begin)?;
        Ok(SchedulerState {
            cluster: Cluster::default(),
            queue: Queue::default(),
            seed: rand::random(),
            binding: false,
            alarm: Alarm::new(),
            tasks: JoinSet::new(),
            watches: JoinSet::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<SchedulerMessage>,
        message: SchedulerMessage,
        state: &mut SchedulerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SchedulerMessage::Begin => self.begin(&myself, state).await?,
            SchedulerMessage::Changed(changes) => {
                let now = Timestamp::now();
                for change in changes {
                    state.apply(&change.object, change.removed, now);
                }
            }
            SchedulerMessage::Bound(outcomes) => {
                state.binding = false;
                state.settle(outcomes);
            }
            SchedulerMessage::Wake => {}
        }
        self.schedule(&myself, state);
        Ok(())
    }
}

impl Scheduler {
    /// Learns all nodes before the first pod, so that no decision is made without them.
    async fn begin(
        &self,
        myself: &ActorRef<SchedulerMessage>,
        state: &mut SchedulerState,
    ) -> Result<(), StatusError> {
        let now = Timestamp::now();
        let mut selected = Vec::new();
        for resource in [Resource::NODES, Resource::PODS] {
            let list = ListRequest::all(resource, None);
            let answer = self.api.request(Request::List(list.clone())).await?;
            let known = answer.into_list().unwrap_or_default().items;
            for object in &known {
                state.apply(object, false, now);
            }
            // What goes before the watch begins must not stay here for good.
            selected.push(Selected { list, known });
        }
        let (sink, mut changes) = mpsc::channel::<Followed>(DEPTH);
        let mut watches = follow(&self.api, selected, &sink, Some, |_| {});
        let myself = myself.clone();
        watches.spawn(async move {
            let mut batch = Vec::new();
            while changes.recv_many(&mut batch, DEPTH).await > 0 {
                if myself
                    .cast(SchedulerMessage::Changed(std::mem::take(&mut batch)))
                    .is_err()
                {
                    return;
                }
            }
        });
        state.watches = watches;
        Ok(())
    }

    /// Decides about everything that is ready, unless a batch is still being bound: what comes
    /// meanwhile makes the next one.
    fn schedule(&self, myself: &ActorRef<SchedulerMessage>, state: &mut SchedulerState) {
        while state.tasks.try_join_next().is_some() {}
        let now = Timestamp::now();
        while !state.binding {
            let pending = state.queue.take(now, MAX_BATCH);
            if pending.is_empty() {
                break;
            }
            self.decide(myself, state, &pending, now);
        }
        match state.queue.next_wakeup() {
            Some(due) if !state.binding => {
                let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
                state
                    .alarm
                    .set(Instant::now() + wait, myself, SchedulerMessage::Wake);
            }
            // The end of the batch looks again.
            _ => state.alarm.clear(),
        }
    }

    fn decide(
        &self,
        myself: &ActorRef<SchedulerMessage>,
        state: &mut SchedulerState,
        pending: &[Arc<Pending>],
        now: Timestamp,
    ) {
        let (mut placed, mut failed) = (Vec::new(), Vec::new());
        for decision in plan(&mut state.cluster, pending, state.seed) {
            match decision.outcome {
                Ok(node) => placed.push((decision.pod, node)),
                Err(failure) => {
                    let uid = &decision.pod.uid;
                    match failure.reasons.is_empty() {
                        true => state.queue.wait_for_node(uid),
                        false => state.queue.park(uid, now),
                    }
                    if decision.pod.complaint.as_ref() != Some(&failure.message) {
                        failed.push((decision.pod, failure));
                    }
                }
            }
        }
        if !failed.is_empty() {
            let (api, events) = (self.api.clone(), self.events.clone());
            state.tasks.spawn(complain(api, events, failed));
        }
        if !placed.is_empty() {
            state.binding = true;
            let (api, events, myself) = (self.api.clone(), self.events.clone(), myself.clone());
            state.tasks.spawn(async move {
                let outcomes = bind(&api, &events, placed).await;
                // A scheduler that is gone has left nothing that is not in the state.
                let _ = myself.cast(SchedulerMessage::Bound(outcomes));
            });
        }
    }
}

impl SchedulerState {
    /// Takes over a change of a pod or node.
    fn apply(&mut self, object: &Arc<Stored>, removed: bool, now: Timestamp) {
        let roomier = if object.key.resource == Resource::NODES {
            self.cluster.apply_node(object, removed)
        } else if let Some(pod) = Pending::read(object) {
            let roomier = self.cluster.apply_pod(&pod, removed);
            match pod.is_ours && !removed {
                true => self.queue.put(Arc::new(pod), now),
                false => self.queue.remove(&object.uid),
            }
            roomier
        } else {
            tracing::warn!(key = %object.key, "cannot be read");
            None
        };
        if let Some(node) = roomier {
            self.queue.node_changed(&self.cluster, &node, now);
        }
    }

    /// Takes over what became of a batch.
    fn settle(&mut self, outcomes: Vec<(Placement, Option<StatusError>)>) {
        let now = Timestamp::now();
        for ((pod, node), refusal) in outcomes {
            match refusal {
                // It stays in the queue, as decided, until it is seen with its node: a change of
                // it that is still on the way must not make it a new one.
                None => tracing::debug!(pod = %pod.key, %node, "bound"),
                Some(error) => {
                    tracing::debug!(pod = %pod.key, %node, error = %error, "was not bound");
                    self.queue.retry(&pod.uid, now);
                    if let Some(node) = self.cluster.forget(&pod.uid) {
                        self.queue.node_changed(&self.cluster, &node, now);
                    }
                }
            }
        }
    }
}
