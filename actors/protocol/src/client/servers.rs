//! What nodes and administrators ask of servers, beside objects.

use super::connection::unexpected;
use super::{Client, Failure};
use crate::join::{JoinRefusal, JoinRequest, Joined};
use crate::node::STREAM_DEPTH;
use crate::session::{Call, MemberInfo, Reply};
use bytes::Bytes;
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Request};
use tokio::sync::mpsc;

impl Client {
    /// Performs one request; a failure says whether it may have been done.
    pub async fn try_request(&self, request: Request) -> Result<Answer, Failure> {
        self.answer(Call::Api(request)).await
    }

    /// Performs a request in the name of `who`; only servers may.
    pub async fn forward(&self, who: Identity, request: Request) -> Result<Answer, Failure> {
        self.answer(Call::Forward { who, request }).await
    }

    /// A `Get` or `List` of what the server has, if it had news of the leader within
    /// `max_staleness_ms`; `None` takes any state.
    pub async fn stale_read(
        &self,
        request: Request,
        max_staleness_ms: Option<u64>,
    ) -> Result<Answer, StatusError> {
        let call = Call::Stale {
            request,
            max_staleness_ms,
        };
        Ok(self.answer(call).await?)
    }

    /// A new certificate for the node that asks, and every CA that the cluster trusts, in PEM.
    pub async fn certify(&self, csr_pem: String) -> Result<(String, String), Failure> {
        match self.single(Call::Certify { csr_pem }).await? {
            Reply::Certificate {
                certificate_pem,
                bundle_pem,
            } => Ok((certificate_pem, bundle_pem)),
            _ => Err(Failure::Refused(unexpected())),
        }
    }

    /// The members of the cluster.
    pub async fn members(&self) -> Result<Vec<MemberInfo>, StatusError> {
        match self.single(Call::Members).await? {
            Reply::Members(members) => Ok(members),
            _ => Err(unexpected()),
        }
    }

    /// Hands on a machine's wish to join; only servers may.
    pub async fn join(&self, request: JoinRequest) -> Result<Result<Joined, JoinRefusal>, Failure> {
        match self.single(Call::Join(Box::new(request))).await? {
            Reply::Joined(outcome) => Ok(*outcome),
            _ => Err(Failure::Refused(unexpected())),
        }
    }

    /// One consistent snapshot of the whole state, in parts. It is complete when the channel ends
    /// without an error.
    pub async fn backup(&self) -> Result<mpsc::Receiver<Result<Bytes, StatusError>>, StatusError> {
        let mut handle = self.call(Call::Backup).await?;
        let (sender, parts) = mpsc::channel(STREAM_DEPTH);
        tokio::spawn(async move {
            loop {
                let (more, part) = match handle.next().await {
                    Ok((more, Reply::Bytes(bytes))) => (more, Ok(bytes)),
                    Ok(_) => (false, Err(unexpected())),
                    Err(failure) => (false, Err(failure.into())),
                };
                if sender.send(part).await.is_err() || !more {
                    return;
                }
            }
        });
        Ok(parts)
    }
}
