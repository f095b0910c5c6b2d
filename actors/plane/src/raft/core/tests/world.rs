//! The modelled world: who runs, what is on their disks, and what is on its way.

use super::super::election::mix;
use super::super::*;
use crate::raft::RaftError;
use eraftpb::Message;
use kabuki_model::command::{Command, Expect, Op};
use kabuki_model::{ObjectKey, Resource, codec};
use server::Server;
use std::collections::BTreeMap;

mod judging;
mod performing;
mod server;

#[derive(Clone, Copy)]
pub(super) struct Faults {
    /// One message in so many is lost, or comes twice.
    messages: u64,
    /// One step in so many is a crash.
    crashes: u64,
    /// One step in so many changes the servers, or who can reach whom.
    changes: u64,
}

impl Faults {
    pub(super) const NONE: Self = Self {
        messages: u64::MAX,
        crashes: u64::MAX,
        changes: u64::MAX,
    };
    pub(super) const ALL: Self = Self::every(60);

    /// A crash in so many steps, and other things accordingly.
    pub(super) const fn every(steps: u64) -> Self {
        Self {
            messages: steps / 6 + 3,
            crashes: steps,
            changes: steps,
        }
    }
}

pub(super) struct World {
    pub(super) faults: Faults,
    seed: u64,
    draws: u64,
    servers: BTreeMap<u64, Server>,
    network: Vec<Message>,
    snapshots: Vec<Message>,
    cut: Option<u64>,
    next_token: u64,
    /// What was proposed, by token.
    proposed: BTreeMap<u64, String>,
    /// The revision of what was acknowledged.
    pub(super) acknowledged: BTreeMap<u64, u64>,
    /// What a read must see at least.
    reads: BTreeMap<u64, u64>,
    refused: BTreeMap<u64, RaftError>,
    reconfigured: BTreeMap<u64, Result<(), RaftError>>,
    leaders: BTreeMap<u64, u64>,
    pub(super) snapshots_sent: u64,
    pub(super) reads_served: u64,
    /// Answers to messages of a leader with or about entries.
    pub(super) appends_answered: u64,
    /// Messages of a leader about entries that were sent before.
    pub(super) notices: u64,
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Resource::CONFIG_MAPS, "default", name)
}

impl World {
    pub(super) fn of(count: u64, seed: u64, faults: Faults) -> Self {
        let mut world = Self {
            faults,
            seed,
            draws: 0,
            servers: BTreeMap::new(),
            network: Vec::new(),
            snapshots: Vec::new(),
            cut: None,
            next_token: 0,
            proposed: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            reads: BTreeMap::new(),
            refused: BTreeMap::new(),
            reconfigured: BTreeMap::new(),
            leaders: BTreeMap::new(),
            snapshots_sent: 0,
            reads_served: 0,
            appends_answered: 0,
            notices: 0,
        };
        let ids: Vec<u64> = (1..=count).collect();
        for id in &ids {
            world.servers.insert(*id, Server::founded(*id, ids.clone()));
        }
        ids.iter().for_each(|id| world.start(*id));
        world
    }

    pub(super) fn join(&mut self, id: u64) {
        self.servers.insert(id, Server::founded(id, Vec::new()));
        self.start(id);
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.draws += 1;
        mix(self.seed, self.draws) % below
    }

    fn one_in(&mut self, many: u64) -> bool {
        many != u64::MAX && self.draw(many) == 0
    }

    fn pick(&mut self) -> u64 {
        let at = self.draw(self.servers.len() as u64) as usize;
        *self.servers.keys().nth(at).expect("in range")
    }

    pub(super) fn replica(&self, id: u64) -> &Replica {
        self.servers[&id].replica.as_ref().expect("it runs")
    }

    pub(super) fn start(&mut self, id: u64) {
        let server = self.servers.get_mut(&id).expect("it is known");
        server.starts += 1;
        let config = ReplicaConfig {
            id,
            seed: mix(self.seed ^ id, server.starts),
            entry_version: ENTRY_VERSION,
            snapshot_bytes: 4 << 10,
            snapshot_commands: 30,
            // In every other world each entry counts as one that follows another closely.
            close_entries: if self.seed.is_multiple_of(2) {
                1
            } else {
                u32::MAX
            },
        };
        let mut effects = Vec::new();
        let replica = Replica::start(config, server.disk.clone(), &mut effects);
        server.replica = Some(replica.expect("it starts"));
        self.perform(id, effects);
    }

    /// What was not durable is gone.
    pub(super) fn stop(&mut self, id: u64) {
        let server = self.servers.get_mut(&id).expect("it is known");
        server.replica = None;
        server.appends.clear();
        server.saving = None;
        server.fetches.clear();
        server.wakes.clear();
        server.to_be_reminded = false;
        server.awake = false;
        server.reported = 0;
    }

