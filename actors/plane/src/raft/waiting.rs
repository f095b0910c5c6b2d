//! Who waits for what: the callers behind the tokens.

use super::core::Reconfigure;
use super::error::RaftError;
use super::herald::Answer;
use super::intake::Credit;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Where a caller waits for its answer.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, RaftError>>;

/// The callers of one incarnation of the actor. When they are dropped unanswered, they know that
/// it ended.
#[derive(Default)]
pub(crate) struct Waiting {
    proposals: Window,
    reads: BTreeMap<u64, Vec<Reply<()>>>,
    reconfigurations: BTreeMap<u64, Reply<()>>,
    next_token: u64,
}

/// Proposals by their tokens, which are consecutive: answered nearly in order, so that a window
/// over them is cheaper than a map.
#[derive(Default)]
struct Window {
    /// The token of the first.
    first: u64,
    proposals: VecDeque<Option<(oneshot::Sender<Answer>, Credit)>>,
}

impl Waiting {
    pub(crate) fn proposal(&mut self, reply: oneshot::Sender<Answer>, credit: Credit) -> u64 {
        let window = &mut self.proposals;
        window.proposals.push_back(Some((reply, credit)));
        window.first + window.proposals.len() as u64 - 1
    }

    pub(crate) fn answer(&mut self, token: u64, answer: Answer) {
        if let Some((reply, credit)) = self.proposals.take(token) {
            drop(credit);
            // A caller that has gone does not need to know.
            let _ = reply.send(answer);
        }
    }

    pub(crate) fn read(&mut self, replies: Vec<Reply<()>>) -> u64 {
        let token = self.token();
        self.reads.insert(token, replies);
        token
    }

    pub(crate) fn answer_reads(&mut self, tokens: &[u64], outcome: &Result<(), RaftError>) {
        let replies = tokens.iter().filter_map(|token| self.reads.remove(token));
        replies.flatten().for_each(|reply| {
            let _ = reply.send(outcome.clone());
        });
    }

    pub(crate) fn reconfiguration(&mut self, reply: Reply<()>) -> u64 {
        let token = self.token();
        self.reconfigurations.insert(token, reply);
        token
    }

    pub(crate) fn answer_reconfiguration(&mut self, token: u64, outcome: Result<(), RaftError>) {
        if let Some(reply) = self.reconfigurations.remove(&token) {
            let _ = reply.send(outcome);
        }
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }
}

impl Window {
    fn take(&mut self, token: u64) -> Option<(oneshot::Sender<Answer>, Credit)> {
        let at = usize::try_from(token.checked_sub(self.first)?).ok()?;
        let taken = self.proposals.get_mut(at)?.take();
        while self.proposals.front().is_some_and(Option::is_none) {
            self.proposals.pop_front();
            self.first += 1;
        }
        taken
    }
}

/// Reads that no incarnation of the actor has taken: all that wait share one message to it.
#[derive(Default)]
pub(crate) struct ReadQueue(Mutex<Vec<Reply<()>>>);

impl ReadQueue {
    /// Adds a read; `true` when the actor must be told.
    pub(crate) fn push(&self, reply: Reply<()>) -> bool {
        let mut waiting = self.lock();
        waiting.push(reply);
        waiting.len() == 1
    }

    pub(crate) fn take(&self) -> Vec<Reply<()>> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Reply<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change of the servers and who asked for it.
pub(crate) struct Reconfiguration {
    pub(crate) change: Reconfigure,
    pub(crate) reply: Reply<()>,
}
