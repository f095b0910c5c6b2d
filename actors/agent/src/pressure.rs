//! Looks whether the node runs short of memory, disk or process numbers, frees what it can, and
//! evicts pods one at a time until there is enough again. What counts as short and who goes is
//! decided by `lifecycle::eviction`.
//!
//! It also collects images that nobody used for long, before the disk is short.
//!
//! Who talks to it: nobody; it looks by itself. The Node object's keeper reads what it found.

mod images;
mod observe;

use crate::manager::ManagerHandle;
use crate::services::Services;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kabuki_kit::{Alarm, ChildSpec, Slot};
use kabuki_lifecycle::eviction::{
    self, ContainerUse, Monitor, PodUse, Pressure, Reclaim, message, rank,
};
use kabuki_protocol::node::{NodeMetrics, PodMetrics};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often the node is looked at: kubelet's housekeeping period.
const EVERY: Duration = Duration::from_secs(10);
/// As long as something is short.
const EVERY_PRESSED: Duration = Duration::from_secs(1);
/// An evicted pod gives back what it used within this time, or another one goes as well.
const RELIEF: Duration = Duration::from_secs(30);
/// A pod that is evicted at once has so long to end: kubelet's own.
const GRACE_MIN_S: i64 = 1;
/// Figures may be so old.
const FRESH: Duration = Duration::from_millis(200);

#[derive(RactorMessage)]
pub(crate) enum PressureMessage {
    Look,
}

/// What the node is short of, as last measured.
#[derive(Clone)]
pub(crate) struct PressureBoard {
    now: Arc<watch::Sender<Pressure>>,
    /// When memory, disk and process numbers were last short.
    last: Arc<Mutex<[Option<Instant>; 3]>>,
}

impl PressureBoard {
    pub fn new() -> Self {
        Self {
            now: Arc::new(watch::channel(Pressure::default()).0),
            last: Arc::default(),
        }
    }

    pub fn now(&self) -> Pressure {
        *self.now.borrow()
    }

    /// What the node is short of, or was within the time of `relief`: what comes and goes must not
    /// drive pods to and fro.
    pub fn lately(&self, relief: SignedDuration) -> Pressure {
        self.since(
            Instant::now(),
            Duration::try_from(relief).unwrap_or_default(),
        )
    }

    fn since(&self, at: Instant, relief: Duration) -> Pressure {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let [memory, disk, pids] =
            last.map(|held| held.is_some_and(|held| at.saturating_duration_since(held) < relief));
        let now = self.now();
        Pressure {
            memory: memory || now.memory,
            disk: disk || now.disk,
            pids: pids || now.pids,
        }
    }

    fn publish(&self, pressed: Pressure) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = [pressed.memory, pressed.disk, pressed.pids];
        for (at, _) in last.iter_mut().zip(rows).filter(|(_, pressed)| *pressed) {
            *at = Some(Instant::now());
        }
        drop(last);
        self.now.send_if_modified(|now| {
            let changed = *now != pressed;
            *now = pressed;
            changed
        });
    }

    /// Wakes whoever waits for another state.
    pub fn changes(&self) -> watch::Receiver<Pressure> {
        self.now.subscribe()
    }
}

pub(crate) fn child(services: &Arc<Services>, manager: &ManagerHandle) -> ChildSpec {
    let (services, manager) = (services.clone(), manager.clone());
    ChildSpec::worker("pressure", &Slot::new("pressure"), move |_| {
        (
            PressureActor {
                services: services.clone(),
                manager: manager.clone(),
            },
            (),
        )
    })
}

struct PressureActor {
    services: Arc<Services>,
    manager: ManagerHandle,
}

#[derive(Default)]
struct PressureState {
    alarm: Alarm,
    monitor: Monitor,
    images: images::Collector,
    /// Who was evicted last, and when.
    evicted: Option<(String, Instant)>,
}

