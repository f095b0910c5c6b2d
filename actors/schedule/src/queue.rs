//! The pods that wait to be placed.
//!
//! ```text
//!   put ──> ready ──take──> deciding ──done──> (nothing)
//!             ^                │  │
//!             │      retry ────┘  └──── park
//!             │        v                 v
//!             └──── backing off <─── parked (until something could help)
//! ```
//!
//! Ready pods come by priority, then first come, first served. A parked pod comes back only when
//! a change could help it, and not before its back-off has passed.

use crate::cluster::Cluster;
use crate::pod::Pending;
use jiff::{SignedDuration, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The first back-off; doubled with each further failure.
const BACKOFF_INITIAL: SignedDuration = SignedDuration::from_secs(1);
/// The longest back-off.
const BACKOFF_MAX: SignedDuration = SignedDuration::from_secs(10);

/// Pods that wait.
#[derive(Debug, Default)]
pub struct Queue {
    entries: HashMap<Arc<str>, Entry>,
    ready: BTreeSet<(Reverse<i32>, u64, Arc<str>)>,
    backing_off: BTreeSet<(Timestamp, Arc<str>)>,
    parked: BTreeSet<Arc<str>>,
    arrivals: u64,
}

#[derive(Debug)]
struct Entry {
    pod: Arc<Pending>,
    place: Place,
    failures: u32,
    failed_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready(u64),
    Deciding,
    BackingOff(Timestamp),
    Parked,
}

impl Queue {
    /// Adds a pod, or its newer form. A parked pod whose wishes are others is tried again.
    pub fn put(&mut self, pod: Arc<Pending>, now: Timestamp) {
        let uid = pod.uid.clone();
        let Some(entry) = self.entries.get_mut(&uid) else {
            let entry = Entry {
                pod,
                place: Place::Deciding,
                failures: 0,
                failed_at: Timestamp::MIN,
            };
            self.entries.insert(uid.clone(), entry);
            return self.make_ready(&uid);
        };
        let other = entry.pod.class.identity != pod.class.identity;
        let moved = entry.pod.priority != pod.priority;
        let place = entry.place;
        if let Place::Ready(arrival) = place
            && moved
        {
            let before = (Reverse(entry.pod.priority), arrival, uid.clone());
            self.ready.remove(&before);
            self.ready
                .insert((Reverse(pod.priority), arrival, uid.clone()));
        }
        entry.pod = pod;
        if place == Place::Parked && other {
            self.unpark(&uid, now);
        }
    }

    /// Takes a pod out: it has a node, or is gone.
    pub fn remove(&mut self, uid: &Arc<str>) {
        self.displace(uid);
        self.entries.remove(uid);
    }

    /// The next pods to decide about, at most `limit`.
    pub fn take(&mut self, now: Timestamp, limit: usize) -> Vec<Arc<Pending>> {
        while let Some((at, uid)) = self.backing_off.first().cloned() {
            if at > now {
                break;
            }
            self.make_ready(&uid);
        }
        let mut taken = Vec::new();
        while taken.len() < limit {
            let Some((_, _, uid)) = self.ready.pop_first() else {
                break;
            };
            if let Some(entry) = self.entries.get_mut(&uid) {
                entry.place = Place::Deciding;
                taken.push(entry.pod.clone());
            }
        }
        taken
    }

    /// No node takes the pod: it waits until something could help.
    pub fn park(&mut self, uid: &Arc<str>, now: Timestamp) {
        if let Some(entry) = self
            .entries
            .get_mut(uid)
            .filter(|e| e.place == Place::Deciding)
        {
            entry.failures = entry.failures.saturating_add(1);
            entry.failed_at = now;
            entry.place = Place::Parked;
            self.parked.insert(uid.clone());
        }
    }

    /// There is no node at all: the pod waits for one, and has not failed.
    pub fn wait_for_node(&mut self, uid: &Arc<str>) {
        if let Some(entry) = self
            .entries
            .get_mut(uid)
            .filter(|e| e.place == Place::Deciding)
        {
            entry.place = Place::Parked;
            self.parked.insert(uid.clone());
        }
    }

    /// The decision could not be carried out: the pod comes again after its back-off.
    pub fn retry(&mut self, uid: &Arc<str>, now: Timestamp) {
        self.park(uid, now);
        if self.parked.contains(uid) {
            self.unpark(uid, now);
        }
    }

    /// A node changed: the parked pods that it would now take come again, after their back-off.
    pub fn node_changed(&mut self, cluster: &Cluster, node: &str, now: Timestamp) {
        let mut answers: HashMap<&str, bool> = HashMap::new();
        let mut helped = Vec::new();
        for uid in &self.parked {
            let Some(entry) = self.entries.get(uid) else {
                continue;
            };
            let class = &entry.pod.class;
            let takes = answers
                .entry(&class.identity)
                .or_insert_with(|| cluster.takes(node, class));
            if *takes {
                helped.push(uid.clone());
            }
        }
        for uid in helped {
            self.unpark(&uid, now);
        }
    }

    /// When the next pod comes out of its back-off.
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        self.backing_off.first().map(|(at, _)| *at)
    }

    /// Whether a pod is ready to be decided about.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many pods wait, in whatever way.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn unpark(&mut self, uid: &Arc<str>, now: Timestamp) {
        let Some(entry) = self.entries.get(uid) else {
            return;
        };
        let doublings = entry.failures.saturating_sub(1).min(8);
        let wait = (BACKOFF_INITIAL * (1 << doublings)).min(BACKOFF_MAX);
        let due = entry.failed_at.checked_add(wait).unwrap_or(now);
        if due <= now {
            return self.make_ready(uid);
        }
        self.displace(uid);
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.place = Place::BackingOff(due);
            self.backing_off.insert((due, uid.clone()));
        }
    }

    fn make_ready(&mut self, uid: &Arc<str>) {
        self.displace(uid);
        self.arrivals += 1;
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.place = Place::Ready(self.arrivals);
            self.ready
                .insert((Reverse(entry.pod.priority), self.arrivals, uid.clone()));
        }
    }

    /// Takes a pod out of wherever it waits.
    fn displace(&mut self, uid: &Arc<str>) {
        let Some(entry) = self.entries.get(uid) else {
            return;
        };
        match entry.place {
            Place::Deciding => {}
            Place::Ready(arrival) => {
                self.ready
                    .remove(&(Reverse(entry.pod.priority), arrival, uid.clone()));
            }
            Place::BackingOff(at) => {
                self.backing_off.remove(&(at, uid.clone()));
            }
            Place::Parked => {
                self.parked.remove(uid);
            }
        }
    }
}
