//! What clients ask, on its way to a server and back.

use super::Invariant;
use super::bugs::Bug;
use super::register::{Op, Ret};
use super::server::Asked;
use super::world::{Happening, World};
use kabuki_model::codec;
use kabuki_model::command::{Applied, Command};
use kabuki_model::view::View as _;
use kabuki_plane::raft::RaftError;
use kabuki_plane::raft::core::Proposed;

/// What a client learns of its call.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// It was answered.
    Answer(Ret),
    /// It did not happen. Perhaps another server is the one to ask.
    Failed { leader: Option<u64> },
    /// It may or may not have happened.
    Unknown,
}

/// Whether an error says that nothing happened.
fn is_definite(error: &RaftError) -> bool {
    !matches!(error, RaftError::Interrupted | RaftError::Timeout { .. })
}

impl World {
    pub fn call_reaches(&mut self, number: u64) {
        let Some(call) = self.calls.get(&number) else {
            return;
        };
        let (id, token) = (call.server, call.token);
        if !self.runs(id) {
            return self.end_call(number, Outcome::Failed { leader: None });
        }
        if matches!(call.op, Op::Get) {
            return self.read(id, number, token);
        }
        let command = call.command.clone();
        self.propose(id, token, command, Asked::Write { call: number });
    }

    pub fn propose(&mut self, id: u64, token: u64, command: Command, asked: Asked) {
        let command = match self.bug {
            Some(Bug::ForgetsTheCommandsTerm) => Command { term: 0, ..command },
            _ => command,
        };
        let Ok(encoded) = codec::encode(&command) else {
            let detail = "a command has no binary form".to_string();
            return self.violate(Invariant::TheCoreKeepsItsPromises, detail);
        };
        if let Some(server) = self.servers.get_mut(&id) {
            server.asked.insert(token, asked);
        }
        let proposed = Proposed {
            token,
            command,
            encoded,
        };
        self.call(id, |replica, out| replica.propose(vec![proposed], out));
    }

    fn read(&mut self, id: u64, call: u64, token: u64) {
        let least = self.audit.acknowledged;
        let asked = Asked::Read { call, least };
        if let Some(server) = self.servers.get_mut(&id) {
            server.asked.insert(token, asked);
        }
        if self.bug == Some(Bug::ReadsWithoutBarrier) {
            return self.read_ends(id, token, &Ok(()));
        }
        self.call(id, |replica, out| replica.read(token, out));
    }

    pub fn read_ends(&mut self, id: u64, token: u64, outcome: &Result<(), RaftError>) {
        let Some(Asked::Read { call, least }) = self.take_asked(id, token) else {
            return;
        };
        if let Err(error) = outcome {
            return self.end_call(call, failed(error));
        }
        let Some(server) = self.servers.get(&id) else {
            return;
        };
        let seen = server.published.revision();
        self.stats.reads += 1;
        if seen < least {
            let detail = format!("server {id} serves {seen}, {least} was acknowledged before");
            self.violate(Invariant::NoReadIsStale, detail);
        }
        let Some(server) = self.servers.get(&id) else {
            return;
        };
        let Some(key) = self.calls.get(&call).map(|c| super::clients::key(c.key)) else {
            return;
        };
        let found = server.published.get(&key);
        let found = found.map(|o| (o.uid.parse().unwrap_or_default(), o.revision));
        self.end_call(call, Outcome::Answer(Ret::Got(found)));
    }

    pub fn write_ends(&mut self, token: u64, asked: &Asked, outcome: Applied) {
        match asked {
            Asked::Write { call } => {
                let ret = match outcome {
                    Applied::Committed(changes) => {
                        self.stats.writes += 1;
                        let last = changes.last().map_or(0, |c| c.revision());
                        self.audit_acknowledged(token, last);
                        Ret::Done(changes.first().map_or(0, |c| c.revision()))
                    }
                    Applied::Refused { found, .. } => Ret::Refused(found),
                    Applied::StaleTerm { current } => {
                        let detail = format!("a client's command is stale in term {current}");
                        return self.violate(Invariant::OldLeadersAreRefused, detail);
                    }
                };
                self.end_call(*call, Outcome::Answer(ret));
            }
            _ => match outcome {
                Applied::Committed(changes) => {
                    let last = changes.last().map_or(0, |c| c.revision());
                    self.audit_acknowledged(token, last);
                }
                Applied::StaleTerm { .. } => self.stats.stale += 1,
                Applied::Refused { .. } => {}
            },
        }
    }

    pub fn write_fails(&mut self, token: u64, asked: &Asked, error: &RaftError) {
        if is_definite(error) {
            self.audit_refused(token);
        }
        if let Asked::Write { call } = asked {
            match failed(error) {
                Outcome::Unknown => self.interrupted(*call),
                outcome => self.end_call(*call, outcome),
            }
        }
    }

    /// The server has gone.
    pub fn connection_lost(&mut self, _token: u64, asked: &Asked) {
        if let Asked::Write { call } | Asked::Read { call, .. } = asked {
            self.interrupted(*call);
        }
    }

    fn interrupted(&mut self, number: u64) {
        if self.bug != Some(Bug::RepeatsWhatWasInterrupted) {
            return self.end_call(number, Outcome::Unknown);
        }
        let servers = self.running();
        if servers.is_empty() {
            return;
        }
        let server = *self.random.pick(&servers);
        if let Some(call) = self.calls.get_mut(&number) {
            call.server = server;
            let delay = self.random.millis(1, 300);
            self.after(delay, Happening::CallReaches { call: number });
        }
    }

    /// The answer goes to the client, unless it is lost.
    fn end_call(&mut self, call: u64, outcome: Outcome) {
        if self.faults.active && self.random.chance(self.faults.lose_answer) {
            return;
        }
        let delay = self.random.micros(50, 1500);
        self.after(delay, Happening::CallEnds { call, outcome });
    }
}

fn failed(error: &RaftError) -> Outcome {
    match error {
        RaftError::NotLeader { leader } => Outcome::Failed { leader: *leader },
        error if is_definite(error) => Outcome::Failed { leader: None },
        _ => Outcome::Unknown,
    }
}