impl PressureActor {
    async fn look(&self, state: &mut PressureState) -> Duration {
        state.images.look(&self.services).await;
        let settings = &self.services.config.eviction;
        let observed = observe::all(&self.services);
        let judged = state.monitor.judge(settings, &observed, Timestamp::now());
        self.services.pressure.publish(judged.pressed);
        let Some(mut reclaim) = judged.reclaim else {
            return EVERY;
        };
        if reclaim.observed.signal.is_disk() {
            // Nobody misses these.
            state.images.free(&self.services, u64::MAX).await;
            let observed = observe::all(&self.services);
            let judged = state.monitor.judge(settings, &observed, Timestamp::now());
            self.services.pressure.publish(judged.pressed);
            match judged.reclaim {
                Some(still) => reclaim = still,
                None => return EVERY_PRESSED,
            }
        }
        if !self.is_relieving(state) {
            self.evict(&reclaim, state).await;
        }
        EVERY_PRESSED
    }

    /// Whether a pod that was evicted is still on its way out.
    fn is_relieving(&self, state: &PressureState) -> bool {
        let Some((uid, at)) = &state.evicted else {
            return false;
        };
        let entry = self.services.pods.get(uid);
        let runs = entry.is_some_and(|e| e.shim_id().is_some());
        runs && at.elapsed() < RELIEF
    }

    async fn evict(&self, reclaim: &Reclaim, state: &mut PressureState) {
        let signal = reclaim.observed.signal;
        let measured = self.services.metrics.get(FRESH, signal.is_disk()).await;
        let measured: Arc<NodeMetrics> = match measured {
            Ok(measured) => measured,
            Err(error) => {
                tracing::warn!(%error, "nobody is evicted, because nothing was measured");
                return;
            }
        };
        let mut pods: Vec<(String, Arc<Pod>, PodUse)> = Vec::new();
        for found in &measured.pods {
            let entry = self.services.pods.get(&found.uid);
            let running = entry.filter(|e| e.shim_id().is_some());
            let over = |e: &Arc<crate::services::PodEntry>| {
                e.state()
                    .is_some_and(|s| s.final_phase.is_some() || s.failure.is_some())
            };
            if let Some(entry) = running.filter(|e| !over(e)) {
                pods.push((entry.uid.clone(), entry.pod(), used(found)));
            }
        }
        let all: Vec<(&Pod, PodUse)> = pods.iter().map(|(_, p, u)| (&**p, u.clone())).collect();
        let order = rank(signal, &all);
        let Some((uid, pod, used)) = order.first().and_then(|i| pods.get(*i)) else {
            tracing::warn!(
                signal = signal.name(),
                "the node is short, and nobody can be evicted"
            );
            return;
        };
        let text = message(reclaim, pod, used);
        tracing::warn!(pod.uid = uid, signal = signal.name(), "a pod is evicted");
        let grace_s = reclaim.grace_s.max(GRACE_MIN_S);
        self.manager.evict(uid, eviction::REASON, &text, grace_s);
        state.evicted = Some((uid.clone(), Instant::now()));
    }
}

fn used(found: &PodMetrics) -> PodUse {
    let amount = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let containers = found.containers.iter().map(|c| ContainerUse {
        name: c.name.clone(),
        memory: amount(c.usage.memory_working_set_bytes),
        disk: 0,
    });
    PodUse {
        memory: amount(found.usage.memory_working_set_bytes),
        disk: amount(found.disk_bytes),
        inodes: amount(found.disk_inodes),
        pids: amount(found.usage.pids),
        containers: containers.collect(),
    }
}

impl Actor for PressureActor {
    type Msg = PressureMessage;
    type State = PressureState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<PressureMessage>,
        (): (),
    ) -> Result<PressureState, ActorProcessingErr> {
        myself.cast(PressureMessage::Look)?;
        Ok(PressureState::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<PressureMessage>,
        PressureMessage::Look: PressureMessage,
        state: &mut PressureState,
    ) -> Result<(), ActorProcessingErr> {
        let next = self.look(state).await;
        let at = Instant::now() + next;
        state.alarm.set(at, &myself, PressureMessage::Look);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_over_only_after_a_while_without_any() {
        let board = PressureBoard::new();
        let disk = Pressure {
            disk: true,
            ..Pressure::default()
        };
        let relief = Duration::from_secs(300);
        let is_pressed = |s: u64| {
            board
                .since(Instant::now() + Duration::from_secs(s), relief)
                .disk
        };
        assert!(!is_pressed(0));
        board.publish(disk);
        assert!(is_pressed(1000), "as long as it is");
        board.publish(Pressure::default());
        assert!(is_pressed(200));
        assert!(!is_pressed(301));
        assert_eq!(
            board.since(Instant::now(), Duration::ZERO),
            Pressure::default()
        );
    }
}
