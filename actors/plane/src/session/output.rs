//! What goes to the client.

use kabuki_protocol::frame::{Outgoing, Outlet, Sending};
use kabuki_protocol::session::ServerFrame;
use std::time::Duration;
use tokio::io::AsyncWrite;

/// Frames that wait for the socket; those who produce more wait.
const DEPTH: usize = 64;
/// How long a client that is sent away may take to hear why.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The way to the client. It is held once by the session, and once by each call that is under way.
#[derive(Clone)]
pub(super) struct Output {
    outlet: Outlet,
}

impl Output {
    /// The way to the client behind `stream`, and what has to be written by a task.
    pub(super) fn new(stream: impl AsyncWrite + Send + Unpin + 'static) -> (Self, Outgoing) {
        let (outlet, outgoing) = Outlet::new(stream, DEPTH);
        (Self { outlet }, outgoing)
    }

    /// Sends a frame of a call, waiting for room. `false` when the session is over.
    pub(super) async fn send(&self, frame: ServerFrame) -> bool {
        // Whoever else is under way may be answered at the same moment: a commit answers many.
        let sending = match self.outlet.holders() <= 2 {
            true => Sending::Alone,
            false => Sending::Together,
        };
        self.outlet.send(sending, |flow| flow.add(&frame)).await
    }

    /// Sends a small frame from the session itself, which must not wait.
    pub(super) fn control(&self, frame: ServerFrame) -> Result<(), String> {
        match self
            .outlet
            .try_send(Sending::Together, |flow| flow.add(&frame))
        {
            true => Ok(()),
            false => Err("the client does not read".to_string()),
        }
    }

    /// Says why the session ends, behind what waits to be said, and gives the socket a moment to
    /// take it.
    pub(super) async fn last_word(&self, reason: String) {
        let goodbye = ServerFrame::Goodbye { reason };
        let said = async {
            if self
                .outlet
                .send(Sending::Last, |flow| flow.add(&goodbye))
                .await
            {
                self.outlet.ended().await;
            }
        };
        let _ = tokio::time::timeout(LAST_WORD, said).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kabuki_protocol::frame;
    use kabuki_protocol::session::Reply;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
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
        let writing = tokio::spawn(outgoing.write());
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
        let writing = tokio::spawn(outgoing.write());
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
        let writing = tokio::spawn(outgoing.write());
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
