//! The agenda, and the loop that works through it.

use super::audit::{Audit, Invariant, Violation};
use super::bugs::Bug;
use super::calls::{Call, Outcome};
use super::control::{Controller, Task};
use super::faults::Faults;
use super::machine::{Done, Machine};
use super::people::People;
use super::placing::Scheduler;
use super::random::Random;
use super::server::Server;
use super::trace::Trace;
use super::watching::Follower;
use jiff::{SignedDuration, Timestamp};
use kabuki_store::HistoryLimits;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// When every run begins: 2030-01-01T00:00:00Z.
const BEGIN_S: i64 = 1_893_456_000;
/// A run that goes on for so many steps will not come to rest.
const MAX_STEPS: u64 = 150_000;

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// Of everything that happened, in its order.
    pub hash: u64,
    /// Everything that happened, when it was asked for.
    pub trace: Vec<String>,
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// How many things happened.
    pub steps: u64,
    /// How many changes were written.
    pub writes: u64,
    /// How often the server was started.
    pub lives: u64,
}

/// Runs a cluster from its first moment until it has come to rest.
pub fn run(seed: u64, bug: Option<Bug>, keep_trace: bool) -> Run {
    let mut world = World::new(seed, bug, keep_trace);
    world.begin();
    while world.violation.is_none() && world.step() {}
    if world.violation.is_none() {
        world.check_rest();
    }
    if let Some(violation) = &world.violation {
        let line = format!("violated: {violation}");
        world.trace.line(world.now, format_args!("{line}"));
    }
    Run {
        seed,
        hash: world.trace.hash(),
        steps: world.steps,
        writes: world.server.writes,
        lives: world.server.life,
        violation: world.violation,
        trace: world.trace.into_lines(),
    }
}

pub(super) struct World {
    pub now: Duration,
    /// By how much the clocks on the walls have jumped.
    pub skew: Duration,
    pub random: Random,
    pub trace: Trace,
    pub server: Server,
    pub calls: BTreeMap<u64, Call>,
    pub followers: BTreeMap<u64, Follower>,
    pub controllers: Vec<Controller>,
    pub tasks: BTreeMap<u64, Task>,
    pub scheduler: Scheduler,
    pub machines: BTreeMap<String, Machine>,
    pub people: People,
    pub faults: Faults,
    pub audit: Audit,
    pub bug: Option<Bug>,
    pub violation: Option<Violation>,
    /// The revision and number of sandboxes at which it was last looked whether all is well.
    pub rest_checked: Option<(u64, usize)>,
    agenda: BTreeMap<(Duration, u64), Happening>,
    arrivals: u64,
    steps: u64,
}

/// Something that is to happen.
pub(super) enum Happening {
    /// A request reaches the server.
    Arrive { call: u64 },
    /// The gathered batch is written.
    Write { life: u64 },
    /// An answer reaches its caller.
    Answer { call: u64, outcome: Box<Outcome> },
    /// A caller has waited long enough.
    GiveUp { call: u64 },
    /// A watch delivers.
    Deliver { follower: u64 },
    /// A controller looks at its queue.
    Wake { index: usize, life: u64 },
    /// A controller begins to work on a key.
    Reconcile { task: u64 },
    /// The scheduler decides.
    Plan { life: u64 },
    /// A machine has done something.
    Done {
        node: String,
        power: u64,
        boot: u64,
        uid: String,
        what: Box<Done>,
    },
    /// A container ends.
    Exit {
        node: String,
        power: u64,
        serial: u64,
        code: i32,
    },
    /// A node's agent starts.
    Boot { node: String, power: u64, boot: u64 },
    /// A node reports again what it could not.
    Report {
        node: String,
        boot: u64,
        uid: String,
    },
    /// A node lets a pod go again that it could not.
    Farewell {
        node: String,
        boot: u64,
        uid: String,
    },
    /// A node tries to register again.
    Register { node: String, boot: u64 },
    /// Somebody does something.
    Act,
    /// A writer counts.
    Count { writer: usize },
    /// Something goes wrong.
    Fault,
    /// The server starts again.
    Restart,
    /// From now on nothing goes wrong any more.
    Heal,
}

