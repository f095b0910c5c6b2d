//! What goes to the client: a bounded queue, and the task that writes it out.

use kabuki_protocol::frame;
use kabuki_protocol::session::ServerFrame;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Frames that wait for the socket; those who produce more wait.
const DEPTH: usize = 64;
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

/// Writes frames until the session or the socket ends; says why.
pub(super) async fn write_frames(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::Receiver<ServerFrame>,
) -> String {
    while let Some(message) = outgoing.recv().await {
        let last = matches!(message, ServerFrame::Goodbye { .. });
        let bytes = match frame::to_bytes(&message) {
            Ok(bytes) => bytes,
            Err(error) => return error.to_string(),
        };
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
    }
    let _ = writer.shutdown().await;
    "the session is over".to_string()
}
