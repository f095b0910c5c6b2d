//! A server's life: it starts from what its disk holds, runs, and crashes between any two writes.

use super::Invariant;
use super::bugs::Bug;
use super::disk::Disk;
use super::world::{Happening, World};
use kabuki_model::view::View as _;
use kabuki_plane::raft::Leadership;
use kabuki_plane::raft::core::eraftpb::{ConfState, HardState};
use kabuki_plane::raft::core::{CoreError, ENTRY_VERSION, Effect, Replica, ReplicaConfig};
use kabuki_store::{History, HistoryLimits, Position, Snapshot, Store};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The pace that the core expects.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// Where the log of a new cluster begins: as if it had run for a while, so that a server that
/// joins is far behind and is caught up by a snapshot.
const FOUNDED_AT: Position = Position {
    index: 5000,
    term: 1,
};

/// What every founding server begins with; without voters, an empty state.
pub(super) fn founding(voters: &[u64]) -> (Snapshot, ConfState) {
    let mut store = Store::new();
    let mut conf_state = ConfState::default();
    if !voters.is_empty() {
        store.advance(FOUNDED_AT);
        conf_state.set_voters(voters.to_vec());
    }
    (store.snapshot(), conf_state)
}

/// Who waits for the answer to a token.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// A client's write.
    Write { call: u64 },
    /// A client's read; it must see at least this revision.
    Read { call: u64, least: u64 },
    /// A change of the servers.
    Change,
    /// A write of the leader itself.
    Own,
}

pub(super) struct Server {
    pub replica: Option<Replica>,
    pub disk: Disk,
    /// Starts so far: what belongs to an earlier life is void.
    pub life: u64,
    /// Appends up to this number are durable, and the replica has yet to hear it; else zero.
    pub reported: u64,
    /// How often it asked to be reminded: the last time counts.
    pub reminders: u64,
    /// It never runs again.
    pub gone: bool,
    /// Nothing happens here before.
    pub paused_until: Duration,
    /// The length of its ticks.
    pub tick: Duration,
    pub published: Snapshot,
    pub history: History,
    pub leadership: Leadership,
    /// The last change of the servers that it applied.
    pub changed_at: u64,
    pub asked: BTreeMap<u64, Asked>,
}

impl Server {
    pub fn new(voters: &[u64], tick: Duration) -> Self {
        let disk = Disk::new(voters);
        let published = disk.newest().0;
        Self {
            replica: None,
            life: 0,
            reminders: 0,
            reported: 0,
            gone: false,
            paused_until: Duration::ZERO,
            tick,
            history: history(&published),
            published,
            leadership: Leadership::default(),
            changed_at: 0,
            asked: BTreeMap::new(),
            disk,
        }
    }
}

/// Short, so that a watcher that was away for long has to list again.
pub(super) fn history(published: &Snapshot) -> History {
    let limits = HistoryLimits {
        changes: 200,
        bytes: 1 << 20,
    };
    History::new(limits, published.revision())
}

impl World {
    pub fn runs(&self, id: u64) -> bool {
        self.servers.get(&id).is_some_and(|s| s.replica.is_some())
    }

    pub fn running(&self) -> Vec<u64> {
        let up = self.servers.iter().filter(|(_, s)| s.replica.is_some());
        up.map(|(id, _)| *id).collect()
    }

