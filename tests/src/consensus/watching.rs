//! Watchers: each follows the state from some server, moves to another one when that fails, and
//! goes on there after the last revision that it saw; or lists again when that is too long ago.

use super::Invariant;
use super::bugs::Bug;
use super::world::{Happening, World};
use kabuki_model::command::Change;
use kabuki_model::view::View as _;
use kabuki_model::{ObjectKey, Resource};
use std::collections::BTreeMap;

const WATCHERS: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Watcher {
    server: u64,
    life: u64,
    /// Everything up to this revision was seen; `None`: it has to list.
    cursor: Option<u64>,
    /// It never goes back before this.
    seen: u64,
    known: BTreeMap<ObjectKey, u64>,
}

impl Watcher {
    fn takes(&mut self, change: &Change) {
        let object = &change.object;
        match change.removed {
            true => self.known.remove(&object.key),
            false => self.known.insert(object.key.clone(), object.revision),
        };
        self.cursor = Some(object.revision);
        self.seen = object.revision;
    }

    /// Whether it knows exactly what is in the state.
    pub fn agrees(&self, state: &kabuki_store::Snapshot) -> bool {
        self.cursor == Some(state.revision())
            && self.known.len() == state.len()
            && state
                .iter()
                .all(|o| self.known.get(&o.key) == Some(&o.revision))
    }
}

impl World {
    pub fn begin_watchers(&mut self) {
        for watcher in 0..WATCHERS {
            self.watchers.push(Watcher::default());
            let delay = self.random.millis(1, 300);
            self.after(delay, Happening::WatcherLooks { watcher });
        }
    }

    pub fn watcher_looks(&mut self, watcher: usize) {
        let delay = self.random.millis(3, 70);
        self.after(delay, Happening::WatcherLooks { watcher });
        let Watcher {
            server,
            life,
            cursor,
            seen,
            ..
        } = self.watchers[watcher];
        let restless = self.faults.active && self.random.chance(30);
        let lives = self.servers.get(&server).is_some_and(|s| s.life == life);
        if restless || !lives || !self.runs(server) {
            return self.move_watcher(watcher);
        }
        let Some(server) = self.servers.get(&server) else {
            return;
        };
        let published = &server.published;
        let Some(cursor) = cursor else {
            return match published.revision() < seen {
                true => self.move_watcher(watcher),
                false => self.list(watcher),
            };
        };
        if cursor > published.revision() {
            // The server is behind: it refuses, and another one may not be.
            return self.move_watcher(watcher);
        }
        let missed = server.history.since(&Resource::CONFIG_MAPS, cursor);
        let missed: Result<Vec<Change>, _> = missed.map(|all| all.cloned().collect());
        match missed {
            Ok(changes) => {
                let some = self.random.below(changes.len() + 1);
                for change in &changes[..some] {
                    self.tell_watcher(watcher, change);
                }
            }
            Err(expired) => {
                self.say(format_args!("watcher {watcher}: {expired}"));
                self.watchers[watcher].cursor = None;
            }
        }
    }

    fn move_watcher(&mut self, watcher: usize) {
        let running = self.running();
        if running.is_empty() {
            return;
        }
        let to = *self.random.pick(&running);
        let Some(server) = self.servers.get(&to) else {
            return;
        };
        let revision = server.published.revision();
        let moved = &mut self.watchers[watcher];
        (moved.server, moved.life) = (to, server.life);
        if self.bug == Some(Bug::ResumesOneTooLate) {
            moved.cursor = moved.cursor.map(|c| (c + 1).min(revision.max(c)));
        }
        let at = moved.cursor;
        self.say(format_args!(
            "watcher {watcher} goes on at {to} after {at:?}"
        ));
    }

    fn tell_watcher(&mut self, watcher: usize, change: &Change) {
        let before = self.watchers[watcher].seen;
        let revision = change.revision();
        self.stats.watched += 1;
        if revision != before + 1 || !self.audit.is_change(change) {
            let detail = format!("watcher {watcher} is told of {revision} after {before}");
            self.violate(Invariant::WatchersSeeTheSameHistory, detail);
        }
        self.watchers[watcher].takes(change);
    }

    fn list(&mut self, watcher: usize) {
        let Some(server) = self.servers.get(&self.watchers[watcher].server) else {
            return;
        };
        let state = &server.published;
        let known = state.iter().map(|o| (o.key.clone(), o.revision)).collect();
        let revision = state.revision();
        self.say(format_args!("watcher {watcher} lists at {revision}"));
        let listing = &mut self.watchers[watcher];
        listing.known = known;
        listing.cursor = Some(revision);
        listing.seen = revision;
    }
}
