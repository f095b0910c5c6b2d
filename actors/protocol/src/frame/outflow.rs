//! The writing side of a stream whose frames come from several tasks: whoever has one writes it,
//! when nothing waits before it and the socket takes it, so that no other task needs to be woken.
//! What the socket does not take at once is for a task of the stream's own.

use super::{FrameError, append};
use serde::Serialize;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::AsyncWrite;

/// No more is handed to the stream at once, so that its progress shows.
const WRITE_BYTES: usize = 64 << 10;
/// A larger buffer is not kept when it is empty: there may be thousands of quiet streams.
const KEPT_BYTES: usize = 16 << 10;

/// Frames on their way into a stream. Kept under a lock by those who write.
pub struct Outflow {
    stream: Box<dyn AsyncWrite + Send + Unpin>,
    waiting: Vec<u8>,
    /// So many of the waiting bytes have been written.
    written: usize,
    /// Written, but not all of it has left.
    unflushed: bool,
    /// Writing has failed; only the first error says why.
    failed: Option<io::Error>,
    closed: bool,
}

impl Outflow {
    /// Of a stream into which nothing has been written.
    pub fn new(stream: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            waiting: Vec::new(),
            written: 0,
            unflushed: false,
            failed: None,
            closed: false,
        }
    }

    /// Whether all that was added has left.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.unflushed
    }

    /// Whether it takes nothing any more.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The bytes that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.len() - self.written
    }

    /// Adds a message as a frame.
    pub fn add<T: Serialize>(&mut self, message: &T) -> Result<(), FrameError> {
        append(&mut self.waiting, message)
    }

    /// Adds what are frames already.
    pub fn add_frames(&mut self, frames: &[u8]) {
        self.waiting.extend_from_slice(frames);
    }

    /// Writes what the stream takes at once. `false` when something is left, or failed, of which
    /// [`poll_some`](Self::poll_some) has to hear. Only for a stream that was idle: nobody else may
    /// be waiting for it.
    pub fn write_now(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match self.poll_some(&mut cx) {
                Poll::Ready(Ok(true)) => return true,
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(error)) => {
                    self.failed = Some(error);
                    return false;
                }
                Poll::Pending => return false,
            }
        }
    }

    /// Writes some of what waits; `true` when all has left.
    pub fn poll_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let outcome = ready!(self.poll_progress(cx));
        if outcome.is_err() {
            self.close();
        }
        Poll::Ready(outcome)
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut stream = Pin::new(&mut self.stream);
        if !self.waiting.is_empty() {
            let left = &self.waiting[self.written..];
            let some = &left[..left.len().min(WRITE_BYTES)];
            let written = ready!(stream.as_mut().poll_write(cx, some))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
            self.unflushed = true;
            if self.written < self.waiting.len() {
                // Each byte is moved once at most.
                if self.written >= self.waiting.len() / 2 {
                    self.waiting.drain(..self.written);
                    self.written = 0;
                }
                return Poll::Ready(Ok(false));
            }
            self.waiting.clear();
            self.waiting.shrink_to(KEPT_BYTES);
            self.written = 0;
        }
        ready!(stream.poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(true))
    }

    /// Ends the stream in order, after what was written.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Takes nothing any more.
    pub fn close(&mut self) {
        self.closed = true;
        self.waiting = Vec::new();
        self.written = 0;
    }

    /// Takes nothing any more, and lets go of the stream.
    pub fn abandon(&mut self) {
        self.close();
        self.stream = Box::new(tokio::io::sink());
    }
}

impl std::fmt::Debug for Outflow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outflow of {} bytes", self.waiting_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frames;
    use std::future::poll_fn;

    #[tokio::test]
    async fn what_the_stream_takes_leaves_at_once_and_the_rest_in_order() {
        let (near, far) = tokio::io::duplex(1000);
        let mut out = Outflow::new(near);
        out.add(&vec![1u8; 100]).expect("it is small");
        assert!(out.write_now());
        assert!(out.is_idle());
        out.add(&vec![2u8; 3000]).expect("it is small");
        assert!(!out.write_now(), "the stream has room for a part");
        out.add(&vec![3u8; 100]).expect("it is small");
        assert!(out.waiting_bytes() > 2000);
        let writing = async {
            while !poll_fn(|cx| out.poll_some(cx)).await.expect("it is read") {}
            out
        };
        let reading = async {
            let mut frames = Frames::new(far);
            let mut read = Vec::new();
            while read.len() < 3 {
                let next: Vec<u8> = frames.next().await.expect("in order").expect("not the end");
                read.push((next[0], next.len()));
            }
            read
        };
        let (out, read) = tokio::join!(writing, reading);
        assert_eq!(read, [(1, 100), (2, 3000), (3, 100)]);
        assert!(out.is_idle());
    }

    #[tokio::test]
    async fn an_error_is_told_once_to_the_one_who_waits_for_it() {
        let (near, far) = tokio::io::duplex(1000);
        let mut out = Outflow::new(near);
        drop(far);
        out.add(&1u8).expect("it is small");
        assert!(!out.write_now());
        assert!(out.is_closed());
        let told = poll_fn(|cx| out.poll_some(cx)).await;
        assert_eq!(told.expect_err("told").kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn one_that_is_abandoned_lets_go_of_the_stream() {
        let (near, far) = tokio::io::duplex(1000);
        let mut out = Outflow::new(near);
        out.abandon();
        let end: Option<u8> = Frames::new(far).next().await.expect("an end in order");
        assert_eq!(end, None);
    }
}
