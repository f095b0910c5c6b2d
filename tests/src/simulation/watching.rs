//! Watches: each follower gets every change of its resource, late and in pieces. A watch is cut
//! now and then; then it resumes after the last revision that it saw, and when that is too long
//! ago it begins again with a list.

use super::Invariant;
use super::bugs::Bug;
use super::server::RETRY_WATCH;
use super::world::{Happening, World};
use kabuki_model::command::Change;
use kabuki_model::request::ListRequest;
use kabuki_model::selector::Selection;
use kabuki_model::view::View;
use kabuki_model::watch::WatchEvent;
use kabuki_model::{Resource, Stored};
use kabuki_store::event_of;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One watch.
pub(super) struct Follower {
    pub watcher: Watcher,
    resource: Resource,
    selection: Selection,
    /// The revision up to which everything was seen; `None` begins with a list.
    cursor: Option<u64>,
    known: BTreeMap<Arc<str>, Arc<Stored>>,
    /// Whether there was a whole list.
    listed: bool,
    is_scheduled: bool,
}

impl Follower {
    pub fn is_scheduled(&self) -> bool {
        self.is_scheduled
    }
}

/// Whom a watch serves.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Watcher {
    Controller { index: usize },
    Scheduler,
    Node { name: String },
}

/// What a watcher is told.
pub(super) struct Followed {
    pub object: Arc<Stored>,
    pub previous: Option<Arc<Stored>>,
    pub removed: bool,
}

impl World {
    pub fn follow(&mut self, watcher: Watcher, resource: Resource, fields: &str) {
        let mut request = ListRequest::all(resource.clone(), None);
        request.fields = fields.to_string();
        let follower = Follower {
            watcher,
            resource,
            selection: Selection::compile(&request).expect("a selection that can be read"),
            cursor: None,
            known: BTreeMap::new(),
            listed: false,
            is_scheduled: false,
        };
        let id = self.fresh();
        self.followers.insert(id, follower);
        self.schedule_delivery(id);
    }

    pub fn unfollow(&mut self, watcher: &Watcher) {
        self.followers.retain(|_, f| f.watcher != *watcher);
    }

    /// There are new changes.
    pub fn notify_followers(&mut self) {
        let behind: Vec<u64> = self.followers.keys().copied().collect();
        for id in behind {
            self.schedule_delivery(id);
        }
    }

    /// The server is back: every watch was cut.
    pub fn notify_all_followers(&mut self) {
        self.followers
            .values_mut()
            .for_each(|f| f.is_scheduled = false);
        self.notify_followers();
    }

    fn schedule_delivery(&mut self, id: u64) {
        let Some(follower) = self.followers.get_mut(&id) else {
            return;
        };
        if follower.is_scheduled {
            return;
        }
        if let Some(cursor) = follower.cursor {
            let newer = self.server.history.since(&follower.resource, cursor);
            if newer.is_ok_and(|mut changes| changes.next().is_none()) {
                return;
            }
        }
        follower.is_scheduled = true;
        let remote = matches!(follower.watcher, Watcher::Node { .. });
        let delay = match (remote, self.faults.active && self.random.chance(60)) {
            (_, true) => self.random.millis(10, 800),
            (true, false) => self.random.millis(1, 6),
            (false, false) => self.random.micros(20, 300),
        };
        self.after(delay, Happening::Deliver { follower: id });
    }

