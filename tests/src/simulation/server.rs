//! The server: admission in front of the log and the store, one batch of writes at a time.
//!
//! A batch is appended, synced, applied and answered; the process may end before, between and
//! after these steps. What ends with it: the batch, everything that was on its way to it, the
//! controllers and the scheduler. What stays: the disk.

use super::bugs::Bug;
use super::calls::Outcome;
use super::disk::Disk;
use super::world::{Happening, World};
use super::{Invariant, bugs};
use kabuki_admission::{Commit, Completed, Context, Verdict, admit, complete};
use kabuki_model::StatusError;
use kabuki_model::command::{Applied, Change};
use kabuki_model::request::{Answer, Content, ObjectList, Request};
use kabuki_model::status::Reason;
use kabuki_model::view::View;
use kabuki_store::{History, HistoryLimits, Position, Snapshot, Store};
use std::time::Duration;

/// How often a write without a precondition of its own is admitted anew.
const MAX_ATTEMPTS: u32 = 32;

pub(super) struct Server {
    pub store: Store,
    pub history: History,
    pub limits: HistoryLimits,
    pub disk: Disk,
    pub term: u64,
    pub is_up: bool,
    /// Writes that were admitted and wait for the next batch.
    proposals: Vec<Proposal>,
    /// How often it was started; what was under way in an earlier life is void.
    pub life: u64,
    pub writes: u64,
}

struct Proposal {
    call: u64,
    /// Which of the independent writes of the call.
    part: usize,
    commit: Commit,
}

impl Server {
    pub fn new(limits: HistoryLimits) -> Self {
        Self {
            store: Store::new(),
            history: History::new(limits, 0),
            limits,
            disk: Disk::default(),
            term: 1,
            is_up: true,
            proposals: Vec::new(),
            life: 1,
            writes: 0,
        }
    }

    pub fn view(&self) -> Snapshot {
        self.store.snapshot()
    }

    pub fn is_idle(&self) -> bool {
        self.proposals.is_empty()
    }
}