    pub fn start(&mut self, id: u64) {
        let bug = self.bug;
        let seed = self.random.next();
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        if server.gone || server.replica.is_some() {
            return;
        }
        server.life += 1;
        let mut recovered = server.disk.recovered();
        match bug {
            Some(Bug::ForgetsItsVote) => recovered.hard_state.vote = 0,
            Some(Bug::ForgetsItsHardState) => {
                let last = recovered
                    .entries
                    .last()
                    .map_or(recovered.base.term, |e| e.term);
                recovered.hard_state = HardState {
                    term: last,
                    commit: recovered.base.index,
                    ..HardState::default()
                };
            }
            _ => {}
        }
        server.published = recovered.snapshot.clone();
        server.history = history(&server.published);
        server.leadership = Leadership::default();
        let config = ReplicaConfig {
            id,
            seed,
            entry_version: ENTRY_VERSION,
            snapshot_bytes: 24 << 10,
            snapshot_commands: 150,
            // Every other server, in most starts, takes few entries for many.
            close_entries: if seed.is_multiple_of(2) { 2 } else { 25 },
        };
        let (life, tick) = (server.life, server.tick);
        let hard_state = recovered.hard_state.clone();
        self.say(format_args!(
            "server {id} starts: term {} vote {} commit {} snapshot {} entries {}",
            hard_state.term,
            hard_state.vote,
            hard_state.commit,
            recovered.base.index,
            recovered.entries.len()
        ));
        self.stats.lives += 1;
        let mut out = Vec::new();
        let start = catch_unwind(AssertUnwindSafe(|| {
            Replica::start(config, recovered, &mut out)
        }));
        match start {
            Ok(Ok(replica)) => {
                if let Some(server) = self.servers.get_mut(&id) {
                    server.replica = Some(replica);
                }
                self.after(tick, Happening::Tick { id, life });
                self.perform(id, out);
            }
            Ok(Err(e)) => self.broken(id, &e.to_string()),
            Err(_) => self.broken(id, "it panicked at its start"),
        }
    }

    /// Tells the replica what is durable, then calls it, and performs what it wants done.
    pub fn call(
        &mut self,
        id: u64,
        call: impl FnOnce(&mut Replica, &mut Vec<Effect>) -> Result<(), CoreError>,
    ) {
        let reported = self.servers.get_mut(&id).map(|s| &mut s.reported);
        let number = reported.map_or(0, std::mem::take);
        if number > 0 {
            self.call_alone(id, |replica, out| replica.persisted(number, out));
        }
        self.call_alone(id, call);
        self.report_soon(id);
    }

    /// Tells the replica what is durable if it waits for that, which else it hears some time.
    fn report_soon(&mut self, id: u64) {
        let Some(server) = self.servers.get(&id) else {
            return;
        };
        let replica = server.replica.as_ref();
        let waits = replica.is_some_and(Replica::waits_for_disk);
        if waits && server.reported > 0 {
            let (life, delay) = (server.life, self.random.micros(0, 100));
            self.after(delay, Happening::Reported { id, life });
        }
    }

    fn call_alone(
        &mut self,
        id: u64,
        call: impl FnOnce(&mut Replica, &mut Vec<Effect>) -> Result<(), CoreError>,
    ) {
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        let Some(replica) = &mut server.replica else {
            return;
        };
        let mut out = Vec::new();
        let called = catch_unwind(AssertUnwindSafe(|| call(replica, &mut out)));
        match called {
            Ok(Ok(())) => self.perform(id, out),
            Ok(Err(e)) => self.broken(id, &e.to_string()),
            Err(_) => self.broken(id, "it panicked"),
        }
    }

    fn broken(&mut self, id: u64, why: &str) {
        let detail = format!("server {id}: {why}");
        self.violate(Invariant::TheCoreKeepsItsPromises, detail);
        self.stop(id);
        if let Some(server) = self.servers.get_mut(&id) {
            server.gone = true;
        }
    }

    /// The process ends, and with it everything that was not durable.
    pub fn crash(&mut self, id: u64, why: &str) {
        if !self.runs(id) {
            return;
        }
        let waiting = self.servers.get(&id).map_or(0, |s| s.disk.waiting());
        let survive = self.random.below(waiting + 1);
        let torn = self.random.chance(500);
        self.say(format_args!(
            "server {id} crashes {why}, {survive} of {waiting} survive"
        ));
        if let Some(server) = self.servers.get_mut(&id) {
            server.disk.crash(survive, torn);
            if self.bug == Some(Bug::DiskForgetsWhatItSynced) && self.random.chance(300) {
                server.disk.forget(8);
            }
        }
        self.audit_disk(id);
        self.stop(id);
        self.tell_of_loss(id);
    }

