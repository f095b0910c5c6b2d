//! Which server to ask first.

use super::pool::Pool;
use rand::seq::SliceRandom;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A server that failed is tried last for so long.
const PENALTY: Duration = Duration::from_secs(2);

/// What is remembered of the servers.
#[derive(Default)]
pub(super) struct Choice(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    last_good: Option<String>,
    failed: HashMap<String, Instant>,
}

impl Choice {
    /// The servers, in the order in which to ask them: the leader, the one that answered last,
    /// the others, and at last those that have just failed.
    pub(super) fn order(&self, pool: &Pool) -> Vec<String> {
        let directory = pool.directory();
        let mut names: Vec<String> = directory.servers().into_iter().map(|s| s.name).collect();
        names.retain(|name| name != pool.own_name());
        names.shuffle(&mut rand::rng());
        let leader = directory.leader();
        let now = Instant::now();
        let mut memory = self.memory();
        memory
            .failed
            .retain(|_, at| now.duration_since(*at) < PENALTY);
        names.sort_by_key(|name| {
            (
                memory.failed.contains_key(name),
                leader.as_ref() != Some(name),
                memory.last_good.as_ref() != Some(name),
            )
        });
        names
    }

    pub(super) fn good(&self, server: &str) {
        let mut memory = self.memory();
        memory.failed.remove(server);
        if memory.last_good.as_deref() != Some(server) {
            memory.last_good = Some(server.to_string());
        }
    }

    pub(super) fn bad(&self, server: &str) {
        let mut memory = self.memory();
        memory.failed.insert(server.to_string(), Instant::now());
        if memory.last_good.as_deref() == Some(server) {
            memory.last_good = None;
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
