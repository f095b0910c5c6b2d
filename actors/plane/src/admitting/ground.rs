//! What admitting stands on: the newest state, and the door to it.

use crate::gateway::GatewayHandle;
use crate::raft::RaftHandle;
use futures::future::BoxFuture;
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::view::View;
use kabuki_protocol::ApiHandle;
use std::sync::Arc;

/// The state and the door to it.
pub trait Ground: Send + Sync + 'static {
    /// The term in which this server leads; `None` when it does not.
    fn term(&self) -> Option<u64>;
    /// A state that includes all that was acknowledged before the call.
    fn newest(&self) -> BoxFuture<'_, Result<Arc<dyn View>, StatusError>>;
    /// The API as the control plane itself; writes only happen in `term`, if one is given.
    fn api(&self, term: Option<u64>) -> ApiHandle;
}

/// The control plane of a server.
#[derive(Clone)]
pub struct PlaneGround {
    gateway: GatewayHandle,
    raft: RaftHandle,
}

impl PlaneGround {
    /// Of this gateway, over this consensus.
    pub fn new(gateway: GatewayHandle, raft: RaftHandle) -> Self {
        Self { gateway, raft }
    }
}

impl Ground for PlaneGround {
    fn term(&self) -> Option<u64> {
        let now = *self.raft.leadership().borrow();
        now.leading.then_some(now.term)
    }

    fn newest(&self) -> BoxFuture<'_, Result<Arc<dyn View>, StatusError>> {
        Box::pin(async move {
            self.raft.read_barrier().await?;
            Ok(Arc::new(self.raft.snapshot()) as Arc<dyn View>)
        })
    }

    fn api(&self, term: Option<u64>) -> ApiHandle {
        let gateway = match term {
            Some(term) => self.gateway.in_term(term),
            None => self.gateway.clone(),
        };
        gateway.api(Identity::bootstrap())
    }
}
