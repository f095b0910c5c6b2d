//! The intake: proposals wait here, outside the mailbox, which has no bound and would cost one
//! message each. The actor takes all that wait at once.
//!
//! It outlives the actor: what no incarnation has taken, the next one takes.

use super::error::RaftError;
use super::herald::Answer;
use kabuki_model::command::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// A command on its way, with everything that its end needs.
pub(crate) struct Proposal {
    pub(crate) command: Command,
    pub(crate) encoded: Vec<u8>,
    pub(crate) reply: oneshot::Sender<Answer>,
    /// Given back when the proposal is answered or dropped.
    pub(crate) credit: Credit,
}

#[derive(Debug)]
pub(crate) struct Intake {
    waiting: Mutex<Waiting>,
    commands: AtomicUsize,
    bytes: AtomicUsize,
    max_commands: usize,
    max_bytes: usize,
}

#[derive(Default)]
struct Waiting {
    proposals: Vec<Proposal>,
    /// The actor knows that there is something to take.
    announced: bool,
}

pub(crate) struct Credit {
    intake: Arc<Intake>,
    bytes: usize,
}

impl Intake {
    pub(crate) fn new(max_commands: usize, max_bytes: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            commands: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            max_commands,
            max_bytes,
        }
    }

    /// Room for a command, or a refusal. Never waits.
    pub(crate) fn enter(self: &Arc<Self>, bytes: usize) -> Result<Credit, RaftError> {
        // The credit gives back what it took, also when that was too much.
        let credit = Credit {
            intake: self.clone(),
            bytes,
        };
        let commands = self.commands.fetch_add(1, Ordering::Relaxed) + 1;
        let total = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if commands > self.max_commands || total > self.max_bytes {
            return Err(RaftError::TooManyRequests);
        }
        Ok(credit)
    }

    /// Adds a proposal; `true` when the actor must be told.
    pub(crate) fn push(&self, proposal: Proposal) -> bool {
        let mut waiting = self.lock();
        waiting.proposals.push(proposal);
        !std::mem::replace(&mut waiting.announced, true)
    }

    /// The actor could not be told: the next proposal tells it again.
    pub(crate) fn unannounce(&self) {
        self.lock().announced = false;
    }

    /// Takes everything that waits.
    pub(crate) fn take(&self) -> Vec<Proposal> {
        let mut waiting = self.lock();
        waiting.announced = false;
        std::mem::take(&mut waiting.proposals)
    }

    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (
            self.commands.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        self.intake.commands.fetch_sub(1, Ordering::Relaxed);
        self.intake.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} proposals", self.proposals.len())
    }
}
