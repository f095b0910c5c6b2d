//! Watches: a stream of events that is only made as fast as the client takes it. Behind it stands
//! an outbox of pointers; a client that is too slow is told so (`Expired`) and lists again.

mod events;

pub use events::Events;

use crate::options::{self, WatchOptions};
use crate::representation::{Negotiated, Purpose, negotiate};
use crate::request::Context;
use crate::response::{Response, answer, streamed};
use crate::served::Served;
use crate::server::Shared;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use kabuki_model::StatusError;
use kabuki_model::status::Reason;
use kabuki_model::watch::{WatchEvent, WatchRequest, WatchStart};
use kabuki_protocol::Watch;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use tokio::time::{Sleep, sleep};

/// Events that are encoded at once: as many as a few TLS records hold.
const AT_ONCE: usize = 32;

/// Watches the objects that a path and its selectors name.
pub async fn watch(context: &Context, served: &Served) -> Result<Response, StatusError> {
    let negotiated = negotiate(&context.headers, Purpose::Watch)?.asked(&context.query)?;
    let options = options::watch(context)?;
    let selection = options::selection(context, served)?;
    let now = context.front.fresh(options.freshness).await?;
    let start = match (options.initial, options.after) {
        (true, _) => WatchStart::List,
        (false, after) => WatchStart::After(after.unwrap_or(now)),
    };
    let request = WatchRequest {
        selection,
        start,
        bookmarks: options.bookmarks,
    };
    let api = context.front.api(context.identity());
    let source = match api.watch(request).await {
        Ok(watch) => Source::Open(watch),
        // The client knows what to do when it hears this as an event.
        Err(error) if error.reason == Reason::Expired => Source::Last(error),
        Err(error) => return Err(error),
    };
    let watching = Watching {
        source,
        negotiated,
        served: *served,
        options,
        ends: Box::pin(sleep(options.lasts)),
        first: true,
        ready: Vec::new(),
        received: Vec::new(),
        _counted: context.shared.events.count(),
        shared: context.shared.clone(),
    };
    let events = futures::stream::unfold(watching, |mut watching| async {
        let next = watching.next().await?;
        Some((Ok::<_, io::Error>(next), watching))
    });
    let mut response = answer(StatusCode::OK, negotiated.stream_type(), streamed(events));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    Ok(response)
}

enum Source {
    Open(Watch),
    /// There is only this left to say.
    Last(StatusError),
    Ended,
}

/// One watch, as the client's connection drives it.
struct Watching {
    source: Source,
    negotiated: Negotiated,
    served: Served,
    options: WatchOptions,
    /// One clock for all of its life.
    ends: Pin<Box<Sleep>>,
    first: bool,
    /// Encoded events, the next one last.
    ready: Vec<Bytes>,
    received: Vec<Result<WatchEvent, StatusError>>,
    _counted: events::Counted,
    shared: Arc<Shared>,
}

impl Watching {
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(next) = self.ready.pop() {
                return Some(next);
            }
            match std::mem::replace(&mut self.source, Source::Ended) {
                Source::Ended => return None,
                Source::Last(error) => return Some(self.negotiated.error_event(&error)),
                Source::Open(mut watch) => {
                    // An idle watch keeps no buffer.
                    self.ready = Vec::new();
                    let count = {
                        let mut more = pin!(watch.next_many(&mut self.received, AT_ONCE));
                        poll_fn(|cx| match more.as_mut().poll(cx) {
                            Poll::Ready(count) => Poll::Ready(count),
                            Poll::Pending => self.ends.as_mut().poll(cx).map(|()| 0),
                        })
                        .await
                    };
                    match count {
                        0 => return None,
                        _ => self.source = Source::Open(watch),
                    }
                    self.encode();
                }
            }
        }
    }

    fn encode(&mut self) {
        let mut received = std::mem::take(&mut self.received);
        for event in received.drain(..) {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    self.source = Source::Last(error);
                    break;
                }
            };
            if !self.is_wanted(&event) {
                continue;
            }
            let events = &self.shared.events;
            let encoded = events.encoded(&self.negotiated, &self.served, &event, self.first);
            match encoded {
                Ok(bytes) => self.ready.push(bytes),
                Err(error) => {
                    self.source = Source::Last(error);
                    break;
                }
            }
            self.first = false;
        }
        self.ready.reverse();
    }

    fn is_wanted(&self, event: &WatchEvent) -> bool {
        match event {
            WatchEvent::Bookmark {
                initial_end: true, ..
            } => self.options.mark_initial_end,
            WatchEvent::Bookmark { .. } => self.options.bookmarks,
            _ => true,
        }
    }
}
