//! Encoded events, shared: a thousand watchers of one kind cost one encoding and no copy each.

use crate::representation::Negotiated;
use crate::served::Served;
use bytes::Bytes;
use kabuki_model::watch::WatchEvent;
use kabuki_model::{StatusError, Stored};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many events are remembered: watchers of one change come within moments of each other.
const KEPT: usize = 64;
/// Larger ones are not remembered, in bytes: all together stay below 4 MiB.
const MAX_KEPT_BYTES: usize = 64 << 10;

/// The newest encoded events. Clones share them.
#[derive(Clone, Default)]
pub struct Events {
    kept: Arc<Mutex<VecDeque<Kept>>>,
    watchers: Arc<AtomicUsize>,
}

/// One watcher, counted as long as it lives.
pub struct Counted(Arc<AtomicUsize>, Arc<Mutex<VecDeque<Kept>>>);

struct Kept {
    key: Key,
    /// Holds the object, so that its address is not another's.
    object: Arc<Stored>,
    bytes: Bytes,
}

#[derive(Clone, Copy, PartialEq)]
struct Key {
    event: u8,
    negotiated: Negotiated,
    group: &'static str,
    version: &'static str,
    first: bool,
}

impl Events {
    /// Counts a watcher.
    pub fn count(&self) -> Counted {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Counted(self.watchers.clone(), self.kept.clone())
    }

    /// An event in the client's form.
    pub fn encoded(
        &self,
        negotiated: &Negotiated,
        served: &Served,
        event: &WatchEvent,
        first: bool,
    ) -> Result<Bytes, StatusError> {
        let encode = || negotiated.event(served, event, first);
        let (number, object) = match event {
            WatchEvent::Added(object) => (0, object),
            WatchEvent::Modified(object) => (1, object),
            WatchEvent::Deleted(object) => (2, object),
            WatchEvent::Bookmark { .. } => return encode(),
        };
        if self.watchers.load(Ordering::Relaxed) < 2 {
            return encode();
        }
        let key = Key {
            event: number,
            negotiated: *negotiated,
            group: served.group,
            version: served.version,
            first,
        };
        if let Some(known) = self.known(&key, object) {
            return Ok(known);
        }
        let bytes = encode()?;
        if bytes.len() <= MAX_KEPT_BYTES {
            self.keep(key, object, &bytes);
        }
        Ok(bytes)
    }

    fn known(&self, key: &Key, object: &Arc<Stored>) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest_first = kept.iter().rev();
        let same = |k: &&Kept| Arc::ptr_eq(&k.object, object) && k.key == *key;
        newest_first.find(same).map(|k| k.bytes.clone())
    }

    fn keep(&self, key: Key, object: &Arc<Stored>, bytes: &Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(Kept {
            key,
            object: object.clone(),
            bytes: bytes.clone(),
        });
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.fetch_sub(1, Ordering::Relaxed) <= 2 {
            let mut kept = self.1.lock().unwrap_or_else(PoisonError::into_inner);
            *kept = VecDeque::new();
        }
    }
}
