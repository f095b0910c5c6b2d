//! The door itself.

use super::pages::Pages;
use super::route::{Others, route};
use super::{LocalApi, MAX_WRITES};
use crate::raft::RaftHandle;
use crate::token::{Disbelief, Tokens};
use crate::watch::WatchHandle;
use futures::{FutureExt, stream};
use jiff::Timestamp;
use kabuki_admission::read::continued_revision;
use kabuki_admission::{Attributes, authorize, authorize_request, read};
use kabuki_kit::Gate;
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Content, Request};
use kabuki_model::view::View;
use kabuki_model::watch::WatchRequest;
use kabuki_protocol::front::Authenticated;
use kabuki_protocol::{ApiHandle, Watch};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// How long a write may take before its caller is told that the outcome is unknown. A commit
/// takes well under a second on any disk that works.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// People and their programs.
const USERS: &str = "users";
/// Controllers, the scheduler and node agents.
const SYSTEM: &str = "system";
/// When a refused caller may try again: some commits later.
const RETRY: Duration = Duration::from_millis(100);

/// Everyone's way to the gateway.
#[derive(Clone)]
pub struct GatewayHandle {
    pub(super) raft: RaftHandle,
    pub(super) watch: WatchHandle,
    writes: Gate<&'static str>,
    pub(super) pages: Pages,
    others: Others,
    tokens: Tokens,
    /// Writes are only made while this server leads in this term.
    term: Option<u64>,
}

impl GatewayHandle {
    /// A door to the raft group. Writes that another server must make go to `others`.
    pub fn new(raft: RaftHandle, watch: WatchHandle, others: Others) -> Self {
        Self {
            raft,
            watch,
            writes: Gate::new([(USERS, MAX_WRITES, RETRY), (SYSTEM, MAX_WRITES, RETRY)]),
            pages: Pages::default(),
            others,
            tokens: Tokens::default(),
            term: None,
        }
    }

    /// The same door for those who act for the leader of one term: when the term has passed, their
    /// writes are refused, here and, should they be under way, by the store.
    pub fn in_term(&self, term: u64) -> Self {
        Self {
            term: Some(term),
            ..self.clone()
        }
    }

    /// The API under one identity.
    pub fn api(&self, who: Identity) -> ApiHandle {
        Arc::new(LocalApi::new(self.clone(), who))
    }

    /// The newest state.
    pub fn view(&self) -> impl View + use<> {
        self.raft.snapshot()
    }

