//! The API as everyone inside sees it: requests and watches under one identity. The control
//! plane implements it in process (objects and events pass as pointers); a session's client
//! implements it over the wire. Controllers, the scheduler, node agents and the CLI hold an
//! [`ApiHandle`] and cannot tell which it is.

use futures::future::BoxFuture;
use kabuki_model::StatusError;
use kabuki_model::request::{Answer, Request};
use kabuki_model::watch::{WatchEvent, WatchRequest};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The API under one identity. Every call ends: with an answer, or with a refusal after a time
/// limit of the implementation.
pub trait Api: Send + Sync + 'static {
    /// Performs one request.
    fn request(&self, request: Request) -> BoxFuture<'_, Result<Answer, StatusError>>;

    /// Begins a watch.
    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<Watch, StatusError>>;
}

/// A shared [`Api`].
pub type ApiHandle = Arc<dyn Api>;

/// The events of one watch. Dropping it ends the watch and leaves nothing behind.
pub struct Watch {
    events: mpsc::Receiver<Result<WatchEvent, StatusError>>,
}

impl Watch {
    /// Wraps the receiving end; the sender ends the watch by dropping its side or sends one
    /// refusal first (for example `Expired`, when the watcher must list again).
    pub fn new(events: mpsc::Receiver<Result<WatchEvent, StatusError>>) -> Self {
        Self { events }
    }

    /// The next event; `None` when the watch has ended.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, StatusError>> {
        self.events.recv().await
    }

    /// Every event that is there already, up to `limit`, after waiting for the first one.
    pub async fn next_many(
        &mut self,
        into: &mut Vec<Result<WatchEvent, StatusError>>,
        limit: usize,
    ) -> usize {
        self.events.recv_many(into, limit).await
    }
}
