//! One stream of an HTTP/2 connection whose client takes nothing of it, while it takes what comes
//! on others: the connection is alive, so only that stream is cut.
//!
//! hyper runs each stream as one future, which asks for the next piece of the body when the client
//! has room for it. So a body that gave a piece and is not asked again waits for its client; one
//! that was asked and has nothing waits for events. [`Patient`] looks after the first: it drops the
//! future, which resets the stream.

use crate::response::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

tokio::task_local! {
    /// The stream that is being run.
    static STREAM: Arc<Taking>;
}

/// Since when a client has taken nothing of a stream that waits for it.
#[derive(Default)]
struct Taking(Mutex<Option<Instant>>);

impl Taking {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the streams of connections, and cuts those that are stalled.
#[derive(Clone, Copy)]
pub struct Patient(pub Duration);

impl<F> hyper::rt::Executor<F> for Patient
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(run(stream, self.0));
    }
}

async fn run<F: Future>(stream: F, limit: Duration) {
    let taking = Arc::new(Taking::default());
    let mut stream = std::pin::pin!(STREAM.scope(taking.clone(), stream));
    let mut clock: Option<Pin<Box<Sleep>>> = None;
    let cut = std::future::poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        let Some(since) = taking.since() else {
            clock = None;
            return Poll::Pending;
        };
        let ends = since + limit;
        let clock = clock.get_or_insert_with(|| Box::pin(sleep_until(ends)));
        if clock.deadline() != ends {
            clock.as_mut().reset(ends);
        }
        clock.as_mut().poll(cx).map(|()| true)
    });
    if cut.await {
        tracing::debug!("a client took nothing of a stream for too long");
    }
}

/// A body that tells its stream when it waits for the client.
struct Told(Body);

/// The same body, which is cut with its stream when the client takes nothing of it.
pub fn told(body: Body) -> Body {
    Told(body).boxed_unsync()
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.0).poll_frame(cx);
        let waits = matches!(&polled, Poll::Ready(Some(Ok(_)))) && !self.0.is_end_stream();
        // There is no stream around those of HTTP/1.1, whose connection is watched.
        let _ = STREAM.try_with(|stream| stream.set(waits.then(Instant::now)));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::streamed;
    use futures::StreamExt;
    use http_body_util::Empty;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
    use std::convert::Infallible;
    use tokio::io::DuplexStream;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Serves a body without end under `/flood`, one that says nothing more after its first piece
    /// under `/quiet`, and a word under all else.
    async fn serve(stream: DuplexStream) {
        let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
            let piece = || Ok(Bytes::from(vec![0; 16 << 10]));
            let body = match request.uri().path() {
                "/flood" => streamed(futures::stream::repeat_with(piece)),
                "/quiet" => {
                    let first = futures::stream::once(async move { piece() });
                    streamed(first.chain(futures::stream::pending()))
                }
                _ => crate::response::full("here"),
            };
            Ok::<_, Infallible>(http::Response::new(told(body)))
        });
        let served = hyper::server::conn::http2::Builder::new(Patient(LIMIT))
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        let _ = served.await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_stream_is_cut_and_the_others_of_its_connection_live() {
        let (near, far) = tokio::io::duplex(64 << 10);
        tokio::spawn(serve(far));
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near))
                .await
                .expect("a connection");
        tokio::spawn(connection);
        let ask = |path: &str| {
            let uri = format!("http://kabuki{path}");
            http::Request::get(uri)
                .body(Empty::<Bytes>::new())
                .expect("a request")
        };
        // Its body is held and never read: its window fills.
        let stalled = sender.send_request(ask("/flood")).await.expect("an answer");
        let quiet = sender.send_request(ask("/quiet")).await.expect("an answer");
        let mut quiet = quiet.into_body();
        let first = quiet.frame().await.expect("a frame").expect("no error");
        assert!(first.is_data());
        tokio::time::sleep(LIMIT * 2).await;
        let other = sender.send_request(ask("/")).await.expect("it lives");
        let body = other.into_body().collect().await.expect("a body");
        assert_eq!(body.to_bytes(), "here");
        // What had come before is still there; then it is over.
        let mut stalled = stalled.into_body();
        let error = loop {
            match stalled.frame().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error.to_string(),
                None => panic!("a flood has no end"),
            }
        };
        assert!(error.contains("error"), "{error}");
        // One that only waits for events is not stalled.
        let waits = tokio::time::timeout(LIMIT, quiet.frame()).await;
        assert!(waits.is_err(), "it goes on");
    }
}
