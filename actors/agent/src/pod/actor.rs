//! The shell around the pod's state machine.

use super::effects::run;
use super::{app_armor, container, message, sandbox, usage};
use crate::cpus;
use crate::manager::ManagerHandle;
use crate::probe::{Around, Probes};
use crate::services::{PodEntry, Services};
use crate::trace::Stage;
use crate::volume;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kabuki_kit::{Alarm, ChildSpec, Slot, Strategy, SupervisorSpec};
use kabuki_lifecycle::admission;
use kabuki_lifecycle::{Effect, Exit, Fact, Instance, PodMachine, PodState, Seen, SeenContainer};
use kabuki_runtime::{ContainerState, Event, ExitStatus, ShimEvents, ShimStatus};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};

/// What keeps failing (a bug) is tried ever more rarely.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

#[derive(RactorMessage)]
pub(crate) enum PodMessage {
    Begin,
    /// The entry has another manifest, or the API has forgotten the pod.
    Changed,
    Fact(Fact),
    /// The sandbox has a shim, which tells this.
    Shim(ShimEvents),
    Event(Event),
    ShimGone(String),
    Stored,
    Woken,
}

/// The pod's own supervisor, with `life` below it.
pub(crate) fn child(
    services: &Arc<Services>,
    entry: &Arc<PodEntry>,
    manager: &ManagerHandle,
    slot: &Slot<PodMessage>,
) -> ChildSpec {
    let (services, entry) = (services.clone(), entry.clone());
    let (manager, slot) = (manager.clone(), slot.clone());
    ChildSpec::supervisor(&entry.child.clone(), move |_| {
        let (services, entry, manager) = (services.clone(), entry.clone(), manager.clone());
        let life = ChildSpec::worker("life", &slot, move |_| {
            let (services, entry) = (services.clone(), entry.clone());
            (
                PodActor {
                    services,
                    entry,
                    manager: manager.clone(),
                },
                (),
            )
        });
        SupervisorSpec::new(Strategy::OneForOne)
            .never_give_up()
            .backoff(BACKOFF.0, BACKOFF.1)
            .child(life)
    })
}

pub(super) struct PodActor {
    pub services: Arc<Services>,
    pub entry: Arc<PodEntry>,
    pub manager: ManagerHandle,
}

#[derive(Default)]
pub(crate) struct LifeState {
    pub(super) machine: Option<PodMachine>,
    pub(super) tasks: JoinSet<()>,
    pub(super) alarm: Alarm,
    /// Hooks that run, by instance: they end with it.
    pub(super) hooks: HashMap<Instance, Vec<AbortHandle>>,
    probes: Probes,
    /// Whether the pod was found running, and its probes go on rather than begin.
    adopted: bool,
    stored: Option<PodState>,
    storing: bool,
    /// Ends with the state.
    _usage: JoinSet<()>,
    /// Ends with the state.
    _volumes: JoinSet<()>,
}

