//! What goes to the client: written by the call that has it, when that is the only one and nothing
//! waits before it; else by the session's writer, together with whatever else waits.

use kabuki_protocol::frame::Outflow;
use kabuki_protocol::session::ServerFrame;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::sync::{Notify, Semaphore, watch};

/// Frames that wait for the socket; those who produce more wait.
const DEPTH: usize = 64;
/// How long a client that is sent away may take to hear why.
const LAST_WORD: Duration = Duration::from_secs(1);
/// A client that takes nothing for so long is gone.
const STALLED: Duration = Duration::from_secs(60);

/// The way to the client. It is held once by the session, and once by each call that is under way.
#[derive(Clone)]
pub(super) struct Output {
    held: Arc<Held>,
}

/// When the last of the outputs is gone, the session is over.
struct Held(Arc<Shared>);

/// What is to be written to the client.
pub(super) struct Outgoing(Arc<Shared>);

struct Shared {
    out: Mutex<Out>,
    /// Room for frames. Closed when the client is not written to any more.
    room: Semaphore,
    /// The writer has something to do.
    unfinished: Notify,
    ended: watch::Sender<bool>,
}

struct Out {
    flow: Outflow,
    /// So many of the frames have not left.
    frames: usize,
    /// Nothing comes after what waits.
    last: bool,
    /// Why nothing can be written any more.
    wrong: Option<String>,
}

impl Output {
    /// The way to the client behind `stream`, and what [`write_frames`] needs.
    pub(super) fn new(stream: impl AsyncWrite + Send + Unpin + 'static) -> (Self, Outgoing) {
        let shared = Arc::new(Shared {
            out: Mutex::new(Out {
                flow: Outflow::new(stream),
                frames: 0,
                last: false,
                wrong: None,
            }),
            room: Semaphore::new(DEPTH),
            unfinished: Notify::new(),
            ended: watch::Sender::new(false),
        });
        let held = Arc::new(Held(shared.clone()));
        (Self { held }, Outgoing(shared))
    }

    /// Sends a frame of a call, waiting for room. `false` when the session is over.
    pub(super) async fn send(&self, frame: ServerFrame) -> bool {
        let Ok(room) = self.shared().room.acquire().await else {
            return false;
        };
        room.forget();
        // Whoever else is under way may be answered at the same moment: a commit answers many.
        let alone = Arc::strong_count(&self.held) <= 2;
        self.shared().add(&frame, alone)
    }

    /// Sends a small frame from the session itself, which must not wait.
    pub(super) fn control(&self, frame: ServerFrame) -> Result<(), String> {
        match self.shared().room.try_acquire() {
            Ok(room) => room.forget(),
            Err(_) => return Err("the client does not read".to_string()),
        }
        self.shared().add(&frame, false);
        Ok(())
    }

    /// Says why the session ends, behind what waits to be said, and gives the socket a moment to
    /// take it.
    pub(super) async fn last_word(&self, reason: String) {
        let said = async {
            if self.send(ServerFrame::Goodbye { reason }).await {
                let mut ended = self.shared().ended.subscribe();
                // The sender is in `shared`.
                let _ = ended.wait_for(|ended| *ended).await;
            }
        };
        let _ = tokio::time::timeout(LAST_WORD, said).await;
    }

    fn shared(&self) -> &Shared {
        &self.held.0
    }
}

impl Shared {
    /// Adds a frame, and writes it if that is wanted and possible `at_once`. `false` when nothing
    /// is written any more.
    fn add(&self, frame: &ServerFrame, at_once: bool) -> bool {
        let mut out = self.lock();
        if out.last || out.wrong.is_some() || out.flow.is_closed() {
            return false;
        }
        let idle = out.flow.is_idle();
        if let Err(error) = out.flow.add(frame) {
            out.wrong = Some(error.to_string());
        }
        out.frames += 1;
        out.last = matches!(frame, ServerFrame::Goodbye { .. });
        let ordinary = !out.last && out.wrong.is_none();
        if at_once && idle && ordinary && out.flow.write_now() {
            self.left(&mut out);
        } else if idle || !ordinary {
            self.unfinished.notify_one();
        }
        true
    }

    /// All has left.
    fn left(&self, out: &mut Out) {
        self.room.add_permits(std::mem::take(&mut out.frames));
    }

