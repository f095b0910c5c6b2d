//! The world: everything that is, the agenda of what happens next, and the loop.

use super::audit::{Audit, Invariant, Violation};
use super::bugs::Bug;
use super::clients::{Call, Client};
use super::faults::Faults;
use super::network::Network;
use super::server::Server;
use super::watching::Watcher;
use crate::simulation::random::Random;
use crate::simulation::trace::Trace;
use kabuki_plane::raft::core::Fetch;
use kabuki_plane::raft::core::eraftpb::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// What happens at some time. A `life` names the start of the server that it belongs to.
#[derive(Debug)]
pub(super) enum Happening {
    Tick {
        id: u64,
        life: u64,
    },
    Synced {
        id: u64,
        life: u64,
        fails: bool,
    },
    Reported {
        id: u64,
        life: u64,
    },
    Saved {
        id: u64,
        life: u64,
        ok: bool,
    },
    Fetched {
        id: u64,
        life: u64,
        fetch: Fetch,
    },
    Wake {
        id: u64,
        life: u64,
        ticket: u64,
    },
    Remind {
        id: u64,
        life: u64,
        number: u64,
    },
    PeerLost {
        id: u64,
        life: u64,
        peer: u64,
    },
    Crash {
        id: u64,
        life: u64,
    },
    SnapshotSent {
        from: u64,
        life: u64,
        to: u64,
        ok: bool,
    },
    SnapshotArrives {
        life: u64,
        message: Box<Message>,
        bytes: Vec<u8>,
        damaged: bool,
    },
    Arrives {
        message: Box<Message>,
    },
    Start {
        id: u64,
    },
    ClientActs {
        client: usize,
    },
    CallReaches {
        call: u64,
    },
    CallEnds {
        call: u64,
        outcome: super::calls::Outcome,
    },
    ClientGivesUp {
        call: u64,
    },
    ControllerActs,
    ControllerReaches {
        id: u64,
        command: Box<kabuki_model::command::Command>,
        token: u64,
    },
    WatcherLooks {
        watcher: usize,
    },
    MembershipLooks,
    Fault,
    Flap {
        left: u32,
        a: u64,
        b: u64,
    },
    Heal,
    Rest,
}

impl Happening {
    /// Which life of which server it happens to.
    fn place(&self) -> Option<(u64, Option<u64>)> {
        Some(match self {
            Self::Tick { id, life }
            | Self::Synced { id, life, .. }
            | Self::Reported { id, life }
            | Self::Saved { id, life, .. }
            | Self::Fetched { id, life, .. }
            | Self::Wake { id, life, .. }
            | Self::Remind { id, life, .. }
            | Self::PeerLost { id, life, .. }
            | Self::Crash { id, life } => (*id, Some(*life)),
            Self::SnapshotSent { from, life, .. } => (*from, Some(*life)),
            Self::Arrives { message } => (message.to, None),
            Self::SnapshotArrives { message, .. } => (message.to, None),
            Self::ControllerReaches { id, .. } => (*id, None),
            _ => return None,
        })
    }
}

/// What went on.
#[derive(Debug, Default, Clone)]
pub struct Stats {
    /// Things that happened.
    pub steps: u64,
    /// Starts of servers.
    pub lives: u64,
    /// Acknowledged writes.
    pub writes: u64,
    /// Linearizable reads that were served.
    pub reads: u64,
    /// Snapshots that were given to servers.
    pub snapshots: u64,
    /// Changes of the servers that took effect.
    pub changes: u64,
    /// Writes whose fate their client does not know.
    pub unknown: u64,
    /// Commands of an old leader that were refused.
    pub stale: u64,
    /// Changes that watchers were told.
    pub watched: u64,
    /// Terms with a leader.
    pub terms: u64,
}

impl Stats {
    /// Adds what went on in another run.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.lives += other.lives;
        self.writes += other.writes;
        self.reads += other.reads;
        self.snapshots += other.snapshots;
        self.changes += other.changes;
        self.unknown += other.unknown;
        self.stale += other.stale;
        self.watched += other.watched;
        self.terms += other.terms;
    }
}

/// What became of a seed.
#[derive(Debug)]
pub struct Run {
    /// What went on.
    pub stats: Stats,
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// Equal for equal runs.
    pub hash: u64,
    /// Everything that happened, when it was to be kept.
    pub trace: Vec<String>,
}

pub(super) struct World {
    pub now: Duration,
    agenda: BTreeMap<(Duration, u64), Happening>,
    arrivals: u64,
    pub random: Random,
    trace: Trace,
    pub servers: BTreeMap<u64, Server>,
    pub network: Network,
    pub faults: Faults,
    pub clients: Vec<Client>,
    pub calls: BTreeMap<u64, Call>,
    pub watchers: Vec<Watcher>,
    /// The servers that should be there.
    pub wanted: BTreeSet<u64>,
    pub audit: Audit,
    pub bug: Option<Bug>,
    pub stats: Stats,
    pub healed_at: Option<Duration>,
    numbers: u64,
    done: bool,
    pub said_last_words: bool,
}

/// Runs a seed. Of a run with a planted bug only violations of the invariant that names it count.
pub fn run(seed: u64, bug: Option<(Bug, Invariant)>, keep: bool) -> Run {
    let mut world = World::new(seed, bug, keep);
    world.go();
    Run {
        violation: world.audit.violation.take(),
        hash: world.trace.hash(),
        trace: world.trace.into_lines(),
        stats: world.stats,
    }
}

