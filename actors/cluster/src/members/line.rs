//! A line: the second connection between two servers, for Raft's messages alone.
//!
//! What a session is told passes through four mailboxes on either side, and every write of the
//! cluster waits for that four times. A line is one task between the socket and Raft. It belongs to a
//! session: it is opened when the session is ready, by whoever dialled that, and ends with it.

use crate::seams::Listener;
use futures::FutureExt as _;
use kabuki_kit::{Bundle, Strand};
use kabuki_protocol::frame::{FrameError, Frames, Outflow};
use std::future::poll_fn;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

/// What may wait to be sent, in bytes: more than Raft has under way to one server. When the other
/// takes nothing, further messages are lost, as they may be.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// The way into a line. Cheap to clone.
#[derive(Clone)]
pub(super) struct Line {
    shared: Arc<Shared>,
}

struct Shared {
    out: Mutex<Outflow>,
    /// Something is left to be written, or writing has failed.
    unfinished: Notify,
}

impl Line {
    /// Sends frames, from here if the socket takes them at once; `false` when they are lost.
    pub(super) fn send(&self, frames: &[u8]) -> bool {
        let mut out = self.shared.lock();
        let full = out.waiting_bytes() + frames.len() > MAX_WAITING_BYTES;
        if out.is_closed() || full {
            return false;
        }
        let idle = out.is_idle();
        out.add_frames(frames);
        // Else the line's own task is at it, and is woken by the socket.
        if idle && !out.write_now() {
            self.shared.unfinished.notify_one();
        }
        true
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Outflow> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits; ends when writing fails.
    async fn write(&self) -> io::Error {
        loop {
            self.unfinished.notified().await;
            loop {
                match poll_fn(|cx| self.lock().poll_some(cx)).await {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(error) => return error,
                }
            }
        }
    }
}

/// A line that is open; it is closed when this is dropped.
pub(super) struct OpenLine {
    pub(super) line: Line,
    _strand: Strand,
}

impl OpenLine {
    /// Passes messages between `stream` and the listener until the connection breaks; then tells
    /// why.
    pub(super) fn new(
        bundle: &Bundle,
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        listener: Arc<dyn Listener>,
        broken: impl FnOnce(String) + Send + 'static,
    ) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let shared = Arc::new(Shared {
            out: Mutex::new(Outflow::new(writer)),
            unfinished: Notify::new(),
        });
        let line = Line {
            shared: shared.clone(),
        };
        let strand = bundle.add(async move {
            let reading = AssertUnwindSafe(read(reader, &*listener)).catch_unwind();
            let why = tokio::select! {
                read = reading => match read {
                    Ok(Ok(())) => "the other server closed it".to_string(),
                    Ok(Err(error)) => error.to_string(),
                    Err(_panic) => "a message could not be borne".to_string(),
                },
                error = shared.write() => error.to_string(),
            };
            shared.lock().close();
            broken(why);
        });
        Self {
            line,
            _strand: strand,
        }
    }
}

impl Drop for OpenLine {
    fn drop(&mut self) {
        // Whoever still has the way in must not keep the socket open.
        self.line.shared.lock().abandon();
    }
}

async fn read(stream: impl AsyncRead + Unpin, listener: &dyn Listener) -> Result<(), FrameError> {
    let mut frames = Frames::new(stream);
    let hear = |message: &[u8]| {
        listener.raft(message);
        Ok(())
    };
    while frames.next_with(hear).await?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kabuki_protocol::cluster::Heartbeat;
    use kabuki_protocol::frame;
    use tokio::io::AsyncWriteExt;
    use tokio::sync::{mpsc, oneshot};

    /// Passes on what it hears.
    struct Ears(mpsc::UnboundedSender<Vec<u8>>);

    impl Listener for Ears {
        fn sign_of_life(&self, sent_us: u64) -> Heartbeat {
            Heartbeat {
                sent_us,
                revision: 0,
                program: String::new(),
                certificate_ends_s: 0,
            }
        }

        fn raft(&self, message: &[u8]) {
            self.0.send(message.to_vec()).expect("the test listens");
        }

        fn heard(&self, _node: &str, _heartbeat: &Heartbeat) -> (Option<String>, u64) {
            (None, 0)
        }

        fn answered(&self, _server: &str, _leader: Option<String>, _revision: u64) {}

        fn connected(&self, _node: &str) {}

        fn lost(&self, _node: &str) {}
    }

    struct End {
        open: OpenLine,
        heard: mpsc::UnboundedReceiver<Vec<u8>>,
        broken: oneshot::Receiver<String>,
    }

    fn end(stream: tokio::io::DuplexStream) -> End {
        let (hearing, heard) = mpsc::unbounded_channel();
        let (breaking, broken) = oneshot::channel();
        let open = OpenLine::new(
            &Bundle::new(),
            stream,
            Arc::new(Ears(hearing)),
            move |why| {
                let _ = breaking.send(why);
            },
        );
        End {
            open,
            heard,
            broken,
        }
    }

    fn frame_of(message: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let append = |body: &mut Vec<u8>| {
            body.extend_from_slice(message);
            Ok::<_, FrameError>(())
        };
        frame::append_with(&mut frame, append).expect("it is small");
        frame
    }

    #[tokio::test]
    async fn messages_pass_both_ways_in_order() {
        let (near, far) = tokio::io::duplex(100);
        let (mut near, mut far) = (end(near), end(far));
        for n in 0..100u8 {
            assert!(near.open.line.send(&frame_of(&[n; 70])));
            assert!(far.open.line.send(&frame_of(&[n])));
        }
        for n in 0..100u8 {
            assert_eq!(far.heard.recv().await, Some(vec![n; 70]));
            assert_eq!(near.heard.recv().await, Some(vec![n]));
        }
        drop(near);
        let why = far.broken.await.expect("it says why");
        assert!(why.contains("closed"), "{why}");
        assert!(!far.open.line.send(&frame_of(b"late")));
    }

    #[tokio::test]
    async fn what_is_no_frame_breaks_the_line() {
        let (near, mut far) = tokio::io::duplex(100);
        let near = end(near);
        far.write_all(&u32::MAX.to_be_bytes()).await.expect("sent");
        let why = near.broken.await.expect("it says why");
        assert!(why.contains("larger than the limit"), "{why}");
    }

    #[tokio::test]
    async fn a_server_that_takes_nothing_costs_a_bounded_queue() {
        let (near, far) = tokio::io::duplex(100);
        let near = end(near);
        let frame = frame_of(&vec![0; 1 << 20]);
        let taken = (0..1000).take_while(|_| near.open.line.send(&frame));
        let taken = taken.count();
        assert_eq!(taken, MAX_WAITING_BYTES / frame.len());
        drop(far);
    }
}
