//! Linearizable reads: each waits until the state here includes everything that was committed
//! when it began. To learn how far that is, the leader makes sure that it still leads (one round
//! of heartbeats); all reads that wait share a round. A leader alone needs none.

use super::effect::{Effect, Effects};
use super::election::mix;
use super::replica::{CoreError, Replica};
use crate::raft::RaftError;
use raft::ReadState;
use raft::eraftpb::Message;
use std::collections::VecDeque;

/// Rounds under way: the next need not wait for the one before, but the more there are the fewer
/// share one.
const ROUNDS: usize = 2;

/// When a question that has no answer is repeated: it was lost, or the leader could not tell.
const REPEAT_TICKS: u64 = 2;

#[derive(Debug)]
pub(super) struct Reads {
    id: u64,
    /// Tells the rounds of this start from those of an earlier one, which may still be under way.
    start: u64,
    waiting: Vec<u64>,
    rounds: VecDeque<Round>,
    next_round: u64,
    /// Questions that this server has put so far.
    questions: u64,
    /// Reads that wait until this index is applied.
    known: Vec<(u64, Vec<u64>)>,
}

#[derive(Debug)]
struct Round {
    number: u64,
    tokens: Vec<u64>,
    ticks: u64,
}

impl Reads {
    pub(super) fn new(id: u64, seed: u64) -> Self {
        Self {
            id,
            start: mix(seed, u64::MAX),
            waiting: Vec::new(),
            rounds: VecDeque::new(),
            next_round: 0,
            questions: 0,
            known: Vec::new(),
        }
    }

    /// Names a question about a round. Never the same twice: raft-rs lets all questions go that
    /// came before one that is confirmed, so a late confirmation must not fit a later question.
    fn context(&mut self, number: u64) -> Vec<u8> {
        let round = [self.id, self.start, number];
        let mut context: Vec<u8> = round.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.distinguish(&mut context);
        context
    }

    fn distinguish(&mut self, context: &mut Vec<u8>) {
        self.questions += 1;
        context.extend(self.questions.to_le_bytes());
    }

    /// The number of a round of this start. What follows it tells questions apart.
    fn number(&self, context: &[u8]) -> Option<u64> {
        let (round, _) = context.split_first_chunk::<24>()?;
        let (start, number) = round.split_last_chunk::<8>()?;
        let own = [self.id, self.start].map(u64::to_le_bytes).concat();
        (start == own).then_some(u64::from_le_bytes(*number))
    }

    /// Whether rounds are under way, which may have to be repeated.
    pub(super) fn are_under_way(&self) -> bool {
        !self.rounds.is_empty()
    }
}

impl Replica {
    /// A read that wants to see all that was acknowledged before. Answered by [`Effect::Read`].
    ///
    /// # Errors
    /// A broken invariant.
    pub fn read(&mut self, token: u64, out: &mut dyn Effects) -> Result<(), CoreError> {
        self.reads.waiting.push(token);
        self.drive(out)
    }

    /// Begins a round for the reads that wait, if anybody can answer it.
    pub(super) fn ask_for_reads(&mut self) {
        let able = match self.leads() {
            // Until then it does not know what its predecessors committed.
            true => self.node.raft.commit_to_current_term() && !self.leads_without_vote(),
            false => self.leader().is_some(),
        };
        let reads = &mut self.reads;
        if reads.waiting.is_empty() || reads.rounds.len() >= ROUNDS || !able {
            return;
        }
        let number = reads.next_round;
        reads.next_round += 1;
        reads.rounds.push_back(Round {
            number,
            tokens: std::mem::take(&mut reads.waiting),
            ticks: 0,
        });
        let context = reads.context(number);
        self.node.read_index(context);
    }

    /// Its vote was taken while it leads. raft-rs would confirm a round by the word of such a
    /// leader alone when there is one voter, who may lead by now.
    fn leads_without_vote(&self) -> bool {
        self.leads() && !self.node.raft.promotable()
    }

    /// Another server asks this one for a round; the question may come twice.
    pub(super) fn asked_for_a_round(&mut self, mut message: Message) {
        if self.leads_without_vote() {
            return;
        }
        if let [question] = message.mut_entries().as_mut_slice() {
            let mut context = question.data.to_vec();
            self.reads.distinguish(&mut context);
            question.data = context.into();
            self.step_node(message);
        }
    }

    pub(super) fn tick_reads(&mut self) {
        if self.leads_without_vote() {
            return;
        }
        let mut again = Vec::new();
        for round in &mut self.reads.rounds {
            round.ticks += 1;
            if round.ticks % REPEAT_TICKS == 0 {
                again.push(round.number);
            }
        }
        for number in again {
            // Whoever answers whichever of the questions does so for all: it was asked after
            // the reads began.
            let context = self.reads.context(number);
            self.node.read_index(context);
        }
    }

    /// Takes in what raft-rs learnt, and lets those reads go for which enough is applied.
    pub(super) fn reads_may_go(&mut self, states: Vec<ReadState>, out: &mut dyn Effects) {
        for state in states {
            let Some(number) = self.reads.number(&state.request_ctx) else {
                continue;
            };
            let at = self.reads.rounds.iter().position(|r| r.number == number);
            if let Some(round) = at.and_then(|at| self.reads.rounds.remove(at)) {
                self.reads.known.push((state.index, round.tokens));
            }
        }
        if self.reads.known.is_empty() {
            return;
        }
        let applied = self.applier.applied().index;
        let ready = |(index, _): &mut (u64, Vec<u64>)| *index <= applied;
        for (_, tokens) in self.reads.known.extract_if(.., ready) {
            let outcome = Ok(());
            out.perform(Effect::Read { tokens, outcome });
        }
    }

    pub(super) fn abandon_reads(&mut self, out: &mut dyn Effects) {
        let error = match self.removed {
            true => RaftError::Removed,
            false => RaftError::NoQuorum,
        };
        let reads = &mut self.reads;
        let rounds = reads.rounds.drain(..).flat_map(|r| r.tokens);
        let known = reads.known.drain(..).flat_map(|(_, tokens)| tokens);
        let tokens: Vec<u64> = reads.waiting.drain(..).chain(rounds).chain(known).collect();
        if !tokens.is_empty() {
            let outcome = Err(error);
            out.perform(Effect::Read { tokens, outcome });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_about_one_round_differ_and_both_name_it() {
        let mut reads = Reads::new(1, 7);
        let (first, again) = (reads.context(5), reads.context(5));
        assert_ne!(first, again, "a late answer to one is none to the other");
        assert_eq!(
            (reads.number(&first), reads.number(&again)),
            (Some(5), Some(5))
        );
        let earlier_start = Reads::new(1, 8).context(5);
        assert_eq!(reads.number(&earlier_start), None);
        assert_eq!(reads.number(b"short"), None);
    }
}
