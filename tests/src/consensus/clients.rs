//! Clients, each with one call at a time, and the leader's own writer.

use super::Invariant;
use super::calls::Outcome;
use super::register::{If, Op, Recorded, Ret};
use super::server::Asked;
use super::world::{Happening, World};
use bytes::Bytes;
use kabuki_model::command::{Command, Expect, Op as StoreOp};
use kabuki_model::view::View as _;
use kabuki_model::{ObjectKey, Resource};
use std::collections::BTreeMap;
use std::time::Duration;

/// Keys at the same time: few, so that clients meet.
const KEYS: u64 = 3;
/// Then other keys take their place: the checker's work grows with a key's history.
const CALLS_PER_KEY: u64 = 22;
/// How often the leader writes.
const OWN_PACE: Duration = Duration::from_millis(150);

#[derive(Debug, Default)]
pub(super) struct Client {
    /// Its name in the histories; another one after each call whose fate it does not know.
    thread: u64,
    /// The server that answered last, or was named as the leader.
    server: Option<u64>,
    call: Option<u64>,
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Call {
    pub client: usize,
    pub token: u64,
    pub key: u64,
    pub op: Op,
    pub command: Command,
    pub server: u64,
    /// Its place in the history.
    recorded: usize,
}

/// What clients did and saw.
#[derive(Debug, Default)]
pub(super) struct Histories {
    recorded: Vec<Option<Recorded>>,
    /// The revision of each key that somebody saw last.
    seen: BTreeMap<u64, Option<u64>>,
    order: u64,
}

pub(super) fn key(number: u64) -> ObjectKey {
    ObjectKey::new(Resource::CONFIG_MAPS, "default", &format!("key-{number}"))
}

pub(super) fn put(key: ObjectKey, uid: &str, expect: Expect) -> StoreOp {
    let json = format!(r#"{{"data":{{"value":"{uid}"}}}}"#);
    StoreOp::Put {
        key,
        uid: uid.into(),
        json: Bytes::from(json),
        expect,
    }
}

impl World {
    pub fn begin_clients(&mut self) {
        let count = 3 + self.random.below(4);
        for client in 0..count {
            let thread = self.fresh();
            self.clients.push(Client {
                thread,
                ..Client::default()
            });
            let delay = self.random.millis(1, 400);
            self.after(delay, Happening::ClientActs { client });
        }
        self.after(OWN_PACE, Happening::ControllerActs);
    }

    fn draw_op(&mut self, key: u64, token: u64) -> Op {
        let seen = self.audit.histories.seen.get(&key).copied().flatten();
        let when = match seen {
            Some(revision) => If::Revision(revision),
            None => If::Absent,
        };
        match (self.random.below(10), seen) {
            (0..4, _) => Op::Get,
            (4, Some(revision)) => Op::Delete { revision },
            (5, _) => Op::Put {
                value: token,
                when: If::Any,
            },
            _ => Op::Put { value: token, when },
        }
    }

    pub fn client_acts(&mut self, client: usize) {
        let running = self.running();
        if running.is_empty() {
            let delay = self.random.millis(50, 200);
            return self.after(delay, Happening::ClientActs { client });
        }
        let any = *self.random.pick(&running);
        self.stale_read(any);
        let follows = self.random.chance(800);
        let server = self.clients[client]
            .server
            .filter(|_| follows)
            .unwrap_or(any);
        let calls = self.audit.histories.recorded.len() as u64;
        let key = calls / (KEYS * CALLS_PER_KEY) * KEYS + self.random.next() % KEYS;
        let (token, number) = (self.fresh(), self.fresh());
        let op = self.draw_op(key, token);
        let histories = &mut self.audit.histories;
        histories.order += 1;
        let recorded = histories.recorded.len();
        histories.recorded.push(Some(Recorded {
            thread: self.clients[client].thread,
            key,
            token,
            op,
            invoked: histories.order,
            returned: None,
        }));
        let command = command(op, key, token);
        self.calls.insert(
            number,
            Call {
                client,
                token,
                key,
                op,
                command,
                server,
                recorded,
            },
        );
        self.clients[client].call = Some(number);
        self.say(format_args!(
            "client {client} asks {server}: {token} {op:?} of key {key}"
        ));
        let delay = self.random.micros(50, 1500);
        let lost = self.faults.active && self.random.chance(self.faults.lose_answer);
        if !lost {
            self.after(delay, Happening::CallReaches { call: number });
        }
        let patience = self.random.millis(400, 2500);
        self.after(patience, Happening::ClientGivesUp { call: number });
    }

    pub fn client_gives_up(&mut self, call: u64) {
        if self
            .calls
            .get(&call)
            .is_some_and(|c| self.clients[c.client].call == Some(call))
        {
            self.finish(call, Outcome::Unknown);
        }
    }

    pub fn call_ends(&mut self, call: u64, outcome: Outcome) {
        let Some(Call { client, .. }) = self.calls.get(&call) else {
            return;
        };
        if self.clients[*client].call == Some(call) {
            self.finish(call, outcome);
        }
    }

    fn finish(&mut self, number: u64, outcome: Outcome) {
        let Some(call) = self.calls.remove(&number) else {
            return;
        };
        let client = call.client;
        self.say(format_args!(
            "client {client} is told of {}: {outcome:?}",
            call.token
        ));
        self.clients[client].call = None;
        let histories = &mut self.audit.histories;
        histories.order += 1;
        let order = histories.order;
        match outcome {
            Outcome::Answer(ret) => {
                if let Some(Some(recorded)) = histories.recorded.get_mut(call.recorded) {
                    recorded.returned = Some((order, ret));
                }
                let seen = match (call.op, ret) {
                    (_, Ret::Got(found)) => found.map(|(_, revision)| revision),
                    (Op::Delete { .. }, Ret::Done(_)) => None,
                    (_, Ret::Done(revision)) => Some(revision),
                    (_, Ret::Refused(found)) => found,
                };
                histories.seen.insert(call.key, seen);
                self.clients[client].server = Some(call.server);
            }
            Outcome::Failed { leader } => {
                histories.recorded[call.recorded] = None;
                self.clients[client].server = leader;
            }
            Outcome::Unknown => {
                self.stats.unknown += 1;
                self.clients[client].thread = self.fresh();
                self.clients[client].server = None;
            }
        }
        if self
            .healed_at
            .is_none_or(|at| self.now < at + Duration::from_secs(2))
        {
            let delay = self.random.millis(2, 120);
            self.after(delay, Happening::ClientActs { client });
        }
    }

    /// What any server shows at once may be old, but it must have been so once.
    fn stale_read(&mut self, id: u64) {
        let Some(server) = self.servers.get(&id) else {
            return;
        };
        let calls = self.audit.histories.recorded.len() as u64;
        let key = key(calls / (KEYS * CALLS_PER_KEY) * KEYS);
        let published = &server.published;
        let Some(found) = published.get(&key).cloned() else {
            return;
        };
        let print = super::audit::print(&key, &found.uid, &found.json, found.revision, false);
        if found.revision > published.revision() || !self.audit.is_true(found.revision, print) {
            let detail = format!("server {id} shows {} at {}", found.uid, found.revision);
            self.violate(Invariant::EveryServerAppliesTheSame, detail);
        }
    }

    /// Every leader writes under its own term. Some of it arrives late, at whoever leads then.
    pub fn controller_acts(&mut self) {
        for id in self.running() {
            let Some(term) = self.leads(id) else {
                continue;
            };
            let token = self.fresh();
            let key = ObjectKey::new(Resource::CONFIG_MAPS, "default", "of-the-leader");
            let ops = vec![put(key, &format!("term-{term}-{token}"), Expect::Any)];
            let command = Box::new(Command { term, ops });
            let delay = match self.random.chance(250) {
                true => self.random.millis(20, 4000),
                false => self.random.micros(50, 3000),
            };
            self.after(delay, Happening::ControllerReaches { id, command, token });
        }
        if self
            .healed_at
            .is_none_or(|at| self.now < at + Duration::from_secs(2))
        {
            self.after(OWN_PACE, Happening::ControllerActs);
        }
    }

    /// The term in which the server leads, if it believes so.
    pub fn leads(&self, id: u64) -> Option<u64> {
        let now = self.servers.get(&id)?.leadership;
        now.leading.then_some(now.term)
    }

    pub fn controller_reaches(&mut self, id: u64, command: Command, token: u64) {
        let leaders: Vec<u64> = self.running();
        let leaders: Vec<u64> = leaders
            .into_iter()
            .filter(|id| self.leads(*id).is_some())
            .collect();
        let to = match leaders.is_empty() {
            true => id,
            false => *self.random.pick(&leaders),
        };
        if self.runs(to) {
            self.propose(to, token, command, Asked::Own);
        }
    }

    /// Whether what the clients saw can be explained.
    pub fn check_histories(&mut self) {
        let mut by_key: BTreeMap<u64, Vec<&Recorded>> = BTreeMap::new();
        for recorded in self.audit.histories.recorded.iter().flatten() {
            by_key.entry(recorded.key).or_default().push(recorded);
        }
        let mut found = None;
        for (key, operations) in by_key {
            let happened = |token| self.audit.happened(token);
            match super::register::is_linearizable(&operations, happened) {
                Ok(true) => continue,
                Ok(false) => found = Some(format!("key {key}: {operations:#?}")),
                Err(e) => found = Some(format!("key {key}: {e}")),
            }
            break;
        }
        if let Some(detail) = found {
            self.violate(Invariant::HistoriesAreLinearizable, detail);
        }
    }
}

fn command(op: Op, number: u64, token: u64) -> Command {
    let key = key(number);
    let uid = token.to_string();
    let ops = match op {
        Op::Get => Vec::new(),
        Op::Put { when, .. } => {
            let expect = match when {
                If::Any => Expect::Any,
                If::Absent => Expect::Absent,
                If::Revision(revision) => Expect::Revision(revision),
            };
            vec![put(key, &uid, expect)]
        }
        // The note says whose removal it was.
        Op::Delete { revision } => {
            let note = ObjectKey::new(Resource::CONFIG_MAPS, "default", &format!("note-{number}"));
            let expect = Expect::Revision(revision);
            vec![
                StoreOp::Delete { key, expect },
                put(note, &uid, Expect::Any),
            ]
        }
    };
    Command { term: 0, ops }
}
