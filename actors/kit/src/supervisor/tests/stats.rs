//! Slots, calls and the live tree.

use super::*;
use crate::{ActorKind, KillError, Strategy, Worker};

async fn one(tree: &Tree, log: &Log) -> (Probe, Root) {
    let probe = Probe::new("a", log);
    let spec = SupervisorSpec::new(Strategy::OneForOne).child(probe.child());
    let root = start(tree, spec).await;
    (probe, root)
}

#[tokio::test]
async fn every_call_ends_with_an_answer_or_a_reason() {
    let (tree, log) = (Tree::new(), Log::default());
    let short = Duration::from_millis(20);
    let nobody = Probe::new("nobody", &log);
    let call = |probe: &Probe, limit| {
        let slot = probe.slot.clone();
        async move {
            slot.call(|reply| ProbeMessage::Forget { reply }, limit)
                .await
        }
    };
    let unavailable = CallError::Unavailable {
        actor: "nobody".into(),
    };
    assert_eq!(call(&nobody, short).await, Err(unavailable.clone()));
    assert_eq!(nobody.slot.cast(ProbeMessage::End), Err(unavailable));

    let (probe, root) = one(&tree, &log).await;
    let timeout = CallError::Timeout {
        actor: "a".into(),
        limit: short,
    };
    assert_eq!(call(&probe, short).await, Err(timeout));
    let waiting = tokio::spawn(call(&probe, LIMIT));
    let handled = || tree.get("root/a").map(|info| info.handled);
    eventually(&tree, "the request is in", || handled() == Some(2)).await;
    probe.tell(ProbeMessage::Panic);
    let dropped = CallError::Dropped { actor: "a".into() };
    assert_eq!(waiting.await.expect("no panic"), Err(dropped));
    root.stop(LIMIT).await.expect("nothing holds on");
}

#[tokio::test]
async fn a_slot_keeps_pointing_to_the_live_incarnation() {
    let (tree, log) = (Tree::new(), Log::default());
    let (probe, root) = one(&tree, &log).await;
    let first = probe.slot.actor().expect("it is live");
    assert_eq!((probe.ping().await, probe.ping().await), (Ok(1), Ok(2)));
    probe.tell(ProbeMessage::Panic);
    // Lost messages are possible between crash and restart, waiting for the next one is not.
    restarted(&tree, "root/a", 2).await;
    assert_eq!(probe.ping().await, Ok(1));
    assert_ne!(
        probe.slot.wait_live(LIMIT).await.expect("it is live"),
        first
    );
    root.stop(LIMIT).await.expect("nothing holds on");
}

#[tokio::test]
async fn the_tree_tells_mailbox_work_and_kind() {
    let (tree, log) = (Tree::new(), Log::default());
    let (probe, root) = one(&tree, &log).await;
    let (free, until) = tokio::sync::oneshot::channel();
    probe.tell(ProbeMessage::Hold(until));
    let busy = || {
        tree.get("root/a")
            .is_some_and(|info| info.busy_for.is_some())
    };
    eventually(&tree, "the handler runs", busy).await;
    let pings: Vec<_> = (0..3)
        .map(|_| {
            let (reply, answer) = tokio::sync::oneshot::channel();
            probe.tell(ProbeMessage::Ping {
                reply: reply.into(),
            });
            answer
        })
        .collect();
    let info = tree.get("root/a").expect("it is there");
    assert_eq!(
        (info.mailbox, info.handled, info.kind),
        (3, 0, ActorKind::Worker)
    );
    assert!(
        info.longest_handler > Duration::ZERO,
        "the present handler counts"
    );
    drop(free);
    for ping in pings {
        ping.await.expect("an answer");
    }
    eventually(&tree, "it is idle", || !busy()).await;
    let info = tree.get("root/a").expect("it is there");
    assert_eq!(
        (info.mailbox, info.handled, info.state),
        (0, 4, ActorState::Running)
    );
    assert_eq!((info.name(), info.depth()), ("a", 1));
    assert_eq!(
        tree.get("root").map(|info| info.kind),
        Some(ActorKind::Supervisor)
    );
    root.stop(LIMIT).await.expect("nothing holds on");
    assert_eq!(
        tree.kill("root/a"),
        Err(KillError::NotRunning("root/a".to_owned()))
    );
    assert_eq!(
        tree.kill("root/x"),
        Err(KillError::Unknown("root/x".to_owned()))
    );
}

