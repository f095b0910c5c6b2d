//! Slots: references that survive restarts, and calls through them.
//!
//! ```text
//!   handle ── Slot ──> incarnation 1 (crashed)
//!                └───> incarnation 2 (live)
//! ```
//!
//! A restarted actor has a new `ActorRef`; one that somebody kept is dead for good. So a handle
//! keeps a [`Slot`], which the supervisor fills at every start. Messages sent through a slot are
//! counted for the tree's mailbox figure.
//!
//! Invariants: no call outlives its time limit; a message that was not accepted by one incarnation
//! is offered to the next; a message that *was* accepted is never sent twice, so a crash in between
//! is reported as [`CallError::Dropped`] and the caller, who knows whether the request is
//! idempotent, decides.

use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorRef, ActorStatus, Message, MessagingErr, RpcReplyPort};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::tree::Mailbox;

/// A cheap shared cell with the live incarnation of one actor. Clones share the content.
pub struct Slot<M> {
    name: Arc<str>,
    occupant: Arc<watch::Sender<Occupant<M>>>,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The actor took the request and did not answer in time. It may still act on it.
    #[error("{actor} did not answer within {limit:?}")]
    Timeout { actor: Arc<str>, limit: Duration },
    /// Nobody took the request: the actor was down for the whole time limit, or for good.
    #[error("{actor} is not available")]
    Unavailable { actor: Arc<str> },
    /// The actor took the request and dropped it unanswered: it crashed, or was stopped. It may
    /// have acted on it.
    #[error("{actor} dropped the request")]
    Dropped { actor: Arc<str> },
}

enum Occupant<M> {
    /// Not started yet, or between two incarnations.
    Vacant,
    Live(Live<M>),
    /// Ended and not coming back: callers need not wait.
    Retired,
}

struct Live<M> {
    actor: ActorRef<M>,
    mailbox: Option<Arc<Mailbox>>,
}

/// Sends a request through `slot` and waits for the answer, at most `limit` in all (waiting for a
/// restart included). `build` gets the reply port and makes the message.
pub async fn call<M, R, F>(slot: &Slot<M>, build: F, limit: Duration) -> Result<R, CallError>
where
    M: Message,
    R: Send + 'static,
    F: FnOnce(RpcReplyPort<R>) -> M,
{
    slot.call(build, limit).await
}

/// Sends a message through `slot` without waiting for anything.
pub fn cast<M: Message>(slot: &Slot<M>, message: M) -> Result<(), CallError> {
    slot.cast(message)
}

impl<M> Clone for Slot<M> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            occupant: self.occupant.clone(),
        }
    }
}

impl<M> std::fmt::Debug for Slot<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Slot").field(&self.name).finish()
    }
}

impl<M: Message> Slot<M> {
    /// An empty slot for the actor that users know as `name` (it appears in errors).
    pub fn new(name: &str) -> Self {
        let (occupant, _) = watch::channel(Occupant::Vacant);
        Self {
            name: name.into(),
            occupant: Arc::new(occupant),
        }
    }

    /// A slot around an actor that nobody supervises, for tests and for actors of other crates.
    pub fn fixed(name: &str, actor: ActorRef<M>) -> Self {
        let slot = Self::new(name);
        slot.fill(actor, None);
        slot
    }

    /// The name given to [`new`](Self::new).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The live incarnation, if there is one right now. Do not keep it: it goes stale.
    pub fn actor(&self) -> Option<ActorRef<M>> {
        self.live().map(|live| live.actor)
    }

    /// Waits until the actor is live, at most `limit`.
    pub async fn wait_live(&self, limit: Duration) -> Result<ActorRef<M>, CallError> {
        let live = self.wait(Instant::now() + limit).await?;
        Ok(live.actor)
    }

    /// Sends without waiting. Fails when the actor is down at this moment.
    pub fn cast(&self, message: M) -> Result<(), CallError> {
        let live = self.live().ok_or_else(|| self.unavailable())?;
        self.offer(&live, message)?
            .map_or(Ok(()), |_refused| Err(self.unavailable()))
    }

    /// Sends, waiting at most `limit` for a restart to finish.
    pub async fn deliver(&self, message: M, limit: Duration) -> Result<(), CallError> {
        self.deliver_until(message, Instant::now() + limit).await
    }

    /// Sends a request and waits for its answer: see [`call`].
    pub async fn call<R, F>(&self, build: F, limit: Duration) -> Result<R, CallError>
    where
        R: Send + 'static,
        F: FnOnce(RpcReplyPort<R>) -> M,
    {
        let deadline = Instant::now() + limit;
        let (reply, answer) = oneshot::channel();
        self.deliver_until(build((reply, limit).into()), deadline)
            .await?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(CallError::Dropped {
                actor: self.name.clone(),
            }),
            Err(_) => Err(CallError::Timeout {
                actor: self.name.clone(),
                limit,
            }),
        }
    }

    pub(crate) fn fill(&self, actor: ActorRef<M>, mailbox: Option<Arc<Mailbox>>) {
        self.occupant
            .send_replace(Occupant::Live(Live { actor, mailbox }));
    }

    /// The actor has ended for good: waiting callers fail now instead of at their limit.
    pub(crate) fn retire(&self) {
        self.occupant.send_replace(Occupant::Retired);
    }

    async fn deliver_until(&self, mut message: M, deadline: Instant) -> Result<(), CallError> {
        loop {
            let live = self.wait(deadline).await?;
            match self.offer(&live, message)? {
                None => return Ok(()),
                // It is dying: its mailbox has closed and its status will say so in a moment.
                Some(refused) => message = refused,
            }
            tokio::task::yield_now().await;
        }
    }

    async fn wait(&self, deadline: Instant) -> Result<Live<M>, CallError> {
        let mut changes = self.occupant.subscribe();
        loop {
            let live = match &*changes.borrow_and_update() {
                Occupant::Retired => return Err(self.unavailable()),
                occupant => occupant.live(),
            };
            if let Some(live) = live {
                return Ok(live);
            }
            match timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                _ => return Err(self.unavailable()),
            }
        }
    }

    /// Gives the message to one incarnation; gives it back when that does not take it.
    fn offer(&self, live: &Live<M>, message: M) -> Result<Option<M>, CallError> {
        if let Some(mailbox) = &live.mailbox {
            mailbox.count_send();
        }
        let refused = match live.actor.send_message(message) {
            Ok(()) => return Ok(None),
            Err(MessagingErr::SendErr(message)) => Ok(Some(message)),
            // The message is lost with the error; ractor says so only for foreign cells.
            Err(_) => Err(self.unavailable()),
        };
        if let Some(mailbox) = &live.mailbox {
            mailbox.count_taken();
        }
        refused
    }

    fn live(&self) -> Option<Live<M>> {
        self.occupant.borrow().live()
    }

    fn unavailable(&self) -> CallError {
        CallError::Unavailable {
            actor: self.name.clone(),
        }
    }
}

impl<M: Message> Occupant<M> {
    fn live(&self) -> Option<Live<M>> {
        match self {
            Self::Live(live) if live.actor.get_status() < ActorStatus::Draining => {
                Some(live.clone())
            }
            _ => None,
        }
    }
}

impl<M> Clone for Live<M> {
    fn clone(&self) -> Self {
        Self {
            actor: self.actor.clone(),
            mailbox: self.mailbox.clone(),
        }
    }
}
