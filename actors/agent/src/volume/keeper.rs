//! What is kept of one pod's volumes: whether they may be written, its tokens, and how new the
//! objects are that were written.
//!
//! Invariants: one writer at a time for each pod; nothing is written once the files were removed;
//! what was written is never replaced by something older.

use super::content::{HeldToken, Objects};
use kabuki_lifecycle::volume::TokenWish;
use kabuki_model::ObjectKey;
use std::collections::HashMap;
use tokio::sync::{Mutex, MutexGuard, Notify};

/// One pod's volumes.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    inner: Mutex<Kept>,
    opened: Notify,
}

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The volumes are there and may be written again.
    pub is_open: bool,
    pub tokens: HashMap<TokenWish, HeldToken>,
    revisions: HashMap<ObjectKey, u64>,
}

impl Keeper {
    pub(super) async fn lock(&self) -> MutexGuard<'_, Kept> {
        self.inner.lock().await
    }

    /// The volumes are there.
    pub(super) async fn open(&self) {
        self.inner.lock().await.is_open = true;
        self.opened.notify_one();
    }

    /// Waits until they are.
    pub(super) async fn opened(&self) {
        self.opened.notified().await;
    }

    /// The files are about to be removed: nothing writes to them from now on.
    pub async fn close(&self) {
        self.inner.lock().await.is_open = false;
    }
}

impl Kept {
    /// Whether all of the objects are as new as what was written.
    pub fn is_new(&self, objects: &Objects) -> bool {
        objects
            .iter()
            .all(|(key, o)| self.revisions.get(key).is_none_or(|r| *r <= o.revision))
    }

    pub fn written(&mut self, objects: &Objects) {
        let revisions = objects.iter().map(|(key, o)| (key.clone(), o.revision));
        self.revisions.extend(revisions);
    }
}