impl PodActor {
    fn rules(&self) -> admission::Rules<'_> {
        let config = &self.services.config;
        admission::Rules {
            unsafe_sysctls: &config.unsafe_sysctls,
            app_armor: app_armor::is_enforced(),
            pressure: self.services.pressure.lately(config.eviction.transition),
        }
    }

    /// Gives a new pod the processors that it is to have to itself.
    fn admit_cpus(&self, pod: &Pod) -> Option<admission::Refusal> {
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return None;
        }
        match self.services.cpus.admit(&self.entry.uid, pod) {
            Ok(changed) => {
                if changed {
                    cpus::share(&self.services);
                }
                None
            }
            Err(error) => Some(admission::Refusal {
                reason: "UnexpectedAdmissionError",
                message: format!("Allocate failed due to {error}, which is unexpected"),
            }),
        }
    }

    /// Finds out what there is of the pod, and lets the machine go on from there.
    async fn begin(&self, myself: &ActorRef<PodMessage>, state: &mut LifeState) {
        let (pod, host) = (self.entry.pod(), self.services.host.clone());
        let found = match self.entry.shim_id() {
            Some(id) => self.connect(&id).await,
            None => None,
        };
        let now = Timestamp::now();
        let held = self.entry.state();
        // What runs already was let in.
        let is_new = found.is_none() && held.is_none();
        let refusal = is_new.then(|| admission::refuse(&pod, &self.rules()));
        let refusal = refusal.flatten();
        let refusal = match is_new && refusal.is_none() {
            true => self.admit_cpus(&pod),
            false => refusal,
        };
        let mut lost = false;
        let mut machine = match found {
            Some((status, events)) => {
                let _ = myself.cast(PodMessage::Shim(events));
                let stored = PodState::from_bytes(&status.agent_state).or(held);
                match stored {
                    Some(stored) => {
                        state.adopted = true;
                        PodMachine::resume(pod, host, stored, &seen(&status), now)
                    }
                    // It was not set up when the agent ended: it is made anew.
                    None => PodMachine::new(pod, host, now),
                }
            }
            None => match held {
                Some(held) => {
                    lost = true;
                    PodMachine::resume(pod, host, held, &[], now)
                }
                None => PodMachine::new(pod, host, now),
            },
        };
        let mut effects = machine.start(now);
        if lost {
            effects.extend(machine.handle(Fact::SandboxLost, now));
        }
        if let Some(refusal) = refusal {
            let fact = Fact::Evicted {
                reason: refusal.reason.to_string(),
                message: refusal.message,
                grace_s: Some(0),
            };
            effects.extend(machine.handle(fact, now));
        }
        if self.entry.vanished() {
            effects.extend(machine.handle(Fact::PodVanished, now));
        }
        state._usage = usage::watch(&self.services, &self.entry, myself);
        let are_there = machine.state().volumes == kabuki_lifecycle::machine::Volumes::Ready;
        state._volumes = volume::keep(&self.services, &self.entry, are_there);
        state.machine = Some(machine);
        self.perform_all(effects, myself, state);
    }

    async fn connect(&self, id: &str) -> Option<(ShimStatus, ShimEvents)> {
        let connected = self.services.launcher.connect(id).await;
        let (client, events) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                tracing::warn!(pod.uid = self.entry.uid, %error, "the pod's shim is gone");
                self.entry.set_shim(None);
                return None;
            }
        };
        match client.status().await {
            Ok(status) => {
                self.entry.set_shim(Some(client));
                Some((status, events))
            }
            Err(error) => {
                tracing::warn!(pod.uid = self.entry.uid, %error, "the pod's shim does not answer");
                sandbox::remove_shim(&self.services, id).await;
                self.entry.set_shim(None);
                None
            }
        }
    }

    fn feed(&self, fact: Fact, myself: &ActorRef<PodMessage>, state: &mut LifeState) {
        self.note_stage(&fact);
        if let Fact::ContainerExited { instance, .. } = &fact {
            let hooks = state.hooks.remove(instance);
            hooks.iter().flatten().for_each(AbortHandle::abort);
        }
        let Some(machine) = &mut state.machine else {
            return;
        };
        let decided = matches!(fact, Fact::RoomDecided { .. });
        let effects = machine.handle(fact, Timestamp::now());
        self.perform_all(effects, myself, state);
        if decided {
            // What was promised is part of the state by now, or nobody wants it any more.
            self.entry.promise(None);
        }
    }

    fn note_stage(&self, fact: &Fact) {
        let stage = match fact {
            Fact::ImageReady { .. } => Stage::Image,
            Fact::VolumesReady => Stage::Volumes,
            Fact::SandboxReady { .. } => Stage::Network,
            Fact::ContainerCreated { .. } => Stage::Create,
            Fact::ContainerStarted { .. } => Stage::Start,
            _ => return,
        };
        self.services.traces.reach(&self.entry.uid, stage);
    }

    fn perform_all(
        &self,
        effects: Vec<Effect>,
        myself: &ActorRef<PodMessage>,
        state: &mut LifeState,
    ) {
        for effect in effects {
            self.perform(effect, myself, state);
        }
        if let Some(machine) = &state.machine {
            self.entry.set_state(machine.state().clone());
            let around = |instance| Around {
                services: self.services.clone(),
                entry: self.entry.clone(),
                instance,
            };
            let (wanted, adopted) = (machine.probes(), state.adopted);
            let thread = &self.services.probes;
            state.probes.set(wanted, adopted, around, myself, thread);
            state.adopted = false;
        }
        self.store(myself, state);
    }

    /// Stores the machine's state with the shim, one request at a time.
    fn store(&self, myself: &ActorRef<PodMessage>, state: &mut LifeState) {
        let (Some(machine), Some(shim)) = (&state.machine, self.entry.shim()) else {
            return;
        };
        if state.storing || state.stored.as_ref() == Some(machine.state()) {
            return;
        }
        state.storing = true;
        state.stored = Some(machine.state().clone());
        let (bytes, myself) = (machine.state().to_bytes(), myself.clone());
        state.tasks.spawn(async move {
            // A shim that is gone says so in another way.
            let _ = shim.set_agent_state(bytes).await;
            let _ = myself.cast(PodMessage::Stored);
        });
    }

    /// A container ended: what it left to say is read before the machine hears of it.
    fn exited(
        &self,
        id: &str,
        started_at_ns: u64,
        exit: ExitStatus,
        myself: &ActorRef<PodMessage>,
        state: &mut LifeState,
    ) {
        let Some(instance) = container::instance_of(id) else {
            return;
        };
        let (services, entry) = (self.services.clone(), self.entry.clone());
        let known = exit_of(started_at_ns, &exit);
        let panicked = Fact::ContainerExited {
            instance: instance.clone(),
            exit: known.clone(),
        };
        let work = async move {
            let message = message::read(&services, &entry, &instance, known.code).await;
            Fact::ContainerExited {
                instance,
                exit: Exit { message, ..known },
            }
        };
        run(state, myself, panicked, work);
    }

    async fn shim_gone(&self, id: &str, myself: &ActorRef<PodMessage>, state: &mut LifeState) {
        let current = self.entry.shim_id().as_deref() == Some(id);
        let ready = state
            .machine
            .as_ref()
            .is_some_and(|m| m.state().sandbox == kabuki_lifecycle::machine::Sandbox::Ready);
        if current && ready {
            tracing::warn!(pod.uid = self.entry.uid, "the pod's shim ended");
            self.feed(Fact::SandboxLost, myself, state);
        }
    }
}

