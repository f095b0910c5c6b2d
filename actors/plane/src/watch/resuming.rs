//! A watch that outlives restarts of the group.

use super::handle::WatchHandle;
use super::subscription::WatchSubscription;
use kabuki_model::StatusError;
use kabuki_model::status::Reason;
use kabuki_model::watch::{WatchEvent, WatchRequest, WatchStart};
use std::time::Duration;

/// Between two attempts while the group is down longer than a restart takes.
const AGAIN: Duration = Duration::from_millis(100);

/// A [`WatchSubscription`] that subscribes again when it is interrupted.
#[derive(Debug)]
pub struct ResumingWatch {
    handle: WatchHandle,
    request: WatchRequest,
    subscription: WatchSubscription,
}

impl ResumingWatch {
    pub(super) async fn begin(
        handle: WatchHandle,
        request: WatchRequest,
    ) -> Result<Self, StatusError> {
        let subscription = handle.subscribe(request.clone()).await?;
        Ok(Self {
            handle,
            request,
            subscription,
        })
    }

    /// The next event. Cancel-safe.
    ///
    /// # Errors
    /// `Expired` when the watcher was slower than the history is long: begin anew, with a list.
    pub async fn next(&mut self) -> Result<WatchEvent, StatusError> {
        loop {
            match self.subscription.next().await {
                Err(e) if e.reason == Reason::ServiceUnavailable => self.resume().await?,
                other => return other,
            }
        }
    }

    /// The next event, if it is there. An interruption is nothing that is there: the next call of
    /// [`next`](Self::next) goes on after it.
    pub fn try_next(&mut self) -> Option<Result<WatchEvent, StatusError>> {
        let next = self.subscription.try_next()?;
        let interrupted = |e: &StatusError| e.reason == Reason::ServiceUnavailable;
        (!next.as_ref().is_err_and(interrupted)).then_some(next)
    }

    /// Everything up to here was delivered.
    pub fn revision(&self) -> u64 {
        self.subscription.revision()
    }

    async fn resume(&mut self) -> Result<(), StatusError> {
        self.request.start = WatchStart::After(self.subscription.revision());
        loop {
            match self.handle.subscribe(self.request.clone()).await {
                Ok(mut subscription) => {
                    subscription.take_over_initial(&mut self.subscription);
                    self.subscription = subscription;
                    return Ok(());
                }
                Err(e) if e.reason == Reason::ServiceUnavailable => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(e) => return Err(e),
            }
        }
    }
}

impl std::fmt::Debug for WatchHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("watch handle")
    }
}
