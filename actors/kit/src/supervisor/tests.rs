//! A probe actor that can be made to fail in every way, and what supervisors make of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::RactorMessage;

use crate::{ActorState, CallError, ChildSpec, Place, Root, Slot, SupervisorSpec, Tree};

mod dynamic;
mod restarts;
mod stats;

/// Long enough that only a hang reaches it.
const LIMIT: Duration = Duration::from_secs(20);

/// What happened, in order, over all probes of a test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

#[derive(RactorMessage)]
enum ProbeMessage {
    Ping {
        reply: RpcReplyPort<u64>,
    },
    Forget {
        reply: RpcReplyPort<u64>,
    },
    Panic,
    Fail,
    End,
    /// Waits for as long as somebody holds the other end.
    Hold(tokio::sync::oneshot::Receiver<()>),
}

#[derive(Clone)]
struct Probe {
    name: &'static str,
    slot: Slot<ProbeMessage>,
    log: Log,
    alive: Arc<Mutex<u32>>,
    refuse_start: Arc<Mutex<bool>>,
    hang_on_stop: bool,
}

struct ProbeState {
    pings: u64,
    name: &'static str,
    log: Log,
    alive: Arc<Mutex<u32>>,
    held: Vec<RpcReplyPort<u64>>,
}

impl Log {
    fn push(&self, line: String) {
        self.0.lock().expect("log").push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("log"))
    }
}

impl Probe {
    fn new(name: &'static str, log: &Log) -> Self {
        Self {
            name,
            slot: Slot::new(name),
            log: log.clone(),
            alive: Arc::default(),
            refuse_start: Arc::default(),
            hang_on_stop: false,
        }
    }

    fn child(&self) -> ChildSpec {
        let probe = self.clone();
        ChildSpec::worker(self.name, &self.slot, move |_place: &Place| {
            (probe.clone(), ())
        })
    }

    async fn ping(&self) -> Result<u64, CallError> {
        self.slot
            .call(|reply| ProbeMessage::Ping { reply }, LIMIT)
            .await
    }

    fn tell(&self, message: ProbeMessage) {
        self.slot.cast(message).expect("the probe is live");
    }
}

impl Actor for Probe {
    type Msg = ProbeMessage;
    type State = ProbeState;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<ProbeMessage>,
        _args: (),
    ) -> Result<ProbeState, ActorProcessingErr> {
        if *self.refuse_start.lock().expect("switch") {
            return Err("told not to start".into());
        }
        let mut alive = self.alive.lock().expect("count");
        *alive += 1;
        assert_eq!(*alive, 1, "two incarnations of {} at once", self.name);
        self.log.push(format!("start {}", self.name));
        let (name, log, alive) = (self.name, self.log.clone(), self.alive.clone());
        Ok(ProbeState {
            pings: 0,
            name,
            log,
            alive,
            held: Vec::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ProbeMessage>,
        message: ProbeMessage,
        state: &mut ProbeState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ProbeMessage::Ping { reply } => {
                state.pings += 1;
                let _ = reply.send(state.pings);
            }
            ProbeMessage::Forget { reply } => state.held.push(reply),
            ProbeMessage::Panic => panic!("told to panic"),
            ProbeMessage::Fail => return Err("told to fail".into()),
            ProbeMessage::End => myself.stop(None),
            ProbeMessage::Hold(until) => drop(until.await),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<ProbeMessage>,
        state: &mut ProbeState,
    ) -> Result<(), ActorProcessingErr> {
        if self.hang_on_stop {
            std::future::pending::<()>().await;
        }
        state.log.push(format!("stop {}", state.name));
        Ok(())
    }
}

impl Drop for ProbeState {
    fn drop(&mut self) {
        // Makes an overlap of incarnations, if there were one, easy to hit.
        std::thread::sleep(Duration::from_millis(2));
        self.log.push(format!("gone {}", self.name));
        *self.alive.lock().expect("count") -= 1;
    }
}

/// Waits until `holds`; panics with what is there when it never does.
async fn eventually(tree: &Tree, what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + LIMIT;
    while !holds() {
        let late = tokio::time::Instant::now() > deadline;
        assert!(
            !late,
            "never came true: {what}; tree: {:#?}",
            tree.snapshot()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn restarted(tree: &Tree, path: &str, starts: u64) {
    let up = |info: crate::ActorInfo| info.starts >= starts && info.state == ActorState::Running;
    eventually(tree, path, || tree.get(path).is_some_and(up)).await;
}

async fn start(tree: &Tree, spec: SupervisorSpec) -> Root {
    Root::start(tree, "root", spec)
        .await
        .expect("the tree starts")
}
