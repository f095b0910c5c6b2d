//! Room for pods that are to use more: who asks is answered at once, and who was put off hears
//! again as soon as there is room, the most important first. Answers are given one at a time, and
//! what was promised counts from then on, so that no two pods are given the same room.
//!
//! Who talks to it: pods that are to be resized; whatever ends a pod.

use crate::pod::PodMessage;
use crate::services::{PodEntry, Registry};
use kabuki_lifecycle::process::NodeResources;
use kabuki_lifecycle::resize::{self, Verdict};
use kabuki_lifecycle::{Fact, cpus};
use kabuki_model::kind::pod::Totals;
use ractor::ActorRef;
use std::cmp::Reverse;
use std::sync::{Arc, Mutex, PoisonError};

/// What containers have to themselves they keep as it is.
const EXCLUSIVE: &str =
    "Resize is infeasible for Guaranteed Pods alongside CPU Manager static policy";

/// Decides on the room of one node.
pub(crate) struct Room {
    pods: Registry,
    allocatable: Totals,
    /// Whether containers have processors to themselves.
    exclusive_cpus: bool,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    arrivals: u64,
    list: Vec<Asking>,
}

/// A pod that asks for room.
struct Asking {
    entry: Arc<PodEntry>,
    requests: Totals,
    actor: ActorRef<PodMessage>,
    arrival: u64,
}

impl Room {
    pub fn new(pods: Registry, allocatable: &NodeResources, exclusive_cpus: bool) -> Self {
        let allocatable = Totals {
            cpu_milli: allocatable.cpu_milli,
            memory_bytes: allocatable.memory,
            pods: i64::MAX,
        };
        Self {
            pods,
            allocatable,
            exclusive_cpus,
            waiting: Mutex::default(),
        }
    }

    /// Answers a pod that would take `requests`.
    pub fn ask(&self, entry: &Arc<PodEntry>, requests: Totals, actor: &ActorRef<PodMessage>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.list.retain(|asking| asking.entry.uid != entry.uid);
        waiting.arrivals += 1;
        let asking = Asking {
            entry: entry.clone(),
            requests,
            actor: actor.clone(),
            arrival: waiting.arrivals,
        };
        if self.answer(&asking) {
            waiting.list.push(asking);
        }
        // Who asks for less leaves room for others.
        self.go_through(&mut waiting);
    }

    /// A pod takes less than before.
    pub fn freed(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.go_through(&mut waiting);
    }

    fn go_through(&self, waiting: &mut Waiting) {
        let precedence = |asking: &Asking| {
            let pod = asking.entry.pod();
            let spec = pod.spec.as_ref();
            spec.map(|spec| resize::precedence(spec, asking.arrival))
        };
        waiting.list.retain(still_asks);
        waiting
            .list
            .sort_by_key(|asking| Reverse(precedence(asking)));
        waiting.list.retain(|asking| self.answer(asking));
    }

    /// Tells the answer. Whether the pod is to be answered again.
    fn answer(&self, asking: &Asking) -> bool {
        let own = &asking.entry.uid;
        let others = self.pods.all();
        let others = others.iter().filter(|entry| entry.uid != *own);
        let used = others.map(taken).fold(Totals::default(), |a, b| a + b);
        let had = taken(&asking.entry);
        let pod = asking.entry.pod();
        let verdict = match self.exclusive_cpus && !cpus::exclusive(&pod).is_empty() {
            true => Verdict::Infeasible(EXCLUSIVE.to_string()),
            false => resize::decide(had, asking.requests, used, self.allocatable),
        };
        if verdict == Verdict::Granted {
            asking.entry.promise(Some(asking.requests));
        }
        let again = matches!(verdict, Verdict::Deferred(_));
        let _ = asking.actor.cast(PodMessage::Fact(Fact::RoomDecided {
            requests: asking.requests,
            verdict,
        }));
        again
    }
}

fn still_asks(asking: &Asking) -> bool {
    let Some(state) = asking.entry.state() else {
        return true;
    };
    !state.finished && state.final_phase.is_none()
}

/// What a pod takes of the node; one that has ended takes nothing.
fn taken(entry: &Arc<PodEntry>) -> Totals {
    let pod = entry.pod();
    let granted = match entry.state() {
        Some(state) if state.final_phase.is_some() || state.finished => return Totals::default(),
        Some(state) => resize::taken(&pod, &state.resize.granted),
        None => resize::taken(&pod, &resize::Shares::default()),
    };
    let promised = entry.promised().unwrap_or_default();
    Totals {
        cpu_milli: granted.cpu_milli.max(promised.cpu_milli),
        memory_bytes: granted.memory_bytes.max(promised.memory_bytes),
        pods: granted.pods,
    }
}
