//! Answers of other servers, as long as they may be kept, and for a while longer in case nobody
//! can be asked (RFC 8767). Bounded in number and bytes; what was not asked for since the hand
//! last passed goes first (the clock algorithm). Pure.

use super::stored::Stored;
use crate::wire::Name;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// An answer that has run out is kept for so long, in case nobody can be asked: a day.
const STALE_MAX_MS: u64 = 24 * 3600 * 1000;

/// A question, as the cache knows it.
pub(crate) type CacheKey = Arc<[u8]>;

/// What the cache is asked for. Signatures are asked for apart: the answers differ.
pub(crate) fn key(name: &Name, kind: u16, dnssec_ok: bool, checking_disabled: bool) -> CacheKey {
    let flags = u8::from(dnssec_ok) | u8::from(checking_disabled) << 1;
    let [k, l] = kind.to_be_bytes();
    name.wire().iter().copied().chain([k, l, flags]).collect()
}

/// Bounds of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// How many answers.
    pub entries: usize,
    /// What they take together, in bytes.
    pub bytes: usize,
}

/// Kept answers.
#[derive(Debug)]
pub(crate) struct Cache {
    limits: CacheLimits,
    held: HashMap<CacheKey, Slot>,
    /// In the order in which the hand passes.
    clock: VecDeque<CacheKey>,
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    stored: Arc<Stored>,
    used: bool,
}

impl Cache {
    pub fn new(limits: CacheLimits) -> Self {
        Self {
            limits,
            held: HashMap::new(),
            clock: VecDeque::new(),
            bytes: 0,
        }
    }

    /// What is kept for a question, run out or not.
    pub fn get(&mut self, key: &[u8], now_ms: u64) -> Option<Arc<Stored>> {
        let slot = self.held.get_mut(key)?;
        let end = slot.stored.at_ms + u64::from(slot.stored.ttl_s) * 1000 + STALE_MAX_MS;
        if now_ms >= end {
            return None;
        }
        slot.used = true;
        Some(slot.stored.clone())
    }

    /// Keeps an answer. A failure does not take the place of an answer, which may be needed yet.
    pub fn put(&mut self, key: CacheKey, stored: Arc<Stored>) {
        if stored.ttl_s == 0 {
            return;
        }
        let size = cost(&key, &stored);
        if size > self.limits.bytes {
            return;
        }
        let slot = Slot {
            stored,
            used: false,
        };
        self.bytes += size;
        match self.held.insert(key.clone(), slot) {
            Some(before) => self.bytes -= cost(&key, &before.stored),
            None => self.clock.push_back(key),
        }
        while self.held.len() > self.limits.entries || self.bytes > self.limits.bytes {
            let Some(oldest) = self.clock.pop_front() else {
                break;
            };
            match self.held.get_mut(&oldest) {
                Some(slot) if slot.used => {
                    slot.used = false;
                    self.clock.push_back(oldest);
                }
                _ => {
                    if let Some(slot) = self.held.remove(&oldest) {
                        self.bytes -= cost(&oldest, &slot.stored);
                    }
                }
            }
        }
    }

    /// How many answers are kept, and what they take.
    pub fn usage(&self) -> (usize, usize) {
        (self.held.len(), self.bytes)
    }
}

/// What an answer takes, in bytes: itself, its question, and its places in both collections.
fn cost(key: &CacheKey, stored: &Stored) -> usize {
    stored.size() + key.len() + 96
}
