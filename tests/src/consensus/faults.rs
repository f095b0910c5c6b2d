//! What goes wrong, and how often. Every run draws its own rates: some are calm, some a storm.

use super::bugs::Bug;
use super::world::{Happening, World};
use kabuki_plane::raft::core::Reconfigure;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Faults {
    /// Whether anything goes wrong at all; not any more towards the end.
    pub active: bool,
    pub uneven_clocks: bool,
    /// Whether servers come and go.
    members_change: bool,
    /// Whether so many may leave that one is left, instead of disks being lost.
    shrinks: bool,
    // In a thousand:
    pub lose_message: u64,
    pub repeat_message: u64,
    pub late_message: u64,
    pub lose_answer: u64,
    pub crash_at_sync: u64,
    pub failed_sync: u64,
    pub crash_at_vote: u64,
    /// The usual time between two greater faults, in milliseconds.
    every: u64,
}

/// How long things go wrong.
const FAULTY: Duration = Duration::from_secs(12);

impl Faults {
    pub fn new(random: &mut crate::simulation::random::Random) -> Self {
        let mut rate = |most: u64| match random.chance(300) {
            true => 0,
            false => random.between(0, most),
        };
        Self {
            active: true,
            lose_message: rate(120),
            repeat_message: rate(60),
            late_message: rate(120),
            lose_answer: rate(60),
            crash_at_sync: rate(6),
            failed_sync: rate(4),
            crash_at_vote: rate(200),
            every: 200 + rate(1500),
            uneven_clocks: random.chance(600),
            members_change: random.chance(700),
            shrinks: random.chance(400),
        }
    }
}

impl World {
    pub fn begin_faults(&mut self) {
        self.after(FAULTY, Happening::Heal);
        // First somebody leads.
        let delay = self.random.millis(300, 1500);
        self.after(delay, Happening::Fault);
    }

    fn any_server(&mut self) -> Option<u64> {
        let servers: Vec<u64> = self
            .servers
            .iter()
            .filter(|(_, s)| !s.gone)
            .map(|(id, _)| *id)
            .collect();
        (!servers.is_empty()).then(|| *self.random.pick(&servers))
    }

    /// Often it is the leader that matters.
    fn any_victim(&mut self) -> Option<u64> {
        let leads = |id: &u64| self.leads(*id).is_some();
        let leader = self.running().into_iter().find(leads);
        match self.random.chance(450) {
            true => leader.or_else(|| self.any_server()),
            false => self.any_server(),
        }
    }

    pub fn fault(&mut self) {
        if !self.faults.active {
            return;
        }
        let every = self.faults.every;
        let delay = self.random.millis(every / 4, every * 2);
        self.after(delay, Happening::Fault);
        let Some(victim) = self.any_victim() else {
            return;
        };
        if self.bug == Some(Bug::ReusesAnId) && self.random.chance(300) {
            self.disk_is_lost();
        }
        match self.random.below(20) {
            0..=2 => self.crash_for_a_while(victim, "at rest"),
            3 => self.crash_all(),
            4..=6 => self.part(victim),
            7 | 8 => self.mend(),
            9 => {
                let slow = self.random.chance(600);
                if let Some(server) = self.servers.get_mut(&victim) {
                    server.disk.slow = slow;
                }
            }
            10 => self.pause(victim),
            11 => self.jump(victim),
            12 => self.hand_over_anyhow(victim),
            13 => self.spurious_loss(victim),
            14 => self.nonsense(victim),
            15..=17 if self.faults.members_change => self.change_servers(),
            18 => {
                let other = self.any_server().unwrap_or(victim);
                self.flap(6, victim, other);
            }
            _ => {}
        }
    }

    fn change_servers(&mut self) {
        match self.random.below(4) {
            0 | 1 => self.server_joins(),
            2 if !self.faults.shrinks => self.disk_is_lost(),
            // A lost disk must not meet a cluster that shrinks.
            _ if self.faults.shrinks || self.wanted.len() > 5 => self.server_leaves(),
            _ => self.server_joins(),
        }
    }

    pub fn crash_for_a_while(&mut self, id: u64, why: &str) {
        self.crash(id, why);
        let delay = match self.random.chance(700) {
            true => self.random.millis(5, 400),
            false => self.random.millis(400, 4000),
        };
        self.after(delay, Happening::Start { id });
    }

    fn crash_all(&mut self) {
        for id in self.running() {
            self.crash_for_a_while(id, "with all others");
        }
    }

