//! The API as everyone inside sees it: requests and watches under one identity. The control
//! plane implements it in process (objects and events pass as pointers); a session's client
//! implements it over the wire. Controllers, the scheduler, node agents and the CLI hold an
//! [`ApiHandle`] and cannot tell which it is.

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, Stream, StreamExt};
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
    source: Source,
}

enum Source {
    Channel(mpsc::Receiver<Result<WatchEvent, StatusError>>),
    Stream(BoxStream<'static, Result<WatchEvent, StatusError>>),
}

impl Watch {
    /// Events from a channel; the sender ends the watch by dropping its side or sends one
    /// refusal first (for example `Expired`, when the watcher must list again).
    pub fn new(events: mpsc::Receiver<Result<WatchEvent, StatusError>>) -> Self {
        Self {
            source: Source::Channel(events),
        }
    }

    /// Events from a stream, with the same rules.
    pub fn from_stream(
        events: impl Stream<Item = Result<WatchEvent, StatusError>> + Send + 'static,
    ) -> Self {
        Self {
            source: Source::Stream(events.boxed()),
        }
    }

    /// The next event; `None` when the watch has ended.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, StatusError>> {
        match &mut self.source {
            Source::Channel(events) => events.recv().await,
            Source::Stream(events) => events.next().await,
        }
    }

    /// Every event that is there already, up to `limit`, after waiting for the first one. Gives
    /// how many came; zero when the watch has ended.
    pub async fn next_many(
        &mut self,
        into: &mut Vec<Result<WatchEvent, StatusError>>,
        limit: usize,
    ) -> usize {
        let events = match &mut self.source {
            Source::Channel(events) => return events.recv_many(into, limit).await,
            Source::Stream(events) => events,
        };
        let Some(first) = events.next().await else {
            return 0;
        };
        into.push(first);
        let mut count = 1;
        while count < limit
            && let Some(Some(event)) = events.next().now_or_never()
        {
            into.push(event);
            count += 1;
        }
        count
    }
}