    /// Ends the replica and what waits for it.
    pub fn stop(&mut self, id: u64) {
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        server.replica = None;
        server.reported = 0;
        server.leadership = Leadership::default();
        let asked = std::mem::take(&mut server.asked);
        for (token, asked) in asked {
            self.connection_lost(token, &asked);
        }
    }

    /// Others notice that the connection is gone; or not.
    fn tell_of_loss(&mut self, id: u64) {
        for other in self.running() {
            if self.random.chance(600) {
                let delay = self.random.millis(0, 30);
                let life = self.servers.get(&other).map_or(0, |s| s.life);
                self.after(
                    delay,
                    Happening::PeerLost {
                        id: other,
                        life,
                        peer: id,
                    },
                );
            }
        }
    }

    pub fn tick(&mut self, id: u64, life: u64) {
        let Some(server) = self.servers.get(&id) else {
            return;
        };
        let tick = server.tick;
        if server.replica.as_ref().is_some_and(Replica::needs_ticks) {
            self.call(id, |replica, out| replica.tick(out));
        }
        self.after(tick, Happening::Tick { id, life });
    }

    pub fn remind(&mut self, id: u64, number: u64) {
        if self.servers.get(&id).is_some_and(|s| s.reminders == number) {
            self.call(id, |replica, out| replica.remind(out));
        }
    }

    /// Begins to write what waits, unless that is under way.
    pub fn sync_soon(&mut self, id: u64) {
        let faults = self.faults.active;
        let crash = faults && self.random.chance(self.faults.crash_at_sync);
        let fails = faults && self.random.chance(self.faults.failed_sync);
        let whole = self.random.chance(800);
        let part = self.random.next();
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        let waiting = server.disk.waiting();
        if server.disk.syncing > 0 || waiting == 0 {
            return;
        }
        // Usually all that waits shares a sync.
        let count = match whole {
            true => waiting,
            false => 1 + usize::try_from(part % waiting as u64).unwrap_or(0),
        };
        server.disk.syncing = count;
        let (life, slow) = (server.life, server.disk.slow);
        let delay = match slow {
            true => self.random.millis(20, 400),
            false => self.random.micros(150, 2500),
        };
        if crash {
            let within = self.random.micros(0, delay.as_micros() as u64);
            self.after(within, Happening::Crash { id, life });
        }
        self.after(delay, Happening::Synced { id, life, fails });
    }

    pub fn synced(&mut self, id: u64, fails: bool) {
        if fails {
            // The log can no longer be trusted to hold what it is given: the server starts again.
            self.crash(id, "because a sync failed");
            let delay = self.random.millis(1, 200);
            return self.after(delay, Happening::Start { id });
        }
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        let count = std::mem::take(&mut server.disk.syncing);
        let synced: Vec<_> = (0..count).filter_map(|_| server.disk.sync_one()).collect();
        self.audit_disk(id);
        if let Some((number, _)) = synced.last() {
            let number = *number;
            self.say(format_args!(
                "server {id} has {count} appends on disk, up to {number}"
            ));
            self.send(id, synced.into_iter().flat_map(|(_, m)| m).collect());
            if let Some(server) = self.servers.get_mut(&id) {
                server.reported = number;
            }
            self.report_soon(id);
        }
        self.sync_soon(id);
    }

    pub fn saved(&mut self, id: u64, ok: bool) {
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        if !ok {
            server.disk.saving = None;
            return self.call(id, |replica, _| {
                replica.snapshot_failed();
                Ok(())
            });
        }
        if let Some(keep_after) = server.disk.save() {
            self.say(format_args!("server {id} has written a snapshot"));
            self.call(id, |replica, out| {
                replica.snapshot_saved(8 << 10, keep_after, out)
            });
        }
    }
}
