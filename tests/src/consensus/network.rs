//! Messages between servers: late, lost, twice, out of order, or cut off in one direction.

use super::world::{Happening, World};
use kabuki_plane::raft::core::eraftpb::Message;
use kabuki_store::read_snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Network {
    /// Who does not reach whom.
    cuts: BTreeSet<(u64, u64)>,
    /// Whether what one server sends to another arrives in order, as on one connection.
    ordered: bool,
    arrivals: BTreeMap<(u64, u64), Duration>,
}

impl Network {
    pub fn new(ordered: bool) -> Self {
        Self {
            ordered,
            ..Self::default()
        }
    }

    pub fn cut(&mut self, from: u64, to: u64) {
        self.cuts.insert((from, to));
    }

    pub fn is_cut(&self, from: u64, to: u64) -> bool {
        self.cuts.contains(&(from, to))
    }

    pub fn mend(&mut self) {
        self.cuts.clear();
    }
}

/// A message in a few words.
pub(super) fn brief(m: &Message) -> String {
    format!(
        "{}>{} {:?} term {} at {}/{} commit {} entries {} reject {} context {:?}",
        m.from,
        m.to,
        m.get_msg_type(),
        m.term,
        m.index,
        m.log_term,
        m.commit,
        m.entries.len(),
        m.reject,
        m.context.last_chunk::<8>().map(|c| u64::from_le_bytes(*c))
    )
}

impl World {
    pub fn carry(&mut self, message: Message) {
        let link = (message.from, message.to);
        if self.network.is_cut(link.0, link.1) {
            return;
        }
        let faults = self.faults.active;
        if faults && self.random.chance(self.faults.lose_message) {
            return;
        }
        if faults && self.random.chance(self.faults.repeat_message) {
            let delay = self.random.millis(0, 400);
            let message = Box::new(message.clone());
            self.after(delay, Happening::Arrives { message });
        }
        let delay = match faults && self.random.chance(self.faults.late_message) {
            true => self.random.millis(5, 500),
            false => self.random.micros(100, 900),
        };
        let mut at = self.now + delay;
        if self.network.ordered {
            let last = self.network.arrivals.entry(link).or_default();
            at = at.max(*last + Duration::from_micros(1));
            *last = at;
        }
        let message = Box::new(message);
        self.at(at, Happening::Arrives { message });
    }

    pub fn arrives(&mut self, message: Message) {
        let id = message.to;
        if self.runs(id) {
            self.say(format_args!("{}", brief(&message)));
            self.call(id, |replica, out| replica.step(message, out));
        }
    }

    /// Sends a snapshot file, which may be lost or damaged on the way.
    pub fn carry_snapshot(&mut self, message: Message) {
        let (from, index) = (message.from, message.get_snapshot().get_metadata().index);
        let Some(server) = self.servers.get(&from) else {
            return;
        };
        let life = server.life;
        let Some((snapshot, conf_state)) = server.disk.file(index) else {
            let to = message.to;
            let happening = Happening::SnapshotSent {
                from,
                life,
                to,
                ok: false,
            };
            return self.after(Duration::ZERO, happening);
        };
        if conf_state != message.get_snapshot().get_metadata().get_conf_state() {
            let detail = format!("server {from}: the file at {index} is not the announced one");
            return self.violate(super::Invariant::SnapshotsAreWhatTheySay, detail);
        }
        let mut bytes = Vec::new();
        for piece in snapshot.encode(b"") {
            match piece {
                Ok(piece) => bytes.extend(piece),
                Err(e) => {
                    let detail = format!("a snapshot cannot be encoded: {e}");
                    return self.violate(super::Invariant::SnapshotsAreWhatTheySay, detail);
                }
            }
        }
        let mut damaged = false;
        if self.faults.active && self.random.chance(150) {
            damaged = true;
            let at = self.random.below(bytes.len());
            match self.random.chance(500) {
                true => bytes[at] ^= 1 << self.random.below(8),
                false => bytes.truncate(at),
            }
        }
        let delay = self.random.millis(2, 150);
        let message = Box::new(message);
        let happening = Happening::SnapshotArrives {
            life,
            message,
            bytes,
            damaged,
        };
        self.after(delay, happening);
    }

    pub fn snapshot_arrives(&mut self, life: u64, message: Message, bytes: &[u8], damaged: bool) {
        let (from, to) = (message.from, message.to);
        let lost = self.network.is_cut(from, to)
            || !self.runs(to)
            || (self.faults.active && self.random.chance(100));
        let mut ok = false;
        if !lost {
            match read_snapshot(bytes) {
                Ok(_) if damaged => {
                    let detail = format!("a damaged snapshot from {from} to {to} was read");
                    self.violate(super::Invariant::SnapshotsAreWhatTheySay, detail);
                }
                Ok(restored) => {
                    ok = true;
                    self.say(format_args!("{to} gets a snapshot of {from}"));
                    self.stats.snapshots += 1;
                    let snapshot = restored.snapshot;
                    self.call(to, |replica, out| {
                        let taken = replica.snapshot_received(message, snapshot, None, out);
                        taken.map(drop)
                    });
                }
                Err(e) if !damaged => {
                    let detail = format!("a snapshot from {from} to {to} cannot be read: {e}");
                    self.violate(super::Invariant::SnapshotsAreWhatTheySay, detail);
                }
                Err(_) => {}
            }
        }
        let delay = self.random.millis(1, 20);
        self.after(delay, Happening::SnapshotSent { from, life, to, ok });
    }
}
