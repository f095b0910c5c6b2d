//! What goes to the client: a bounded queue, and the task that writes it out.

use kabuki_protocol::frame;
use kabuki_protocol::session::ServerFrame;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Frames that wait for the socket; those who produce more wait.
const DEPTH: usize = 64;
/// Frames are written together up to about this many bytes.
const TOGETHER_BYTES: usize = 64 << 10;
/// A larger buffer is not kept for the next.
const KEPT_BYTES: usize = 16 << 10;
/// A client that takes nothing for so long is gone.
const STALLED: Duration = Duration::from_secs(60);

/// The way to the client.
#[derive(Clone)]
pub(super) struct Output {
    frames: mpsc::Sender<ServerFrame>,
}

impl Output {
    pub(super) fn channel() -> (Self, mpsc::Receiver<ServerFrame>) {
        let (frames, outgoing) = mpsc::channel(DEPTH);
        (Self { frames }, outgoing)
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

    /// Says why the session ends, and gives the socket a moment to take it.
    pub(super) async fn last_word(&self, reason: String) {
        if self.control(ServerFrame::Goodbye { reason }).is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(1), self.frames.closed()).await;
        }
    }
}

/// Writes frames until the session or the socket ends; says why. What waits is written together:
/// each write is a TLS record and a system call.
pub(super) async fn write_frames(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::Receiver<ServerFrame>,
) -> String {
    let mut bytes = Vec::new();
    while let Some(message) = outgoing.recv().await {
        // First let those run who were answered together with this one: a commit answers many.
        tokio::task::yield_now().await;
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
