//! Calls to other nodes: native sessions over TLS, opened when they are needed, kept while they
//! are good, one for each node and protocol.
//!
//! | | |
//! |---|---|
//! | [`Remote::api`] | the API at whichever server answers, for agents of workers |
//! | [`Forward`] | requests to the leader in the name of others, and streams with nodes |
//! | [`Certify`] | this node's certificate, renewed by a server |
//!
//! Each session is asked for a sign of life while calls are open on it; one that gives none is
//! ended, so that its watches resume elsewhere and nothing hangs.
//!
//! Invariants: a read may be repeated at another server; a write is repeated only when it is
//! certain that nothing was done; every request ends within [`REQUEST_LIMIT`].
//!
//! [`Forward`]: crate::seams::Forward
//! [`Certify`]: crate::renewal::Certify

mod api;
mod choice;
mod forward;
mod pool;

use crate::credentials::Credentials;
use crate::seams::Directory;
use api::RemoteApi;
use kabuki_model::StatusError;
use kabuki_protocol::client::Client;
use kabuki_protocol::{ApiHandle, session};
use pool::Pool;
use std::sync::Arc;
use std::time::Duration;

/// No request takes longer, in all its attempts.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// No request is tried again after this time.
const RETRY_LIMIT: Duration = Duration::from_secs(10);

/// The way to other nodes. Clones share the sessions.
#[derive(Clone)]
pub struct Remote {
    pool: Arc<Pool>,
    api: Arc<RemoteApi>,
}

impl Remote {
    /// The way out of this node. `program` names this program in the logs of others:
    /// `kabuki/0.1.0`.
    pub fn new(credentials: Credentials, directory: Arc<dyn Directory>, program: &str) -> Self {
        let pool = Arc::new(Pool::new(credentials, directory, program));
        Self {
            api: Arc::new(RemoteApi::new(pool.clone())),
            pool,
        }
    }

    /// The API under this node's own identity, at whichever server answers.
    pub fn api(&self) -> ApiHandle {
        self.api.clone()
    }

    /// A session with a server, for calls that [`Remote::api`] does not have.
    pub async fn server(&self, name: &str) -> Result<Client, StatusError> {
        self.pool
            .client(name, session::ALPN)
            .await
            .map_err(StatusError::unavailable)
    }

    /// Ends every session with a node: it is known to be gone. What is under way fails at once.
    pub fn lost(&self, node: &str) {
        self.pool.lost(node);
    }
}