    pub fn deliver(&mut self, id: u64) {
        let Some(follower) = self.followers.get_mut(&id) else {
            return;
        };
        follower.is_scheduled = false;
        if !self.server.is_up {
            return;
        }
        if self.faults.active && self.random.chance(self.faults.cut_watch) {
            follower.is_scheduled = true;
            self.say(format_args!("watch {id} is cut"));
            return self.after(RETRY_WATCH, Happening::Deliver { follower: id });
        }
        let Some(cursor) = follower.cursor else {
            return self.begin_with_list(id);
        };
        let pending = self.server.history.since(&follower.resource, cursor);
        let pending: Vec<Change> = match pending.map(|changes| changes.cloned().collect()) {
            Ok(changes) => changes,
            Err(expired) => {
                follower.cursor = None;
                self.say(format_args!("watch {id}: {expired}"));
                return self.schedule_delivery(id);
            }
        };
        let count = pending.len();
        let some = match count {
            0 | 1 => count,
            _ => 1 + self.random.below(count),
        };
        for change in &pending[..some] {
            if self.bug == Some(Bug::LosesWatchEvent) && self.random.chance(15) {
                continue;
            }
            self.deliver_change(id, change);
        }
        self.schedule_delivery(id);
    }

    fn deliver_change(&mut self, id: u64, change: &Change) {
        let Some(follower) = self.followers.get_mut(&id) else {
            return;
        };
        let before = follower.cursor.unwrap_or(0);
        let due = self.audit.next_after(&follower.resource, before);
        follower.cursor = Some(change.revision());
        if due != Some(change.revision()) {
            let detail = format!(
                "{:?} was told of {} at {} after {before}; due was {due:?}",
                follower.watcher,
                change.object.key,
                change.revision()
            );
            return self.violate(Invariant::EveryWatcherSeesTheSameHistory, detail);
        }
        let selection = &follower.selection;
        let Some(event) = event_of(change, &|object| selection.matches(object)) else {
            return;
        };
        let followed = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let previous = follower.known.insert(object.uid.clone(), object.clone());
                Followed {
                    object,
                    previous,
                    removed: false,
                }
            }
            WatchEvent::Deleted(object) => {
                let previous = follower.known.remove(&object.uid);
                Followed {
                    object,
                    previous,
                    removed: true,
                }
            }
            WatchEvent::Bookmark { .. } => return,
        };
        let watcher = follower.watcher.clone();
        self.tell(&watcher, vec![followed]);
    }

    fn begin_with_list(&mut self, id: u64) {
        let view = self.server.view();
        let Some(follower) = self.followers.get_mut(&id) else {
            return;
        };
        follower.cursor = Some(view.revision());
        let mut stale = std::mem::take(&mut follower.known);
        let mut told = Vec::new();
        for object in view.scan(&follower.resource, None, None) {
            if !follower.selection.matches(object) {
                continue;
            }
            let previous = stale.remove(&object.uid);
            follower.known.insert(object.uid.clone(), object.clone());
            if previous
                .as_ref()
                .is_none_or(|p| p.revision != object.revision)
            {
                told.push(Followed {
                    object: object.clone(),
                    previous,
                    removed: false,
                });
            }
        }
        for (_, object) in stale {
            let previous = Some(object.clone());
            told.push(Followed {
                object,
                previous,
                removed: true,
            });
        }
        let watcher = follower.watcher.clone();
        let again = std::mem::replace(&mut follower.listed, true);
        let resource = follower.resource.clone();
        self.tell(&watcher, told);
        match &watcher {
            Watcher::Node { name } => self.node_has_list(name),
            Watcher::Controller { index } if again => self.controller_relisted(*index, &resource),
            _ => {}
        }
        self.schedule_delivery(id);
    }

    fn tell(&mut self, watcher: &Watcher, changes: Vec<Followed>) {
        match watcher {
            Watcher::Controller { index } => self.controller_told(*index, changes),
            Watcher::Scheduler => self.scheduler_told(changes),
            Watcher::Node { name } => self.node_told(name, changes),
        }
    }

    /// Every object of the resource that a node's watch has shown it.
    pub fn known_to_node(&self, name: &str) -> Vec<Arc<str>> {
        let mut uids = Vec::new();
        for follower in self.followers.values() {
            if matches!(&follower.watcher, Watcher::Node { name: n } if n == name) {
                uids.extend(follower.known.keys().cloned());
            }
        }
        uids
    }
}
