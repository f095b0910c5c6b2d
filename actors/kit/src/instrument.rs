//! `Instrumented` wraps an author's plain ractor actor: it takes the seat in the tree, times and
//! counts every handler, gives each message a span, and drops the state before the actor counts
//! as stopped.

use std::sync::Arc;
use std::time::Instant;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::Mutex;
use tracing::Instrument as _;

use crate::tree::{Mailbox, Occupancy, Seat, within};

/// An actor with a seat.
///
/// The author's state lives here and not in ractor's `State`: ractor hands that one to the
/// supervisor's mailbox when the actor ends, where it would live on until the supervisor reads it.
pub(crate) struct Instrumented<A: Actor> {
    actor: A,
    seat: Arc<Seat>,
    mailbox: Arc<Mailbox>,
    /// Never contended: ractor runs one handler at a time.
    present: Mutex<Option<Present<A::State>>>,
}

/// The author's state and the proof that it still exists. Fields drop in order: state first.
struct Present<S> {
    state: S,
    occupancy: Occupancy,
}

/// Ends the handler's clock also when the handler panics or is cut off.
struct Clock<'a> {
    seat: &'a Seat,
    mailbox: &'a Mailbox,
    begun: Instant,
    message: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("message after the actor's state was dropped")]
struct StateGone;

impl<A: Actor> Instrumented<A> {
    pub(crate) fn new(actor: A, seat: Arc<Seat>, mailbox: Arc<Mailbox>) -> Self {
        Self {
            actor,
            seat,
            mailbox,
            present: Mutex::new(None),
        }
    }

    fn clock(&self, message: bool) -> Clock<'_> {
        let begun = Instant::now();
        self.mailbox.begin(begun);
        Clock {
            seat: &self.seat,
            mailbox: &self.mailbox,
            begun,
            message,
        }
    }
}

impl Drop for Clock<'_> {
    fn drop(&mut self) {
        self.mailbox.end();
        self.seat.count_handled(self.begun.elapsed(), self.message);
    }
}

impl<A: Actor> Actor for Instrumented<A> {
    type Msg = A::Msg;
    type State = ();
    type Arguments = A::Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<A::Msg>,
        args: A::Arguments,
    ) -> Result<(), ActorProcessingErr> {
        let occupancy = self.seat.occupy(myself.get_cell(), self.mailbox.clone());
        let _clock = self.clock(false);
        let state = within(&occupancy, self.actor.pre_start(myself, args)).await?;
        *self.present.lock().await = Some(Present { state, occupancy });
        Ok(())
    }

    async fn post_start(
        &self,
        myself: ActorRef<A::Msg>,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let mut present = self.present.lock().await;
        let Present { state, occupancy } = present.as_mut().ok_or(StateGone)?;
        let _clock = self.clock(false);
        within(occupancy, self.actor.post_start(myself, state)).await
    }

    async fn handle(
        &self,
        myself: ActorRef<A::Msg>,
        message: A::Msg,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let mut present = self.present.lock().await;
        let Present { state, occupancy } = present.as_mut().ok_or(StateGone)?;
        self.mailbox.count_taken();
        let _clock = self.clock(true);
        // No parent: ractor carries the sender's span along, and actors that send to each other
        // forever would grow one chain of spans without end.
        let span = tracing::debug_span!(parent: None, "handle", actor.path = self.seat.path());
        within(
            occupancy,
            self.actor.handle(myself, message, state).instrument(span),
        )
        .await
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<A::Msg>,
        event: SupervisionEvent,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let mut present = self.present.lock().await;
        let Present { state, occupancy } = present.as_mut().ok_or(StateGone)?;
        let _clock = self.clock(false);
        within(
            occupancy,
            self.actor.handle_supervisor_evt(myself, event, state),
        )
        .await
    }

    async fn post_stop(
        &self,
        myself: ActorRef<A::Msg>,
        _state: &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let mut present = self.present.lock().await;
        let Present { state, occupancy } = present.as_mut().ok_or(StateGone)?;
        let _clock = self.clock(false);
        let result = within(occupancy, self.actor.post_stop(myself, state)).await;
        // Gone before the actor counts as stopped.
        *present = None;
        result
    }
}