    /// Tells the replica what is durable, then calls it.
    fn call(
        &mut self,
        id: u64,
        call: impl FnOnce(&mut Replica, &mut Vec<Effect>) -> Result<(), CoreError>,
    ) {
        self.report(id);
        self.call_alone(id, call);
        self.report_if_it_waits(id);
    }

    fn report_if_it_waits(&mut self, id: u64) {
        let replica = self.servers[&id].replica.as_ref();
        if replica.is_some_and(Replica::waits_for_disk) {
            self.report(id);
        }
    }

    fn report(&mut self, id: u64) {
        let server = self.servers.get_mut(&id).expect("it is known");
        let number = std::mem::take(&mut server.reported);
        if number > 0 {
            self.call_alone(id, |replica, out| replica.persisted(number, out));
        }
    }

    fn call_alone(
        &mut self,
        id: u64,
        call: impl FnOnce(&mut Replica, &mut Vec<Effect>) -> Result<(), CoreError>,
    ) {
        let mut effects = Vec::new();
        let server = self.servers.get_mut(&id).expect("it is known");
        if let Some(replica) = &mut server.replica {
            call(replica, &mut effects).expect("no invariant is broken");
        }
        self.perform(id, effects);
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    pub(super) fn propose(&mut self, id: u64, name: &str) -> u64 {
        let token = self.token();
        let command = Command {
            term: 0,
            ops: vec![Op::Put {
                key: key(&format!("{name}-{token}")),
                uid: "u".into(),
                json: b"{}".as_slice().into(),
                expect: Expect::Absent,
            }],
        };
        self.proposed.insert(token, format!("{name}-{token}"));
        let encoded = codec::encode(&command).expect("encodes");
        let proposed = Proposed {
            token,
            command,
            encoded,
        };
        self.call(id, |replica, out| replica.propose(vec![proposed], out));
        token
    }

    fn read(&mut self, id: u64) {
        if self.servers[&id].replica.is_none() {
            return;
        }
        let token = self.token();
        let least = self.acknowledged.values().max().copied();
        self.reads.insert(token, least.unwrap_or_default());
        self.call(id, |replica, out| replica.read(token, out));
    }

    pub(super) fn peer_lost(&mut self, id: u64, other: u64) {
        self.call(id, |replica, out| replica.peer_lost(other, out));
    }

    pub(super) fn reconfigure(&mut self, id: u64, change: &Reconfigure) -> Result<(), RaftError> {
        let token = self.token();
        self.call(id, |replica, out| replica.reconfigure(token, change, out));
        self.run_until("the change", |w| w.reconfigured.contains_key(&token));
        self.reconfigured[&token].clone()
    }

    /// A random event.
    pub(super) fn step(&mut self) {
        let id = self.pick();
        if self.one_in(self.faults.crashes) {
            self.stop(id);
        } else if self.servers[&id].replica.is_none() && self.faults.crashes != u64::MAX {
            self.start(id);
        }
        if self.one_in(self.faults.changes) {
            self.disturb(id);
        }
        match self.draw(19) {
            0..9 => self.deliver(),
            9..13 => {
                self.sync(id);
                // Hears of it only if it waits for it.
                self.report_if_it_waits(id);
            }
            13 => self.call(id, |replica, out| replica.tick(out)),
            14 => self.deliver_snapshot(),
            15 => self.finish_files(id),
            16 => {
                let server = self.servers.get_mut(&id).expect("it is known");
                if let Some(ticket) = server.wakes.pop() {
                    self.call(id, |replica, out| replica.wake(ticket, out));
                } else if std::mem::take(&mut server.to_be_reminded) {
                    self.call(id, |replica, out| replica.remind(out));
                }
            }
            17 => self.fetch(id),
            18 if self.faults.messages != u64::MAX => {
                self.read(id);
                self.propose(id, "c");
            }
            _ => {}
        }
    }

    /// Several appends may become durable with one sync.
    fn sync(&mut self, id: u64) {
        let count = 1 + self.draw(3);
        let server = self.servers.get_mut(&id).expect("it is known");
        let synced: Vec<_> = (0..count).filter_map(|_| server.sync()).collect();
        if let Some((number, _)) = synced.last() {
            server.reported = *number;
        }
        self.send(synced.into_iter().flat_map(|(_, m)| m).collect());
    }

    fn finish_files(&mut self, id: u64) {
        let server = self.servers.get_mut(&id).expect("it is known");
        // The log of this model keeps nothing before its snapshot.
        let keep_after = server.saving.as_ref().map(|s| s.snapshot.position().index);
        if server.save() {
            let keep_after = keep_after.unwrap_or_default();
            self.call(id, |replica, out| {
                replica.snapshot_saved(1000, keep_after, out)
            });
        }
    }

    fn fetch(&mut self, id: u64) {
        let server = self.servers.get_mut(&id).expect("it is known");
        if let Some(Fetch {
            ticket, low, high, ..
        }) = server.fetches.pop_front()
        {
            let entries = server.disk.entries.iter();
            let wanted = entries.filter(|e| (low..high).contains(&e.index));
            let entries = wanted.cloned().collect();
            self.call(id, |replica, out| replica.fetched(ticket, entries, out));
        }
    }

    fn disturb(&mut self, id: u64) {
        match self.draw(4) {
            0 => self.cut = Some(id),
            1 => self.cut = None,
            2 => {
                let other = self.pick();
                self.peer_lost(id, other);
            }
            _ => {
                let token = self.token();
                let other = self.pick();
                let members = match &self.servers[&id].replica {
                    Some(replica) => replica.members(),
                    None => return,
                };
                let mut change = Reconfigure::default();
                if members.learners.contains(&other) {
                    // One, or several by joint consensus.
                    change.promote.extend(&members.learners);
                } else if members.voters.len() > 2 && self.draw(2) == 0 {
                    self.call(id, |r, out| r.transfer(Some(other), out).map(drop));
                    return;
                } else if members.learners.is_empty() && self.servers.len() < 7 {
                    for _ in 0..=self.draw(2) {
                        let new = self.servers.len() as u64 + 1;
                        change.add_learners.push(new);
                        self.join(new);
                    }
                } else if members.voters.len() > 3 && other != id {
                    change.remove.push(other);
                } else {
                    return;
                }
                self.call(id, |replica, out| replica.reconfigure(token, &change, out));
            }
        }
    }

    fn passes(&mut self, message: &Message) -> bool {
        let cut = self
            .cut
            .is_some_and(|id| id == message.from || id == message.to);
        !cut && self.servers.contains_key(&message.to)
    }

    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        // Mostly in order.
        let at = match self.one_in(self.faults.messages) {
            true => self.draw(self.network.len() as u64) as usize,
            false => 0,
        };
        let message = self.network.remove(at);
        if !self.passes(&message) || self.one_in(self.faults.messages) {
            return;
        }
        if self.one_in(self.faults.messages) {
            self.network.push(message.clone());
        }
        let to = message.to;
        self.call(to, |replica, out| replica.step(message, out));
    }

