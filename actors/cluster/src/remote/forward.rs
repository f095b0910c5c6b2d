//! Requests to the leader in the name of others, and streams with nodes.

use super::pool::Pool;
use super::{REQUEST_LIMIT, Remote};
use crate::renewal::Certify;
use crate::seams::Forward;
use futures::FutureExt;
use futures::future::BoxFuture;
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Request};
use kabuki_protocol::client::Failure;
use kabuki_protocol::cluster::NODE_ALPN;
use kabuki_protocol::node::{Node, NodeRequest, NodeStream};
use kabuki_protocol::{NodeHandle, session};
use std::sync::Arc;

impl Forward for Remote {
    fn forward<'a>(
        &'a self,
        server: &'a str,
        who: Identity,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, StatusError>> {
        Box::pin(async move {
            let forwarding = async {
                let client = self.pool.client(server, session::ALPN).await;
                let client = client.map_err(Failure::NotSent)?;
                client.forward(who, request).await
            };
            match tokio::time::timeout(REQUEST_LIMIT, forwarding).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(failure)) => Err(told(server, failure)),
                Err(_) => Err(unknown(server, "it did not answer in time")),
            }
        })
    }

    fn node(&self, name: &str) -> Option<NodeHandle> {
        self.pool.directory().address(name)?;
        Some(Arc::new(RemoteNode {
            pool: self.pool.clone(),
            name: name.to_string(),
        }))
    }
}

impl Certify for Remote {
    fn certify(&self, csr_pem: String) -> BoxFuture<'_, Result<(String, String), StatusError>> {
        // A certificate that nobody received does no harm: any server may be asked.
        Box::pin(self.api.anywhere(Box::new(move |client| {
            let csr_pem = csr_pem.clone();
            async move { client.certify(csr_pem).await }.boxed()
        })))
    }
}

/// A failure as the caller hears it: what is certain, and what is not.
pub(super) fn told(server: &str, failure: Failure) -> StatusError {
    match failure {
        Failure::NotSent(why) => StatusError::unavailable(why),
        Failure::Lost(why) => unknown(server, &why),
        Failure::Refused(error) => error,
    }
}

/// The request left, and nothing came back.
fn unknown(server: &str, why: &str) -> StatusError {
    StatusError::unknown_outcome(format!(
        "the outcome is not known: server {server:?} may or may not have performed the request \
         before the connection to it was lost ({why})"
    ))
}

/// Another node, through a session of servers with it.
struct RemoteNode {
    pool: Arc<Pool>,
    name: String,
}

impl Node for RemoteNode {
    fn open(&self, request: NodeRequest) -> BoxFuture<'_, Result<NodeStream, StatusError>> {
        Box::pin(async move {
            let client = self.pool.client(&self.name, NODE_ALPN).await;
            let client = client.map_err(StatusError::unavailable)?;
            client.open_stream(None, request).await
        })
    }
}