#[tokio::test]
async fn a_message_that_bypassed_the_slot_does_not_upset_the_mailbox_figure() {
    let (tree, log) = (Tree::new(), Log::default());
    let (probe, root) = one(&tree, &log).await;
    let direct = probe.slot.actor().expect("it is live");
    for _ in 0..5 {
        let (reply, answer) = tokio::sync::oneshot::channel();
        direct
            .send_message(ProbeMessage::Ping {
                reply: reply.into(),
            })
            .expect("it is live");
        answer.await.expect("an answer");
    }
    let (_free, until) = tokio::sync::oneshot::channel();
    probe.tell(ProbeMessage::Hold(until));
    let busy = || {
        tree.get("root/a")
            .is_some_and(|info| info.busy_for.is_some())
    };
    eventually(&tree, "the handler runs", busy).await;
    probe.tell(ProbeMessage::End);
    assert_eq!(tree.get("root/a").map(|info| info.mailbox), Some(1));
    tree.kill("root/a").expect("it runs");
    root.stop(LIMIT).await.expect("nothing holds on");
}

/// Owns a worker thread and gives it a job that outlasts the actor's crash.
struct Owner {
    running: Arc<Mutex<u32>>,
    gate: Arc<Mutex<()>>,
}

#[derive(RactorMessage)]
enum OwnerMessage {
    Crash,
}

impl Actor for Owner {
    type Msg = OwnerMessage;
    type State = Worker<()>;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<OwnerMessage>,
        _args: (),
    ) -> Result<Worker<()>, ActorProcessingErr> {
        let worker = Worker::spawn("owned", 1, || Ok::<_, String>(()))?;
        let (running, gate) = (self.running.clone(), self.gate.clone());
        let job = move |_: &mut ()| {
            *running.lock().expect("count") += 1;
            drop(gate.lock().expect("gate"));
            *running.lock().expect("count") -= 1;
        };
        assert_eq!(
            *self.running.lock().expect("count"),
            0,
            "the former thread still runs"
        );
        worker.start(job, |_| ())?;
        Ok(worker)
    }

    async fn handle(
        &self,
        _myself: ActorRef<OwnerMessage>,
        OwnerMessage::Crash: OwnerMessage,
        _state: &mut Worker<()>,
    ) -> Result<(), ActorProcessingErr> {
        panic!("told to crash")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_is_not_restarted_while_its_thread_still_works() {
    let tree = Tree::new();
    let (running, gate) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(())));
    let slot = Slot::new("owner");
    let closed = gate.lock().expect("gate");
    let child = ChildSpec::worker("owner", &slot, {
        let (running, gate) = (running.clone(), gate.clone());
        move |_place| {
            (
                Owner {
                    running: running.clone(),
                    gate: gate.clone(),
                },
                (),
            )
        }
    });
    let spec = SupervisorSpec::new(Strategy::OneForOne).child(child.shutdown_timeout(LIMIT));
    let root = {
        let starting = Root::start(&tree, "root", spec);
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(starting))
            .expect("the tree starts")
    };
    while *running.lock().expect("count") == 0 {
        std::thread::yield_now();
    }
    slot.cast(OwnerMessage::Crash).expect("it is live");
    let restarting = || {
        let info = tree.get("root/owner").expect("known");
        info.last_failure.is_some() && info.starts == 1
    };
    while !restarting() {
        std::thread::yield_now();
    }
    assert_eq!(*running.lock().expect("count"), 1);
    assert_eq!(tree.get("root/owner").map(|info| info.starts), Some(1));
    drop(closed);
    restarted(&tree, "root/owner", 2).await;
    root.stop(LIMIT).await.expect("nothing holds on");
}
