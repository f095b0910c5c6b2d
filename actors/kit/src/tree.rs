//! The live actor tree: who runs, where, and how it fares.
//!
//! A [`Tree`] is an ordinary value, made once per node and passed down; there is no global. Every
//! actor that starts through the kit takes a *seat* in it under its path (`node/pods/web-1`), and
//! keeps the seat over restarts, so counts add up over incarnations.
//!
//! Invariant: **two incarnations of one path never overlap.** An incarnation is gone only when its
//! state (and every [`Worker`](crate::Worker) thread that it started) has been dropped, and a
//! supervisor waits for that before it starts the next. ractor alone does not promise this: it
//! announces a crash before it drops the dead actor's state.
//!
//! Not known here: who supervises whom. Paths say that; supervisors decide what to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

mod info;
mod seat;

pub use info::{ActorInfo, ActorKind, ActorState};
pub(crate) use seat::{Mailbox, Occupancy, Phase, Seat, current_occupancy, within};

/// The root of one node's live actor tree. Cloning is cheap and yields the same tree.
#[derive(Clone, Debug)]
pub struct Tree {
    shared: Arc<Shared>,
}

/// Why [`Tree::kill`] did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KillError {
    /// No actor has (or recently had) this path.
    #[error("no actor at {0}")]
    Unknown(String),
    /// The path is known, but nothing runs there at this moment.
    #[error("actor {0} is not running")]
    NotRunning(String),
}

/// One place in a [`Tree`]: the tree and a path in it.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    tree: Tree,
    path: Arc<str>,
}

#[derive(Debug)]
struct Shared {
    seats: Mutex<BTreeMap<Arc<str>, Arc<Seat>>>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                seats: Mutex::default(),
            }),
        }
    }

    /// The place of a root actor called `name`.
    pub(crate) fn scope(&self, name: &str) -> Scope {
        Scope {
            tree: self.clone(),
            path: name.into(),
        }
    }

    /// All actors, each parent directly before its children.
    pub fn snapshot(&self) -> Vec<ActorInfo> {
        let seats: Vec<_> = self.seats().values().cloned().collect();
        let now = Instant::now();
        let mut actors: Vec<_> = seats.iter().map(|seat| seat.info(now)).collect();
        actors.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
        actors
    }

    /// What is known of the actor at `path`.
    pub fn get(&self, path: &str) -> Option<ActorInfo> {
        let seat = self.seats().get(path).cloned()?;
        Some(seat.info(Instant::now()))
    }

    /// Kills the actor at `path` as if it had crashed: its handler is cut off at its next await,
    /// `post_stop` does not run, its children are killed too, and its supervisor heals it.
    pub fn kill(&self, path: &str) -> Result<(), KillError> {
        let seat = self.seats().get(path).cloned();
        let seat = seat.ok_or_else(|| KillError::Unknown(path.to_owned()))?;
        if seat.kill() {
            Ok(())
        } else {
            Err(KillError::NotRunning(path.to_owned()))
        }
    }

    fn seats(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Seat>>> {
        self.shared
            .seats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn at_or_below(&self, path: &str) -> Vec<Arc<Seat>> {
        let seats = self.seats();
        let below = format!("{path}/");
        let own = seats.get(path).cloned();
        let children = seats
            .range::<str, _>((
                std::ops::Bound::Excluded(below.as_str()),
                std::ops::Bound::Unbounded,
            ))
            .take_while(|(key, _)| key.starts_with(&below))
            .map(|(_, seat)| seat.clone());
        own.into_iter().chain(children).collect()
    }
}

impl Scope {
    /// The tree that this place is in.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The path, names joined by `/`, the root's first.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The place of a child called `name`.
    pub(crate) fn child(&self, name: &str) -> Scope {
        Scope {
            tree: self.tree.clone(),
            path: format!("{}/{name}", self.path).into(),
        }
    }

    /// The seat of this path, made when it is not there yet.
    pub(crate) fn seat(&self) -> Arc<Seat> {
        let mut seats = self.tree.seats();
        let seat = seats
            .entry(self.path.clone())
            .or_insert_with(|| Arc::new(Seat::new(self.path.clone())));
        seat.clone()
    }

    /// Forgets this path and all below it.
    pub(crate) fn forget(&self) {
        let gone = self.tree.at_or_below(&self.path);
        let mut seats = self.tree.seats();
        for seat in gone {
            seats.remove(seat.path());
        }
    }

    /// Forgets every child (and all below) that `keep` does not name.
    pub(crate) fn keep_children(&self, keep: impl Fn(&str) -> bool) {
        let prefix = self.path.len() + 1;
        for seat in self.tree.at_or_below(&self.path) {
            let below = seat.path().get(prefix..).unwrap_or_default();
            let name = below.split('/').next().unwrap_or_default();
            if !below.is_empty() && !keep(name) {
                self.tree.seats().remove(seat.path());
            }
        }
    }

    /// Kills whatever still lives at this path or below and waits until it is gone. `Err` names
    /// the paths that still hold on after `limit`: a handler or thread that never yields.
    pub(crate) async fn settle(&self, limit: Duration) -> Result<(), Vec<String>> {
        let seats = self.tree.at_or_below(&self.path);
        for seat in &seats {
            seat.kill();
        }
        let deadline = tokio::time::Instant::now() + limit;
        let mut stuck = Vec::new();
        for seat in seats {
            let Some(gone) = seat.gone() else { continue };
            if tokio::time::timeout_at(deadline, gone).await.is_err() {
                stuck.push(seat.path().to_owned());
            }
        }
        if stuck.is_empty() { Ok(()) } else { Err(stuck) }
    }
}