    /// Performs a request.
    pub async fn request(&self, who: Identity, request: Request) -> Result<Answer, StatusError> {
        match &request {
            Request::Get { .. } => {
                self.raft.read_barrier().await?;
                let view = self.raft.snapshot();
                authorize_request(&view, &who, &request)?;
                return read(&view, &request);
            }
            Request::List(list) => {
                self.raft.read_barrier().await?;
                return self.list(&who, &request, &list.continue_token);
            }
            // They are answered by the state, with the cluster's keys: nothing is written.
            Request::Token { .. } | Request::TokenRequest { .. } | Request::Review { .. } => {
                self.raft.read_barrier().await?;
                let view = self.raft.snapshot();
                authorize_request(&view, &who, &request)?;
                let (now, number) = (Timestamp::now(), rand::random());
                return self.tokens.answer(&view, &who, &request, now, number);
            }
            _ => {}
        }
        let class = match is_system(&who) {
            true => SYSTEM,
            false => USERS,
        };
        let _permit = self
            .writes
            .enter(&class)
            .map_err(|e| StatusError::too_many_requests(e.to_string()))?;
        // A caller that is gone before its write was proposed has not written. Afterwards the write
        // stands, whoever waits for it.
        let writing = route(
            &self.raft,
            &self.others,
            &who,
            &request,
            self.term,
            WRITE_LIMIT,
        );
        let writing = AssertUnwindSafe(Box::pin(writing)).catch_unwind();
        match tokio::time::timeout(WRITE_LIMIT, writing).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => {
                tracing::error!("a write panicked");
                Err(StatusError::unknown_outcome(
                    "the write was interrupted, it may or may not have happened",
                ))
            }
            Err(_) => Err(StatusError::new(
                kabuki_model::status::Reason::Timeout,
                "the write was not committed in time; it may still happen: read before trying again",
            )),
        }
    }

    /// Performs a request that another server's client made, if this server leads: it is not handed
    /// on again.
    pub async fn request_here(
        &self,
        who: Identity,
        request: Request,
    ) -> Result<Answer, StatusError> {
        let here = Self {
            others: Others::default(),
            ..self.clone()
        };
        here.request(who, request).await
    }

    /// Performs a read on what this server has, if it had news of the leader within `max_staleness`;
    /// `None` takes any state.
    pub fn stale_read(
        &self,
        who: &Identity,
        request: &Request,
        max_staleness: Option<Duration>,
    ) -> Result<Answer, StatusError> {
        if let Some(limit) = max_staleness {
            let staleness = self.others.staleness(&self.raft);
            if staleness.is_none_or(|s| s > limit) {
                return Err(StatusError::unavailable(format!(
                    "this server had no news of the leader within {limit:?}; ask for a staler state, \
                     or another server"
                )));
            }
        }
        match request {
            Request::Get { .. } => {
                let view = self.raft.snapshot();
                authorize_request(&view, who, request)?;
                read(&view, request)
            }
            Request::List(list) => self.list(who, request, &list.continue_token),
            _ => Err(StatusError::bad_request("only reads can be stale")),
        }
    }

    /// Answers a list, or a page of one, from one state.
    fn list(&self, who: &Identity, request: &Request, token: &str) -> Result<Answer, StatusError> {
        let newest = self.raft.snapshot();
        authorize_request(&newest, who, request)?;
        let view = match continued_revision(token)? {
            // A state that is no longer kept is refused as too old by reading from another.
            Some(revision) => self.pages.at(revision).unwrap_or(newest),
            None => newest,
        };
        let answer = read(&view, request)?;
        if let Content::List(list) = &answer.content
            && !list.continue_token.is_empty()
        {
            self.pages.keep(&view);
        }
        Ok(answer)
    }

    /// Begins a watch.
    pub async fn watch(&self, who: &Identity, request: WatchRequest) -> Result<Watch, StatusError> {
        let attributes = Attributes::selection("watch", &request.selection);
        authorize(&self.raft.snapshot(), who, &attributes)?;
        let watch = self.watch.resuming(request).await?;
        Ok(Watch::from_stream(stream::unfold(
            Some(watch),
            |watch| async {
                let mut watch = watch?;
                let event = watch.next().await;
                // A refusal is the last thing that a watch says.
                let rest = event.is_ok().then_some(watch);
                Some((event, rest))
            },
        )))
    }

    /// Who bears a token that was shown to one of `audiences` (none: the API itself).
    ///
    /// # Errors
    /// `Unauthorized`, when it is not believed.
    pub async fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Authenticated, StatusError> {
        let judge = || {
            let now = Timestamp::now();
            self.tokens
                .authenticate(&self.raft.snapshot(), token, audiences, now)
        };
        match judge()? {
            Ok(found) => return Ok(found),
            // What it is bound to, or its key, may be too new for this server to have heard of.
            Err(Disbelief::Gone(_) | Disbelief::Signature) => self.raft.read_barrier().await?,
            Err(why) => return Err(disbelieved(&why)),
        }
        let found = judge()?;
        found.map_err(|why| disbelieved(&why))
    }

    /// The discovery document and the public keys of those who check tokens themselves.
    ///
    /// # Errors
    /// The keys cannot be used.
    pub fn openid(&self) -> Result<(serde_json::Value, serde_json::Value), StatusError> {
        self.tokens.openid(&self.raft.snapshot())
    }

    /// Refuses what `who` may not do; for conversations that are no requests on objects.
    pub fn authorize(&self, who: &Identity, attributes: &Attributes) -> Result<(), StatusError> {
        authorize(&self.raft.snapshot(), who, attributes)
    }
}

/// The refusal of a token: why, is for the server's own log.
fn disbelieved(why: &Disbelief) -> StatusError {
    tracing::debug!(%why, "a bearer token is not believed");
    StatusError::new(kabuki_model::status::Reason::Unauthorized, "Unauthorized")
}

/// The control plane's own identities and node agents, which a flood of users must not starve.
fn is_system(who: &Identity) -> bool {
    who.controller_name().is_some() || who.node_name().is_some() || *who == Identity::scheduler()
}