    fn part(&mut self, victim: u64) {
        let servers: Vec<u64> = self.servers.keys().copied().collect();
        let others: Vec<u64> = servers.iter().copied().filter(|id| *id != victim).collect();
        let how = self.random.below(5);
        self.say(format_args!("server {victim} is cut off, {how}"));
        match how {
            // From all, in both directions, or in one.
            0 => others.iter().for_each(|o| self.cut_both(victim, *o)),
            1 => others.iter().for_each(|o| self.network.cut(victim, *o)),
            2 => others.iter().for_each(|o| self.network.cut(*o, victim)),
            // From some, each in its own way.
            3 => {
                for other in others {
                    match self.random.below(4) {
                        0 => self.cut_both(victim, other),
                        1 => self.network.cut(victim, other),
                        2 => self.network.cut(other, victim),
                        _ => {}
                    }
                }
            }
            // Two parts.
            _ => {
                let sides: Vec<bool> = servers.iter().map(|_| self.random.chance(500)).collect();
                for (a, left) in servers.iter().zip(&sides) {
                    for (b, _) in servers
                        .iter()
                        .zip(&sides)
                        .filter(|(_, other)| *other != left)
                    {
                        self.network.cut(*a, *b);
                    }
                }
            }
        }
    }

    fn cut_both(&mut self, a: u64, b: u64) {
        self.network.cut(a, b);
        self.network.cut(b, a);
    }

    fn mend(&mut self) {
        self.say(format_args!("all reach each other"));
        self.network.mend();
    }

    /// A connection that breaks again and again.
    pub fn flap(&mut self, left: u32, a: u64, b: u64) {
        if left == 0 || !self.faults.active {
            return;
        }
        match left % 2 {
            0 => self.cut_both(a, b),
            _ => self.network.mend(),
        }
        self.spurious_loss(a);
        let delay = self.random.millis(30, 600);
        self.after(
            delay,
            Happening::Flap {
                left: left - 1,
                a,
                b,
            },
        );
    }

    fn pause(&mut self, id: u64) {
        let length = self.random.millis(100, 3000);
        self.say(format_args!("server {id} stands still for {length:?}"));
        let until = self.now + length;
        if let Some(server) = self.servers.get_mut(&id) {
            server.paused_until = until;
        }
    }

    /// The clock jumps: many ticks at once.
    fn jump(&mut self, id: u64) {
        let ticks = self.random.between(3, 60);
        self.say(format_args!("the clock of {id} jumps by {ticks} ticks"));
        for _ in 0..ticks {
            self.call(id, |replica, out| replica.tick(out));
        }
        let tick = self.draw_tick();
        if let Some(server) = self.servers.get_mut(&id) {
            server.tick = tick;
        }
    }

    fn hand_over_anyhow(&mut self, id: u64) {
        let to = self.any_server().filter(|_| self.random.chance(500));
        self.hand_over(id, to);
    }

    fn spurious_loss(&mut self, id: u64) {
        let Some(peer) = self.any_server() else {
            return;
        };
        match self.random.chance(500) {
            true => self.call(id, |replica, out| replica.peer_lost(peer, out)),
            false => self.call(id, |replica, out| replica.unreachable(peer, out)),
        }
    }

    /// Changes that cannot be are refused, and change nothing.
    fn nonsense(&mut self, id: u64) {
        let token = self.fresh();
        let nobody = 9_000 + token;
        let change = Reconfigure {
            promote: vec![nobody],
            remove: vec![nobody],
            ..Reconfigure::default()
        };
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        if server.replica.is_some() {
            server.asked.insert(token, super::server::Asked::Change);
            self.call(id, |replica, out| replica.reconfigure(token, &change, out));
            let pending = self
                .servers
                .get(&id)
                .is_some_and(|s| s.asked.contains_key(&token));
            if pending {
                let detail = format!("server {id} begins a change of servers that are not there");
                self.violate(super::Invariant::NoEvenNumberDecides, detail);
            }
        }
    }

    /// From now on nothing goes wrong.
    pub fn heal(&mut self) {
        self.say(format_args!("from now on nothing goes wrong"));
        self.faults.active = false;
        self.network.mend();
        let ids: Vec<u64> = self.servers.keys().copied().collect();
        for id in ids {
            if let Some(server) = self.servers.get_mut(&id) {
                server.disk.slow = false;
                server.paused_until = std::time::Duration::ZERO;
            }
            let delay = self.random.millis(1, 100);
            self.after(delay, Happening::Start { id });
        }
        self.healed_at = Some(self.now);
        self.after(Duration::from_secs(3), Happening::Rest);
    }
}
