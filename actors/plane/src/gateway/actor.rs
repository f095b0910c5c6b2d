//! The actor and its handle.

use super::message::GatewayMessage;
use super::pages::Pages;
use super::perform::perform;
use super::{LocalApi, MAX_WRITES};
use crate::raft::RaftHandle;
use crate::watch::WatchHandle;
use futures::stream;
use kabuki_admission::read::continued_revision;
use kabuki_admission::{Attributes, authorize, authorize_request, read};
use kabuki_kit::{CallError, ChildSpec, Gate, Slot};
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Content, Request};
use kabuki_model::view::View;
use kabuki_model::watch::WatchRequest;
use kabuki_protocol::{ApiHandle, Watch};
use ractor::{Actor, ActorProcessingErr, ActorRef};
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
    slot: Slot<GatewayMessage>,
    raft: RaftHandle,
    watch: WatchHandle,
    writes: Gate<&'static str>,
    pages: Pages,
}

impl GatewayHandle {
    /// A handle over the raft group; the actor is started by a supervisor with
    /// [`GatewayHandle::child`].
    pub fn new(raft: RaftHandle, watch: WatchHandle) -> Self {
        Self {
            slot: Slot::new("gateway"),
            raft,
            watch,
            writes: Gate::new([(USERS, MAX_WRITES, RETRY), (SYSTEM, MAX_WRITES, RETRY)]),
            pages: Pages::default(),
        }
    }

    /// What a supervisor starts.
    pub fn child(&self) -> ChildSpec {
        let raft = self.raft.clone();
        ChildSpec::worker("gateway", &self.slot, move |_place| (Gateway, raft.clone()))
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
                let view = self.raft.snapshot();
                authorize_request(&view, &who, &request)?;
                return read(&view, &request);
            }
            Request::List(list) => return self.list(&who, &request, &list.continue_token),
            _ => {}
        }
        let class = match is_system(&who) {
            true => SYSTEM,
            false => USERS,
        };
        let permit = self
            .writes
            .enter(&class)
            .map_err(|e| StatusError::too_many_requests(e.to_string()))?;
        let message = |reply| GatewayMessage::Perform {
            who,
            request,
            permit,
            reply,
        };
        match self.slot.call(message, WRITE_LIMIT).await {
            Ok(result) => result,
            Err(CallError::Timeout { .. }) => Err(StatusError::new(
                kabuki_model::status::Reason::Timeout,
                "the write was not committed in time; it may still happen: read before trying again",
            )),
            Err(other) => Err(StatusError::unavailable(other.to_string())),
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

    /// Refuses what `who` may not do; for conversations that are no requests on objects.
    pub fn authorize(&self, who: &Identity, attributes: &Attributes) -> Result<(), StatusError> {
        authorize(&self.raft.snapshot(), who, attributes)
    }
}

/// The control plane's own identities and node agents, which a flood of users must not starve.
fn is_system(who: &Identity) -> bool {
    who.controller_name().is_some() || who.node_name().is_some() || *who == Identity::scheduler()
}

struct Gateway;

impl Actor for Gateway {
    type Msg = GatewayMessage;
    type State = RaftHandle;
    type Arguments = RaftHandle;

    async fn pre_start(
        &self,
        _myself: ActorRef<GatewayMessage>,
        raft: RaftHandle,
    ) -> Result<RaftHandle, ActorProcessingErr> {
        Ok(raft)
    }

    async fn handle(
        &self,
        _myself: ActorRef<GatewayMessage>,
        message: GatewayMessage,
        raft: &mut RaftHandle,
    ) -> Result<(), ActorProcessingErr> {
        let GatewayMessage::Perform {
            who,
            request,
            permit,
            reply,
        } = message;
        let raft = raft.clone();
        tokio::spawn(async move {
            let result = perform(&raft, &who, &request).await;
            drop(permit);
            // The caller may have given up; the write stands all the same.
            let _ = reply.send(result);
        });
        Ok(())
    }
}