impl World {
    /// A request has reached the server.
    pub fn admit(&mut self, id: u64) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let mut request = call.request.clone();
        if self.bug == Some(Bug::IgnoresResourceVersion) {
            bugs::without_revision(&mut request);
        }
        let context = Context {
            now: self.time(),
            entropy: self.random.bits(),
            term: self.server.term,
        };
        let view = self.server.view();
        match admit(&view, &call.who, &request, &context) {
            Err(error) => self.answer(id, Err(error)),
            Ok(Verdict::Answer(answer)) => self.answer(id, Ok(answer)),
            Ok(Verdict::Commit(commit)) => self.propose(id, 0, commit),
            Ok(Verdict::Each(commits)) => self.propose_each(id, commits),
        }
    }

    fn propose_each(&mut self, id: u64, commits: Vec<Result<Commit, StatusError>>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.parts = commits
            .iter()
            .map(|c| c.as_ref().err().cloned().map(Err))
            .collect();
        for (part, commit) in commits.into_iter().enumerate() {
            if let Ok(commit) = commit {
                self.propose(id, part, commit);
            }
        }
        self.answer_each(id);
    }

    fn propose(&mut self, call: u64, part: usize, mut commit: Commit) {
        match self.bug {
            Some(Bug::IgnoresResourceVersion) => bugs::without_expected_revision(&mut commit),
            Some(Bug::ForgetsRequirements) => bugs::without_requirements(&mut commit),
            _ => {}
        }
        if self.server.proposals.is_empty() {
            let wait = match self.faults.active && self.random.chance(self.faults.slow_disk) {
                true => self.random.millis(20, 400),
                false => self.random.micros(100, 900),
            };
            let life = self.server.life;
            self.after(wait, Happening::Write { life });
        }
        self.server.proposals.push(Proposal { call, part, commit });
    }

    /// Writes the batch that has gathered.
    pub fn write(&mut self, life: u64) {
        if life != self.server.life || !self.server.is_up {
            return;
        }
        let batch = std::mem::take(&mut self.server.proposals);
        if self.crashes_here("before the write") {
            return;
        }
        let commands: Vec<_> = batch.iter().map(|p| p.commit.command.clone()).collect();
        let at = self.server.disk.append(self.server.term, &commands);
        self.say(format_args!("write {} of {}", at.index, commands.len()));
        if self.bug == Some(Bug::AcknowledgesBeforeSync) {
            self.apply(at, batch);
            if !self.crashes_here("before the sync") {
                self.server.disk.sync();
            }
            return;
        }
        if self.crashes_here("before the sync") {
            return;
        }
        self.server.disk.sync();
        if self.crashes_here("before the application") {
            return;
        }
        self.apply(at, batch);
        if self.faults.active && self.random.chance(10) {
            self.server.disk.compact(&self.server.store.snapshot());
            self.say(format_args!("snapshot at {}", at.index));
        }
    }

    fn apply(&mut self, at: Position, batch: Vec<Proposal>) {
        let mut outcomes = Vec::new();
        for proposal in batch {
            let mut applied = self.server.store.apply(at, &proposal.commit.command);
            if self.bug == Some(Bug::ReusesRevision) && self.random.chance(20) {
                bugs::reuse_revision(&mut applied);
            }
            if let Applied::Committed(changes) = &applied {
                self.committed(changes);
            }
            let completed = complete(proposal.commit, applied);
            outcomes.push((proposal.call, proposal.part, completed));
        }
        self.audit.applied_index = at.index;
        self.notify_followers();
        // The changes are there for ever, but nobody has been told that they are.
        if self.crashes_here("before the answers") {
            return;
        }
        for (call, part, completed) in outcomes {
            self.completed(call, part, completed);
        }
    }

    /// What was written for certain passes the auditor and goes to the watches.
    fn committed(&mut self, changes: &[Change]) {
        for change in changes {
            self.server.writes += 1;
            self.audit_change(change);
            self.server.history.push(change);
        }
    }

    fn completed(&mut self, id: u64, part: usize, completed: Completed) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if !call.parts.is_empty() {
            call.parts[part] = Some(match completed {
                Completed::Answer(answer) => Ok(answer),
                Completed::Refused(error) => Err(error),
                Completed::Retry => Err(StatusError::new(Reason::Conflict, "it changed meanwhile")),
            });
            return self.answer_each(id);
        }
        match completed {
            Completed::Answer(answer) => self.answer(id, Ok(answer)),
            Completed::Refused(error) => self.answer(id, Err(error)),
            Completed::Retry if call.attempts < MAX_ATTEMPTS => {
                call.attempts += 1;
                self.admit(id);
            }
            Completed::Retry => {
                self.answer(
                    id,
                    Err(StatusError::too_many_requests("it is always being changed")),
                );
            }
        }
    }

    /// Answers a call of independent writes when all of them are done.
    fn answer_each(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if call.parts.iter().any(Option::is_none) {
            return;
        }
        let parts = std::mem::take(&mut call.parts).into_iter().flatten();
        let content = match &call.request {
            Request::Bind(_) => Content::Bindings(parts.map(Outcome::err).collect()),
            _ => match parts.collect::<Result<Vec<Answer>, StatusError>>() {
                Ok(answers) => Content::List(ObjectList {
                    items: answers
                        .into_iter()
                        .filter_map(Answer::into_object)
                        .collect(),
                    ..ObjectList::default()
                }),
                Err(error) => return self.answer(id, Err(error)),
            },
        };
        self.answer(
            id,
            Ok(Answer {
                content,
                warnings: Vec::new(),
            }),
        );
    }

    /// Ends the process: all that is not on the disk is gone.
    pub fn crash_server(&mut self, when: &str) {
        self.say(format_args!("server crashes {when}"));
        let server = &mut self.server;
        server.is_up = false;
        server.life += 1;
        server.proposals.clear();
        server.disk.crash(&mut self.random);
        self.lose_calls_to_server();
        self.end_controllers();
        self.end_scheduler();
        let wait = self.random.millis(50, 2000);
        self.after(wait, Happening::Restart);
    }

    /// Starts the process again from what the disk has, and holds it against what was known.
    pub fn restart_server(&mut self) {
        if self.server.is_up {
            return;
        }
        let (store, entries) = self.server.disk.recover();
        self.server.store = store;
        self.server.term += 1;
        let mut news = Vec::new();
        for (at, commands) in entries {
            for command in &commands {
                let applied = self.server.store.apply(at, command);
                if let Applied::Committed(changes) = applied
                    && at.index > self.audit.applied_index
                {
                    news.push((at, changes));
                }
            }
            self.server.disk.sync();
        }
        let state = self.server.view();
        self.say(format_args!("server restarts at {state:?}"));
        for (at, changes) in news {
            // Written for certain, but the process ended before it could say so.
            for change in &changes {
                self.server.writes += 1;
                self.audit_change(change);
            }
            self.audit.applied_index = at.index;
        }
        self.server.history = History::new(self.server.limits, self.server.store.view().revision());
        let recovered = self.server.view();
        if let Err(detail) = self.audit.compare(&recovered) {
            self.violate(Invariant::NothingAcknowledgedIsLost, detail);
        }
        self.server.is_up = true;
        self.begin_controllers();
        self.begin_scheduler();
        self.notify_all_followers();
    }

    fn crashes_here(&mut self, when: &str) -> bool {
        let crashes = self.faults.active && self.random.chance(self.faults.crash_at_write);
        if crashes {
            self.crash_server(when);
        }
        crashes
    }
}

/// How long a lost watch waits before it is begun again.
pub(super) const RETRY_WATCH: Duration = Duration::from_millis(100);
