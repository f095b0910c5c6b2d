//! Reads as fresh as the caller asks for (Kubernetes' API concepts, "Resource versions").

use super::GatewayHandle;
use super::past::Past;
use kabuki_admission::read::{continued_revision, too_old};
use kabuki_admission::{authorize_request, read};
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Content, ListRequest, Request};
use kabuki_model::status::Reason;
use kabuki_model::view::View;
use kabuki_protocol::front::Freshness;
use std::time::Duration;

/// How long a read waits for a revision that this server does not have yet; as in Kubernetes.
const WAIT_LIMIT: Duration = Duration::from_secs(3);

impl GatewayHandle {
    /// Waits until this server's state is as fresh as asked for; gives its revision.
    ///
    /// # Errors
    /// `Timeout` for a revision that is still to come; what a linearizable read can meet.
    pub async fn fresh(&self, freshness: Freshness) -> Result<u64, StatusError> {
        match freshness {
            Freshness::Latest => self.raft.read_barrier().await?,
            Freshness::Any => {}
            Freshness::NotOlderThan(revision) | Freshness::Exact(revision) => {
                let there = self.raft.snapshot_at_least(revision);
                if tokio::time::timeout(WAIT_LIMIT, there).await.is_err() {
                    return Err(self.too_large(revision));
                }
            }
        }
        Ok(self.raft.snapshot().revision())
    }

    /// Answers a `Get` or `List`.
    ///
    /// # Errors
    /// Those of [`fresh`](Self::fresh); `Expired` for an exact revision that is not held any more.
    pub async fn read(
        &self,
        who: &Identity,
        request: &Request,
        freshness: Freshness,
    ) -> Result<Answer, StatusError> {
        authorize_request(&self.raft.snapshot(), who, request)?;
        let exact = match request {
            Request::List(list) => match continued_revision(&list.continue_token)? {
                // The pages of one list all show its revision.
                Some(revision) => Some((list, revision)),
                None => match freshness {
                    Freshness::Exact(revision) => Some((list, revision)),
                    _ => None,
                },
            },
            _ => None,
        };
        if let Some((list, revision)) = exact {
            return self.list_at(list, request, revision).await;
        }
        self.fresh(freshness).await?;
        let view = self.raft.snapshot();
        let answer = read(&view, request)?;
        if goes_on(&answer) {
            self.pages.keep(&view);
        }
        Ok(answer)
    }

    /// Answers a list from the state at exactly one revision: from one that is kept for its
    /// pages, or from the newest with the changes since taken back.
    async fn list_at(
        &self,
        list: &ListRequest,
        request: &Request,
        revision: u64,
    ) -> Result<Answer, StatusError> {
        if let Some(kept) = self.pages.at(revision) {
            return read(&kept, request);
        }
        self.fresh(Freshness::NotOlderThan(revision)).await?;
        let newest = self.raft.snapshot();
        if newest.revision() == revision {
            let answer = read(&newest, request)?;
            if goes_on(&answer) {
                self.pages.keep(&newest);
            }
            return Ok(answer);
        }
        let changes = self
            .watch
            .history()
            .since(&list.resource, revision, newest.revision());
        if let Ok(Ok(changes)) = tokio::time::timeout(WAIT_LIMIT, changes).await {
            let past = Past::new(newest, revision, &list.resource, changes);
            return read(&past, request);
        }
        Err(match list.continue_token.is_empty() {
            true => StatusError::expired(format!(
                "The resourceVersion for the provided list is too old: {revision}"
            )),
            false => too_old(&list.continue_token),
        })
    }

    fn too_large(&self, revision: u64) -> StatusError {
        let current = self.raft.snapshot().revision();
        let mut error = StatusError::new(
            Reason::Timeout,
            format!("Too large resource version: {revision}, current: {current}"),
        );
        error.retry_after_s = Some(1);
        error
    }
}

fn goes_on(answer: &Answer) -> bool {
    matches!(&answer.content, Content::List(list) if !list.continue_token.is_empty())
}
