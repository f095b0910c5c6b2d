//! OTP on ractor: what every actor of Kabuki stands on.
//!
//! ractor gives mailboxes, links and death notices. This crate adds what makes a system of them:
//!
//! | | |
//! |---|---|
//! | [`Root`], [`SupervisorSpec`], [`ChildSpec`] | supervision trees as data: strategy, restart intensity, backoff, ordered start and stop |
//! | [`Slot`], [`call`], [`cast`] | references that survive restarts, calls that never hang |
//! | [`Tree`], [`ActorInfo`] | the live tree: state, restarts, mailbox, longest handler of every actor |
//! | [`WorkQueue`], [`Alarm`] | a controller's queue of keys (pure), and the timer that wakes it |
//! | [`Gate`], [`outbox`] | bounds, because ractor's mailboxes have none |
//! | [`Worker`] | a thread for blocking work |
//!
//! Known here: ractor and tokio. Not known here: anything of Kabuki.
//!
//! # How to write an actor
//!
//! A plain ractor actor, a message enum that derives `RactorMessage`, a handle around a [`Slot`],
//! and a line in a supervisor:
//!
//! ```text
//!   node (rest-for-one)
//!   ├── counter        permanent
//!   └── sessions       supervisor of children that come and go
//!       └── session-1  temporary
//! ```
//!
//! ```
//! use std::time::Duration;
//! use kabuki_kit::{CallError, ChildSpec, Restart, Root, Slot, Strategy, SupervisorHandle,
//!     SupervisorSpec, Tree};
//! use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
//! use ractor_cluster::RactorMessage;
//!
//! // counter/message.rs: commands are imperative, the port is called `reply`.
//! #[derive(RactorMessage)]
//! pub enum CounterMessage {
//!     Add(u64),
//!     Read { reply: RpcReplyPort<u64> },
//! }
//!
//! // counter.rs: others hold the handle, never the enum.
//! #[derive(Clone)]
//! pub struct CounterHandle {
//!     slot: Slot<CounterMessage>,
//! }
//!
//! impl CounterHandle {
//!     pub fn new() -> Self {
//!         Self { slot: Slot::new("counter") }
//!     }
//!
//!     pub fn add(&self, amount: u64) -> Result<(), CallError> {
//!         self.slot.cast(CounterMessage::Add(amount))
//!     }
//!
//!     pub async fn read(&self) -> Result<u64, CallError> {
//!         self.slot.call(|reply| CounterMessage::Read { reply }, Duration::from_secs(2)).await
//!     }
//!
//!     // What a supervisor needs to start (and restart) it; the closure builds everything anew.
//!     pub fn child(&self, first: u64) -> ChildSpec {
//!         ChildSpec::worker("counter", &self.slot, move |_place| {
//!             (Counter, CounterArgs { first })
//!         })
//!     }
//! }
//!
//! // counter/actor.rs: configuration in the struct, what changes in the state.
//! struct Counter;
//!
//! struct CounterArgs {
//!     first: u64,
//! }
//!
//! struct CounterState {
//!     count: u64,
//! }
//!
//! impl Actor for Counter {
//!     type Msg = CounterMessage;
//!     type State = CounterState;
//!     type Arguments = CounterArgs;
//!
//!     async fn pre_start(
//!         &self,
//!         _myself: ActorRef<CounterMessage>,
//!         args: CounterArgs,
//!     ) -> Result<CounterState, ActorProcessingErr> {
//!         Ok(CounterState { count: args.first })
//!     }
//!
//!     async fn handle(
//!         &self,
//!         _myself: ActorRef<CounterMessage>,
//!         message: CounterMessage,
//!         state: &mut CounterState,
//!     ) -> Result<(), ActorProcessingErr> {
//!         match message {
//!             // A broken invariant is an `Err` (or a panic): the supervisor heals it.
//!             CounterMessage::Add(amount) => {
//!                 state.count = state.count.checked_add(amount).ok_or("counter overflowed")?;
//!             }
//!             // The caller may be gone; that is no failure of ours.
//!             CounterMessage::Read { reply } => drop(reply.send(state.count)),
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The wiring: handles first, then the tree that fills them.
//! let limit = Duration::from_secs(5);
//! let (counter, sessions) = (CounterHandle::new(), SupervisorHandle::new("sessions"));
//! let tree = Tree::new();
//! let spec = SupervisorSpec::new(Strategy::RestForOne)
//!     .intensity(5, Duration::from_secs(10))
//!     .child(counter.child(40))
//!     .child(ChildSpec::supervisor("sessions", {
//!         let sessions = sessions.clone();
//!         move |_place| {
//!             SupervisorSpec::new(Strategy::OneForOne)
//!                 .never_give_up()
//!                 .backoff(Duration::from_millis(100), Duration::from_secs(30))
//!                 .handle(&sessions)
//!         }
//!     }));
//! let root = Root::start(&tree, "node", spec).await?;
//!
//! counter.add(2)?;
//! assert_eq!(counter.read().await?, 42);
//!
//! // Crash it: the handle reaches the next incarnation.
//! tree.kill("node/counter")?;
//! while tree.get("node/counter").is_some_and(|actor| actor.starts < 2) {
//!     tokio::task::yield_now().await;
//! }
//! assert_eq!(counter.read().await?, 40);
//!
//! // A child at run time.
//! let session = Slot::new("session-1");
//! let spec = ChildSpec::worker("session-1", &session, |_place| (Counter, CounterArgs { first: 0 }));
//! sessions.start_child(spec.restart(Restart::Temporary), limit).await?;
//! sessions.terminate_child("session-1", limit).await?;
//!
//! for actor in tree.snapshot() {
//!     println!("{:30} {:10} restarts {}", actor.path, actor.state, actor.restarts);
//! }
//! root.stop(limit).await.map_err(|stuck| format!("still running: {stuck:?}"))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Rules that the kit cannot enforce
//!
//! - `pre_start` is quick: it runs inside the supervisor, which starts nothing else meanwhile.
//!   Long work goes to the first message, which the actor sends itself.
//! - Calls point down the tree or to siblings started earlier, never up: a supervisor that starts
//!   a child cannot answer that child.
//! - Work that blocks goes to a [`Worker`]; a handler that never awaits cannot be killed.

mod alarm;
mod bundle;
mod gate;
mod instrument;
mod outbox;
mod queue;
mod slot;
mod supervisor;
mod tree;
mod worker;

pub use alarm::Alarm;
pub use bundle::{Bundle, Strand};
pub use gate::{Gate, Permit, TooManyRequests};
pub use outbox::{Delivery, OutboxReceiver, OutboxSender, Pushed, outbox};
pub use queue::{Moment, QueueConfig, Rate, WorkQueue};
pub use slot::{CallError, Slot, call, cast};
pub use supervisor::{
    Backoff, ChildError, ChildInfo, ChildSpec, Intensity, Place, Restart, Root, StartError,
    Strategy, SupervisorHandle, SupervisorSpec,
};
pub use tree::{ActorInfo, ActorKind, ActorState, KillError, Tree};
pub use worker::{Worker, WorkerError};
