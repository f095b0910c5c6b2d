//! Writes of one connection, gathered. HTTP/2 writes frame by frame, and each write would be a TLS
//! record and a call of the kernel of its own: with a hundred watches on a connection, a hundred
//! for one change. Here they become one: small writes are kept until they are flushed, and before
//! that happens everyone else who is ready runs, who may have more to say on the connection; once
//! more for as long as they have.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So many bytes are kept at most: a few TLS records.
const KEPT: usize = 64 << 10;
/// Writes of this size gain nothing by being kept.
const LARGE: usize = 16 << 10;
/// So often at most the others get their turn before a flush.
const TURNS: u8 = 16;

/// The stream. Dropping it loses what was not flushed.
pub struct Gathering<S> {
    inner: S,
    kept: Vec<u8>,
    /// How much of it was written.
    written: usize,
    /// How often the others had their turn since the last flush, and what was kept before the last.
    turns: u8,
    before: usize,
}

impl<S> Gathering<S> {
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            kept: Vec::new(),
            written: 0,
            turns: 0,
            before: 0,
        }
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.kept.len() {
            let rest = &self.kept[self.written..];
            let count = ready!(Pin::new(&mut self.inner).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        // An idle connection keeps no buffer.
        self.kept = Vec::new();
        (self.written, self.before) = (0, 0);
        Poll::Ready(Ok(()))
    }

    /// Whether writes of so many bytes can be kept, after a look at what is kept already.
    fn poll_room(&mut self, cx: &mut Context<'_>, more: usize) -> Poll<io::Result<bool>> {
        if self.kept.len() + more > KEPT || more >= LARGE {
            ready!(self.poll_drain(cx))?;
        }
        Poll::Ready(Ok(more < LARGE))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_room(cx, buf.len()))? {
            true => {
                self.kept.extend_from_slice(buf);
                Poll::Ready(Ok(buf.len()))
            }
            false => Pin::new(&mut self.inner).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = bufs.iter().map(|buf| buf.len()).sum();
        match ready!(self.poll_room(cx, bytes))? {
            true => {
                bufs.iter().for_each(|buf| self.kept.extend_from_slice(buf));
                Poll::Ready(Ok(bytes))
            }
            false => Pin::new(&mut self.inner).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is being written already waits for nobody.
        if self.written == 0 && self.kept.len() > self.before && self.turns < TURNS {
            self.turns += 1;
            self.before = self.kept.len();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_drain(cx))?;
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.turns = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    type Writes = Arc<Mutex<Vec<Vec<u8>>>>;

    /// Remembers what was written, and takes at most so many bytes at a time.
    struct Wire(usize, Writes);

    impl AsyncWrite for Wire {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = buf.len().min(self.0);
            self.1.lock().expect("whole").push(buf[..count].to_vec());
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn wire(most: usize) -> (Gathering<Wire>, Writes) {
        let writes = Writes::default();
        (Gathering::new(Wire(most, writes.clone())), writes)
    }

    #[tokio::test]
    async fn small_writes_become_one_when_they_are_flushed() {
        let (mut stream, writes) = wire(usize::MAX);
        stream.write_all(b"ab").await.expect("kept");
        stream.write_all(b"cd").await.expect("kept");
        assert!(writes.lock().expect("whole").is_empty());
        stream.flush().await.expect("written");
        assert_eq!(*writes.lock().expect("whole"), [b"abcd".to_vec()]);
        stream.write_all(b"ef").await.expect("kept");
        stream.shutdown().await.expect("written");
        assert_eq!(writes.lock().expect("whole").len(), 2);
    }

    #[tokio::test]
    async fn a_flush_lets_others_run_first() {
        let (mut stream, writes) = wire(usize::MAX);
        stream.write_all(b"ab").await.expect("kept");
        {
            let mut flush = Box::pin(stream.flush());
            assert!(futures::poll!(&mut flush).is_pending());
        }
        stream.write_all(b"cd").await.expect("kept");
        {
            let mut flush = Box::pin(stream.flush());
            assert!(futures::poll!(&mut flush).is_pending(), "they had more");
            assert!(futures::poll!(&mut flush).is_ready(), "they had no more");
        }
        assert_eq!(*writes.lock().expect("whole"), [b"abcd".to_vec()]);
    }

    #[tokio::test]
    async fn who_always_has_more_does_not_keep_the_rest_waiting() {
        let (mut stream, writes) = wire(usize::MAX);
        for _ in 0..TURNS {
            stream.write_all(b"more").await.expect("kept");
            let mut flush = Box::pin(stream.flush());
            assert!(futures::poll!(&mut flush).is_pending());
        }
        stream.write_all(b"more").await.expect("kept");
        let mut flush = Box::pin(stream.flush());
        assert!(futures::poll!(&mut flush).is_ready());
        assert_eq!(writes.lock().expect("whole").len(), 1);
    }

    #[tokio::test]
    async fn nothing_is_lost_or_changes_places_whatever_the_sizes() {
        let (mut stream, writes) = wire(10_000);
        let mut all = Vec::new();
        for size in [
            1, 30_000, 5, 16_000, 16_000, 16_000, 16_000, 16_000, 2, 16_384,
        ] {
            let piece: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            stream.write_all(&piece).await.expect("taken");
            all.extend(piece);
        }
        stream.flush().await.expect("written");
        assert_eq!(writes.lock().expect("whole").concat(), all);
    }

    #[tokio::test]
    async fn who_writes_on_one_side_is_read_on_the_other() {
        let (near, mut far) = tokio::io::duplex(1 << 10);
        let mut near = Gathering::new(near);
        let write = tokio::spawn(async move {
            for _ in 0..1000 {
                near.write_all(b"0123456789").await.expect("taken");
            }
            near.flush().await.expect("written");
            let mut answer = [0; 2];
            near.read_exact(&mut answer).await.expect("an answer");
            answer
        });
        let mut read = vec![0; 10_000];
        far.read_exact(&mut read).await.expect("all of it");
        far.write_all(b"ok").await.expect("taken");
        assert_eq!(write.await.expect("no panic"), *b"ok");
        assert!(read.chunks(10).all(|piece| piece == b"0123456789"));
    }
}