    fn deliver_snapshot(&mut self) {
        let Some(message) = self.snapshots.pop() else {
            return;
        };
        let (from, to) = (message.from, message.to);
        let ok = self.passes(&message) && !self.one_in(self.faults.messages);
        if ok {
            let index = message.get_snapshot().get_metadata().index;
            let (snapshot, conf_state) = self.servers[&from].files[&index].clone();
            let named = message.get_snapshot().get_metadata().get_conf_state();
            assert_eq!(conf_state, *named, "the file is the one that was announced");
            let received = |replica: &mut Replica, out: &mut Vec<Effect>| {
                let taken = replica.snapshot_received(message, snapshot, None, out);
                taken.map(drop)
            };
            self.call(to, received);
        }
        self.call(from, |replica, out| replica.snapshot_sent(to, ok, out));
    }

    pub(super) fn chaos(&mut self, steps: u64) {
        for _ in 0..steps {
            self.step();
        }
    }

    pub(super) fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..200_000 {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("seed {}: never: {what}\n{}", self.seed, self.describe());
    }

    /// Tries until a write is acknowledged.
    pub(super) fn write_at_last(&mut self) {
        for _ in 0..100 {
            let leader = self.settle();
            let token = self.propose(leader, "last");
            self.run_until("an answer", |world| {
                world.acknowledged.contains_key(&token) || world.refused.contains_key(&token)
            });
            if self.acknowledged.contains_key(&token) {
                return;
            }
            self.chaos(500);
        }
        panic!("seed {}: every write is refused", self.seed);
    }

    /// Starts all that are down.
    pub(super) fn start_all(&mut self) {
        let down = self.servers.iter().filter(|(_, s)| s.replica.is_none());
        let down: Vec<u64> = down.map(|(id, _)| *id).collect();
        down.into_iter().for_each(|id| self.start(id));
    }

    /// How many are kept awake.
    pub(super) fn awake(&self) -> usize {
        self.servers.values().filter(|s| s.awake).count()
    }

    /// Runs until somebody leads and all who run have applied the same; the leader.
    pub(super) fn settle(&mut self) -> u64 {
        self.cut = None;
        self.run_until("agreement", |world| world.settled().is_some());
        self.settled().expect("it was")
    }
}