    fn lock(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits; why it is over, when it is.
    async fn write(&self) -> Option<String> {
        loop {
            let some = poll_fn(|cx| {
                let mut out = self.lock();
                let wrote = out.flow.poll_some(cx);
                wrote.map_ok(|all| {
                    all.then(|| {
                        self.left(&mut out);
                        let over = out.last.then(|| "the session is over".to_string());
                        out.wrong.take().or(over)
                    })
                })
            });
            match tokio::time::timeout(STALLED, some).await {
                Ok(Ok(Some(end))) => return end,
                Ok(Ok(None)) => {}
                Ok(Err(error)) => return Some(format!("cannot write to the client: {error}")),
                Err(_) => return Some("the client does not read".to_string()),
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.lock().last = true;
        self.0.unfinished.notify_one();
    }
}

/// Writes what calls leave over until the session or the socket ends; says why. What waits is
/// written together: each write is a TLS record and a system call.
pub(super) async fn write_frames(outgoing: Outgoing) -> String {
    let Outgoing(shared) = outgoing;
    let why = loop {
        shared.unfinished.notified().await;
        // First let those run who were answered together with the one that woke this.
        tokio::task::yield_now().await;
        if let Some(why) = shared.write().await {
            break why;
        }
    };
    let _ = poll_fn(|cx| shared.lock().flow.poll_shutdown(cx)).await;
    shared.lock().flow.abandon();
    shared.room.close();
    shared.ended.send_replace(true);
    why
}

#[cfg(test)]
mod tests {
    use super::*;
    use kabuki_protocol::frame;
    use kabuki_protocol::session::Reply;
    use std::pin::Pin;
    use std::sync::Mutex;
    use std::task::{Context, Poll};
    use tokio::sync::watch;

    /// Remembers how much each write had.
    #[derive(Clone, Default)]
    struct Writes(Arc<Mutex<Vec<usize>>>);

    impl AsyncWrite for Writes {
        fn poll_write(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            self.0.lock().expect("not poisoned").push(bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn answer(output: Output, id: u32, mut commit: watch::Receiver<bool>) {
        commit.wait_for(|done| *done).await.expect("it comes");
        let (more, reply) = (false, Ok(Reply::Events(Vec::new())));
        assert!(output.send(ServerFrame::Reply { id, more, reply }).await);
    }

    #[tokio::test]
    async fn a_call_that_is_alone_writes_its_frame_itself() {
        let writes = Writes::default();
        let (output, _outgoing) = Output::new(writes.clone());
        let (_committed, commit) = watch::channel(true);
        for id in 0..3 {
            answer(output.clone(), id, commit.clone()).await;
        }
        assert_eq!(writes.0.lock().expect("not poisoned").len(), 3);
    }

    #[tokio::test]
    async fn a_client_that_is_gone_ends_the_session() {
        let (near, far) = tokio::io::duplex(10);
        let (output, outgoing) = Output::new(near);
        drop(far);
        let writing = tokio::spawn(write_frames(outgoing));
        let (_committed, commit) = watch::channel(true);
        answer(output.clone(), 1, commit).await;
        let why = writing.await.expect("it ends");
        assert!(why.contains("cannot write"), "{why}");
        let reason = "late".to_string();
        assert!(!output.send(ServerFrame::Goodbye { reason }).await);
    }

    #[tokio::test]
    async fn the_last_word_is_said_also_when_much_waits_to_be() {
        let writes = Writes::default();
        let (output, outgoing) = Output::new(writes.clone());
        let frame = |id| ServerFrame::Reply {
            id,
            more: true,
            reply: Ok(Reply::Events(Vec::new())),
        };
        // They would write their frames themselves if they were alone.
        let _others = [output.clone(), output.clone()];
        for id in 0..DEPTH as u32 {
            assert!(output.send(frame(id)).await);
        }
        assert!(output.control(frame(0)).is_err(), "there is no room left");
        let writing = tokio::spawn(write_frames(outgoing));
        output.last_word("enough".to_string()).await;
        writing.await.expect("it ends");
        let goodbye = ServerFrame::Goodbye {
            reason: "enough".to_string(),
        };
        let bytes = |frame: &ServerFrame| frame::to_bytes(frame).expect("encodes").len();
        let all = bytes(&goodbye) + (0..DEPTH as u32).map(|id| bytes(&frame(id))).sum::<usize>();
        assert_eq!(
            writes.0.lock().expect("not poisoned").iter().sum::<usize>(),
            all
        );
    }

    /// On one thread that runs tasks as a server does, so that who is woken last runs first.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_is_answered_together_is_written_together() {
        let writes = Writes::default();
        let (output, outgoing) = Output::new(writes.clone());
        let writing = tokio::spawn(write_frames(outgoing));
        let (committed, commit) = watch::channel(false);
        let answers = (0..20).map(|id| tokio::spawn(answer(output.clone(), id, commit.clone())));
        let answers: Vec<_> = answers.collect();
        let committing = tokio::spawn(async move { committed.send(true) });
        for answer in answers {
            answer.await.expect("sent");
        }
        committing.await.expect("it ran").expect("it was heard");
        drop(output);
        writing.await.expect("it ends");
        let writes = writes.0.lock().expect("not poisoned");
        assert!(writes.len() <= 3, "{writes:?}");
    }
}