impl World {
    fn new(seed: u64, bug: Option<(Bug, Invariant)>, keep: bool) -> Self {
        let mut random = Random::new(seed);
        let ordered = random.chance(500);
        let faults = Faults::new(&mut random);
        let count = *random.pick(&[1, 3, 3, 3, 5, 5]);
        let mut world = Self {
            now: Duration::ZERO,
            agenda: BTreeMap::new(),
            arrivals: 0,
            random,
            trace: Trace::new(keep),
            servers: BTreeMap::new(),
            network: Network::new(ordered),
            faults,
            clients: Vec::new(),
            calls: BTreeMap::new(),
            watchers: Vec::new(),
            wanted: (1..=count).collect(),
            audit: Audit::new(bug.map(|(_, invariant)| invariant)),
            bug: bug.map(|(bug, _)| bug),
            stats: Stats::default(),
            healed_at: None,
            numbers: 0,
            done: false,
            said_last_words: false,
        };
        let ids: Vec<u64> = (1..=count).collect();
        world.audit.found(&super::server::founding(&ids).0);
        for id in &ids {
            let tick = world.draw_tick();
            world.servers.insert(*id, Server::new(&ids, tick));
        }
        ids.iter().for_each(|id| world.start(*id));
        world.begin_clients();
        world.begin_watchers();
        world.begin_membership();
        world.begin_faults();
        world
    }

    fn go(&mut self) {
        while !self.done && self.audit.violation.is_none() {
            let Some(((at, _), happening)) = self.agenda.pop_first() else {
                return;
            };
            self.now = at;
            if let Some((id, life)) = happening.place()
                && !self.may_happen(id, life)
            {
                continue;
            }
            if let Some((id, _)) = happening.place()
                && let Some(until) = self.servers.get(&id).map(|s| s.paused_until)
                && until > self.now
            {
                self.at(until, happening);
                continue;
            }
            self.stats.steps += 1;
            self.happen(happening);
        }
        if self.audit.violation.is_none() {
            self.check_histories();
        }
    }

    /// Whether the server still lives that life. (Messages come to whatever life there is.)
    fn may_happen(&self, id: u64, life: Option<u64>) -> bool {
        let Some(server) = self.servers.get(&id) else {
            return false;
        };
        life.is_none_or(|life| life == server.life && server.replica.is_some())
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick { id, life } => self.tick(id, life),
            Happening::Synced { id, fails, .. } => self.synced(id, fails),
            Happening::Reported { id, .. } => self.call(id, |_, _| Ok(())),
            Happening::Saved { id, ok, .. } => self.saved(id, ok),
            Happening::Fetched { id, fetch, .. } => self.fetched(id, fetch),
            Happening::Wake { id, ticket, .. } => self.call(id, |r, out| r.wake(ticket, out)),
            Happening::Remind { id, number, .. } => self.remind(id, number),
            Happening::PeerLost { id, peer, .. } => self.call(id, |r, out| r.peer_lost(peer, out)),
            Happening::Crash { id, .. } => self.crash_for_a_while(id, "while it writes"),
            Happening::SnapshotSent { from, to, ok, .. } => self.snapshot_sent(from, to, ok),
            Happening::SnapshotArrives {
                life,
                message,
                bytes,
                damaged,
            } => {
                self.snapshot_arrives(life, *message, &bytes, damaged);
            }
            Happening::Arrives { message } => self.arrives(*message),
            Happening::Start { id } => self.start(id),
            Happening::ClientActs { client } => self.client_acts(client),
            Happening::CallReaches { call } => self.call_reaches(call),
            Happening::CallEnds { call, outcome } => self.call_ends(call, outcome),
            Happening::ClientGivesUp { call } => self.client_gives_up(call),
            Happening::ControllerActs => self.controller_acts(),
            Happening::ControllerReaches { id, command, token } => {
                self.controller_reaches(id, *command, token);
            }
            Happening::WatcherLooks { watcher } => self.watcher_looks(watcher),
            Happening::MembershipLooks => self.membership_looks(),
            Happening::Fault => self.fault(),
            Happening::Flap { left, a, b } => self.flap(left, a, b),
            Happening::Heal => self.heal(),
            Happening::Rest => self.done = self.is_at_rest(),
        }
    }

    /// Puts something on the agenda.
    pub fn at(&mut self, at: Duration, happening: Happening) {
        self.arrivals += 1;
        self.agenda.insert((at, self.arrivals), happening);
    }

    pub fn after(&mut self, delay: Duration, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    pub fn say(&mut self, what: fmt::Arguments<'_>) {
        self.trace.line(self.now, what);
    }

    pub fn violate(&mut self, invariant: Invariant, detail: String) {
        self.say(format_args!("VIOLATED {invariant:?}: {detail}"));
        self.audit.violate(invariant, detail);
    }

    /// A number that was not given before.
    pub fn fresh(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// How long a server's ticks are: no two clocks run alike.
    pub fn draw_tick(&mut self) -> Duration {
        let nominal = super::server::TICK.as_micros() as u64;
        match self.faults.uneven_clocks {
            true => self.random.micros(nominal * 7 / 10, nominal * 14 / 10),
            false => self.random.micros(nominal * 99 / 100, nominal * 101 / 100),
        }
    }
}