fn at(ns: u64) -> Option<Timestamp> {
    (ns > 0)
        .then(|| Timestamp::from_nanosecond(i128::from(ns)).ok())
        .flatten()
}

fn exit_of(started_at_ns: u64, exit: &ExitStatus) -> Exit {
    Exit {
        code: exit.code,
        oom_killed: exit.oom_killed,
        started_at: at(started_at_ns),
        finished_at: at(exit.finished_at_ns),
        message: None,
    }
}

fn seen(status: &ShimStatus) -> Vec<SeenContainer> {
    let mut seen = Vec::new();
    for held in &status.containers {
        let Some(instance) = container::instance_of(&held.id) else {
            continue;
        };
        let state = match &held.state {
            ContainerState::Created { .. } => Seen::Created,
            ContainerState::Running { started_at_ns, .. } => {
                let started_at = at(*started_at_ns).unwrap_or_else(Timestamp::now);
                Seen::Running { started_at }
            }
            ContainerState::Exited {
                started_at_ns,
                exit,
            } => Seen::Exited(exit_of(*started_at_ns, exit)),
        };
        seen.push(SeenContainer { instance, state });
    }
    seen
}

impl Actor for PodActor {
    type Msg = PodMessage;
    type State = LifeState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<PodMessage>,
        (): (),
    ) -> Result<LifeState, ActorProcessingErr> {
        myself.cast(PodMessage::Begin)?;
        Ok(LifeState::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<PodMessage>,
        message: PodMessage,
        state: &mut LifeState,
    ) -> Result<(), ActorProcessingErr> {
        while state.tasks.try_join_next().is_some() {}
        match message {
            PodMessage::Begin => self.begin(&myself, state).await,
            PodMessage::Changed => {
                let fact = match self.entry.vanished() {
                    true => Fact::PodVanished,
                    false => Fact::PodChanged(self.entry.pod()),
                };
                self.feed(fact, &myself, state);
                // Only now: the machine may have had something new to report.
                let (entry, statuses) = (&self.entry, &self.services.statuses);
                statuses.seen(&entry.uid, &entry.pod());
            }
            PodMessage::Fact(fact) => self.feed(fact, &myself, state),
            PodMessage::Shim(mut events) => {
                let id = self.entry.shim_id().unwrap_or_default();
                let own = myself.clone();
                state.tasks.spawn(async move {
                    while let Some(event) = events.recv().await {
                        let _ = own.cast(PodMessage::Event(event));
                    }
                    let _ = own.cast(PodMessage::ShimGone(id));
                });
                self.store(&myself, state);
            }
            PodMessage::Event(Event::ContainerExited {
                id,
                started_at_ns,
                exit,
            }) => {
                self.exited(&id, started_at_ns, exit, &myself, state);
            }
            PodMessage::Event(Event::ExecExited { .. }) => {}
            PodMessage::ShimGone(id) => self.shim_gone(&id, &myself, state).await,
            PodMessage::Stored => {
                state.storing = false;
                self.store(&myself, state);
            }
            PodMessage::Woken => self.feed(Fact::Woken, &myself, state),
        }
        Ok(())
    }
}

/// An instance as logs name it.
pub(super) fn described(entry: &PodEntry, instance: &Instance) -> String {
    format!(
        "{}/{}/{}.{}",
        entry.namespace, entry.name, instance.container, instance.attempt
    )
}
