//! What goes to the client: a bounded queue, and the task that writes it out.

use kabuki_protocol::frame;
use kabuki_protocol::session::ServerFrame;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Frames that wait for the socket; those who produce more wait.
const DEPTH: usize = 64;
/// Frames are written together up to about this many bytes.
const TOGETHER_BYTES: usize = 64 << 10;
/// A larger buffer is not kept for the next.
const KEPT_BYTES: usize = 16 << 10;
/// How long a client that is sent away may take to hear why.
const LAST_WORD: Duration = Duration::from_secs(1);
/// A client that takes nothing for so long is gone.
const STALLED: Duration = Duration::from_secs(60);

/// The way to the client.
#[derive(Clone)]
pub(super) struct Output {
    frames: mpsc::Sender<ServerFrame>,
    _counted: Arc<()>,
}

/// What is to be written to the client.
pub(super) struct Outgoing {
    frames: mpsc::Receiver<ServerFrame>,
    /// Held once by the session, and once by each call that is under way.
    answering: Weak<()>,
}

impl Output {
    pub(super) fn channel() -> (Self, Outgoing) {
        let (frames, outgoing) = mpsc::channel(DEPTH);
        let counted = Arc::new(());
        let outgoing = Outgoing {
            frames: outgoing,
            answering: Arc::downgrade(&counted),
        };
        (
            Self {
                frames,
                _counted: counted,
            },
            outgoing,
        )
    }

    /// Sends a frame of a call, waiting for room. `false` when the session is over.
    pub(super) async fn send(&self, frame: ServerFrame) -> bool {
        self.frames.send(frame).await.is_ok()
    }

    /// Sends a small frame from the session itself, which must not wait.
    pub(super) fn control(&self, frame: ServerFrame) -> Result<(), String> {
        self.frames
            .try_send(frame)
            .map_err(|_| "the client does not read".to_string())
    }

    /// Says why the session ends, behind what waits to be said, and gives the socket a moment to
    /// take it.
    pub(super) async fn last_word(&self, reason: String) {
        let said = async {
            if self.send(ServerFrame::Goodbye { reason }).await {
                self.frames.closed().await;
            }
        };
        let _ = tokio::time::timeout(LAST_WORD, said).await;
    }
}

/// Writes frames until the session or the socket ends; says why. What waits is written together:
/// each write is a TLS record and a system call.
pub(super) async fn write_frames(
    mut writer: impl AsyncWrite + Unpin,
    outgoing: Outgoing,
) -> String {
    let mut bytes = Vec::new();
    let Outgoing {
        frames: mut outgoing,
        answering,
    } = outgoing;
    while let Some(message) = outgoing.recv().await {
        // First let those run who were answered together with this one: a commit answers many.
        if answering.strong_count() > 1 {
            tokio::task::yield_now().await;
        }
        let (mut next, mut last) = (Some(message), false);
        while let Some(message) = next {
            last = matches!(message, ServerFrame::Goodbye { .. });
            if let Err(error) = frame::append(&mut bytes, &message) {
                return error.to_string();
            }
            let full = last || bytes.len() >= TOGETHER_BYTES;
            next = (!full).then(|| outgoing.try_recv().ok()).flatten();
        }
        let idle = outgoing.is_empty();
        let writing = async {
            writer.write_all(&bytes).await?;
            match idle {
                true => writer.flush().await,
                false => Ok(()),
            }
        };
        match tokio::time::timeout(STALLED, writing).await {
            Ok(Ok(())) if last => break,
            Ok(Ok(())) => {}
            Ok(Err(error)) => return format!("cannot write to the client: {error}"),
            Err(_) => return "the client does not read".to_string(),
        }
        bytes.clear();
        bytes.shrink_to(KEPT_BYTES);
    }
    let _ = writer.shutdown().await;
    "the session is over".to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
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
    async fn the_last_word_is_said_also_when_much_waits_to_be() {
        let (writes, (output, outgoing)) = (Writes::default(), Output::channel());
        let frame = |id| ServerFrame::Reply {
            id,
            more: true,
            reply: Ok(Reply::Events(Vec::new())),
        };
        for id in 0..DEPTH as u32 {
            assert!(output.send(frame(id)).await);
        }
        assert!(output.control(frame(0)).is_err(), "there is no room left");
        let writing = tokio::spawn(write_frames(writes.clone(), outgoing));
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
        let (writes, (output, outgoing)) = (Writes::default(), Output::channel());
        let writing = tokio::spawn(write_frames(writes.clone(), outgoing));
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
