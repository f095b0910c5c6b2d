//! Linearizable reads.

use super::super::error::RaftError;
use super::super::message::RaftMessage;
use super::RaftHandle;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

impl RaftHandle {
    /// Waits until [`snapshot`](Self::snapshot) includes every write that was acknowledged, by
    /// any server, before this call. On any server; whoever waits at the same time shares one
    /// round among the servers, and a server alone needs none.
    ///
    /// # Errors
    /// [`RaftError::NoQuorum`] when a majority cannot be reached, [`RaftError::Removed`],
    /// [`RaftError::ReadTimeout`].
    pub async fn read_barrier(&self) -> Result<(), RaftError> {
        let limit = self.shared.config.read_limit;
        let deadline = Instant::now() + limit;
        loop {
            let leadership = *self.shared.leadership.borrow();
            if leadership.leading && self.shared.alone.load(Ordering::Acquire) {
                return Ok(());
            }
            if leadership.removed {
                return Err(RaftError::Removed);
            }
            if leadership.stranded {
                return Err(RaftError::NoQuorum);
            }
            let (reply, answer) = oneshot::channel();
            if self.shared.reads.push(reply) {
                // Between two incarnations nobody hears it; the next one looks by itself.
                let _ = self.slot.cast(RaftMessage::Read);
            }
            match timeout_at(deadline, answer).await {
                Ok(Ok(outcome)) => return outcome,
                // The actor was restarted. Asking again does no harm.
                Ok(Err(_dropped)) => tokio::task::yield_now().await,
                Err(_) => return Err(RaftError::ReadTimeout { limit }),
            }
        }
    }
}
