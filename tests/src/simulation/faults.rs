//! What goes wrong, and how often. Every run draws its own rates, so that some are calm enough to
//! go far and others are a storm.

use super::random::Random;
use super::world::{Happening, World};
use std::time::Duration;

pub(super) struct Faults {
    /// Whether anything goes wrong at all; not any more towards the end.
    pub active: bool,
    /// Whether events are written.
    pub events: bool,
    // In a thousand:
    pub crash_at_write: u64,
    pub slow_disk: u64,
    pub lose_message: u64,
    pub repeat_message: u64,
    pub cut_watch: u64,
    pub fail_on_node: u64,
    pub fail_container: u64,
    /// The usual time between two greater faults.
    every: Duration,
}

/// How long things go wrong.
const FAULTY: Duration = Duration::from_secs(25);

impl Faults {
    pub fn new(random: &mut Random) -> Self {
        let mut rate = |most: u64| match random.chance(250) {
            true => 0,
            false => random.between(0, most),
        };
        Self {
            active: true,
            crash_at_write: rate(12),
            slow_disk: rate(60),
            lose_message: rate(100),
            repeat_message: rate(60),
            cut_watch: rate(80),
            fail_on_node: rate(80),
            fail_container: rate(250),
            events: random.chance(150),
            every: random.millis(500, 6000),
        }
    }
}

impl World {
    pub fn begin_faults(&mut self) {
        self.after(FAULTY, Happening::Heal);
        self.plan_fault();
    }

    fn plan_fault(&mut self) {
        let most = u64::try_from(self.faults.every.as_millis()).unwrap_or(u64::MAX);
        let delay = self.random.millis(most / 4, most * 2);
        self.after(delay, Happening::Fault);
    }

    pub fn fault(&mut self) {
        if !self.faults.active {
            return;
        }
        let names: Vec<String> = self.machines.keys().cloned().collect();
        match self.random.below(10) {
            0 if self.server.is_up => self.crash_server("at rest"),
            1 | 2 if self.server.is_up => self.crash_controller(),
            3 if self.server.is_up => self.crash_scheduler(),
            4..=6 if !names.is_empty() => {
                let name = self.random.pick(&names).clone();
                self.crash_agent(&name);
            }
            7 if !names.is_empty() => {
                let name = self.random.pick(&names).clone();
                if self.machines.get(&name).is_some_and(|m| m.is_on) {
                    self.cut_power(&name);
                    self.add_machine_again(&name);
                }
            }
            8 => {
                let jump = self.random.millis(1, 40_000);
                self.skew += jump;
                self.say(format_args!("the clocks jump by {jump:?}"));
            }
            _ => {}
        }
        self.plan_fault();
    }

    fn add_machine_again(&mut self, name: &str) {
        let Some((cpu, pods)) = self.machines.get(name).map(|m| (m.cpu_milli, m.pods)) else {
            return;
        };
        self.add_sized_machine(name, cpu, pods);
    }

    /// From now on nothing goes wrong, and nothing that people did stands in the way.
    pub fn heal(&mut self) {
        self.say(format_args!("from now on nothing goes wrong"));
        self.faults.active = false;
        self.make_amends();
    }
}