impl World {
    fn new(seed: u64, bug: Option<Bug>, keep_trace: bool) -> Self {
        let mut random = Random::new(seed);
        // A short memory makes watches begin again.
        let changes = if random.chance(300) { 8 } else { 4096 };
        let limits = HistoryLimits {
            changes,
            ..HistoryLimits::default()
        };
        Self {
            now: Duration::ZERO,
            skew: Duration::ZERO,
            trace: Trace::new(keep_trace),
            server: Server::new(limits),
            calls: BTreeMap::new(),
            followers: BTreeMap::new(),
            controllers: Vec::new(),
            tasks: BTreeMap::new(),
            scheduler: Scheduler::default(),
            machines: BTreeMap::new(),
            people: People::new(&mut random),
            faults: Faults::new(&mut random),
            audit: Audit::default(),
            bug,
            violation: None,
            rest_checked: None,
            agenda: BTreeMap::new(),
            arrivals: 0,
            steps: 0,
            random,
        }
    }

    fn begin(&mut self) {
        self.begin_controllers();
        self.begin_scheduler();
        self.begin_machines();
        self.begin_people();
        self.begin_faults();
    }

    /// The time on the wall.
    pub fn time(&self) -> Timestamp {
        let begin = Timestamp::from_second(BEGIN_S).expect("a time");
        let passed = SignedDuration::try_from(self.now + self.skew).expect("a short time");
        begin + passed
    }

    /// How long until `at`, by the clock on the wall.
    pub fn until(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.time())).unwrap_or(Duration::ZERO)
    }

    pub fn after(&mut self, delay: Duration, what: Happening) {
        self.arrivals += 1;
        self.agenda.insert((self.now + delay, self.arrivals), what);
    }

    /// A number that was not used before.
    pub fn fresh(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }

    pub fn say(&mut self, what: fmt::Arguments<'_>) {
        self.trace.line(self.now, what);
    }

    pub fn violate(&mut self, invariant: Invariant, detail: String) {
        self.violation
            .get_or_insert(Violation { invariant, detail });
    }

    /// Does what is next. Says whether there is more to do.
    fn step(&mut self) -> bool {
        let Some(((at, _), what)) = self.agenda.pop_first() else {
            return false;
        };
        self.now = at;
        self.steps += 1;
        if self.steps > MAX_STEPS {
            let detail = format!("still busy after {MAX_STEPS} steps");
            self.violate(Invariant::ItComesToRest, detail);
        }
        self.happen(what);
        !self.is_at_rest()
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Arrive { call } => self.arrive(call),
            Happening::Write { life } => self.write(life),
            Happening::Answer { call, outcome } => self.deliver_answer(call, *outcome),
            Happening::GiveUp { call } => self.give_up(call),
            Happening::Deliver { follower } => self.deliver(follower),
            Happening::Wake { index, life } => self.wake(index, life),
            Happening::Reconcile { task } => self.reconcile(task),
            Happening::Plan { life } => self.plan(life),
            Happening::Done {
                node,
                power,
                boot,
                uid,
                what,
            } => {
                self.done(&node, power, boot, &uid, *what);
            }
            Happening::Exit {
                node,
                power,
                serial,
                code,
            } => self.exit(&node, power, serial, code),
            Happening::Boot { node, power, boot } => self.boot(&node, power, boot),
            Happening::Report { node, boot, uid } => self.report(&node, boot, &uid),
            Happening::Farewell { node, boot, uid } => self.say_farewell(&node, boot, &uid),
            Happening::Register { node, boot } => self.register(&node, boot),
            Happening::Act => self.act(),
            Happening::Count { writer } => self.count(writer),
            Happening::Fault => self.fault(),
            Happening::Restart => self.restart_server(),
            Happening::Heal => self.heal(),
        }
    }
}
