//! The calls that only servers serve: requests, watches, and the server's part of the cluster.

use super::backup::backup;
use super::call::{Caller, Gone, answered, api, watch};
use super::{ServerSide, Services};
use crate::cluster::{StateDirectory, members};
use crate::raft::RaftHandle;
use futures::future::BoxFuture;
use kabuki_admission::Attributes;
use kabuki_cluster::Credentials;
use kabuki_cluster::members::MembersHandle;
use kabuki_cluster::remote::Remote;
use kabuki_cluster::seams::{Admit, Directory as _};
use kabuki_model::identity::{GROUP_MASTERS, Identity};
use kabuki_model::{ObjectKey, Resource, StatusError};
use kabuki_protocol::session::{Call, MemberInfo, Reply};
use std::sync::Arc;
use std::time::Duration;

/// The server's part of the cluster.
#[derive(Clone)]
pub struct ServerCalls {
    /// The consensus.
    pub raft: RaftHandle,
    /// Who is who.
    pub directory: StateDirectory,
    /// The sessions with other members.
    pub members: MembersHandle,
    /// Sessions with other servers.
    pub remote: Remote,
    /// Who admits nodes.
    pub admit: Arc<dyn Admit>,
    /// Who signs the certificates of members anew.
    pub sign: Arc<dyn SignNode>,
    /// This server's own certificate.
    pub credentials: Credentials,
}

impl ServerCalls {
    fn certificate_ends_s(&self) -> i64 {
        self.credentials.certificate_ends().as_second()
    }
}

/// Signs the certificates of members anew.
pub trait SignNode: Send + Sync + 'static {
    /// A certificate for the node's key, and every CA that the cluster trusts, in PEM.
    fn sign(
        &self,
        node: String,
        csr_pem: String,
    ) -> BoxFuture<'_, Result<(String, String), StatusError>>;
}

pub(super) async fn server_call(
    caller: &Caller,
    services: &Services,
    who: &Identity,
    call: Call,
) -> Result<(), Gone> {
    let Some(server) = &services.server else {
        let refusal = StatusError::bad_request("here only streams with this node are served");
        return caller.last(Err(refusal)).await;
    };
    // The state alone says who belongs; only a server that has none yet cannot know.
    if let Some(node) = who.node_name()
        && let members = server.calls.directory.members()
        && !members.is_empty()
        && !members.contains_key(node)
    {
        let why = format!("node {node:?} is no member of the cluster, or not yet known here");
        let reason = kabuki_model::status::Reason::Forbidden;
        return caller.last(Err(StatusError::new(reason, why))).await;
    }
    match call {
        Call::Api(request) => api(caller, server, who, request).await,
        Call::Watch(request) => watch(caller, server, who, request).await,
        Call::Stale {
            request,
            max_staleness_ms,
        } => {
            let limit = max_staleness_ms.map(Duration::from_millis);
            answered(caller, server.gateway.stale_read(who, &request, limit)).await
        }
        Call::Forward {
            who: asking,
            request,
        } => match who.is_server() {
            true => answered(caller, server.gateway.request_here(asking, request).await).await,
            false => caller.last(Err(servers_only(who))).await,
        },
        Call::Certify { csr_pem } => {
            let signed = certify(server, who, csr_pem).await;
            let reply = signed.map(|(certificate_pem, bundle_pem)| Reply::Certificate {
                certificate_pem,
                bundle_pem,
            });
            caller.last(reply).await
        }
        Call::Members => {
            let shown = shown_members(server, who).await;
            caller.last(shown.map(Reply::Members)).await
        }
        Call::Join(request) => match who.is_server() {
            true => {
                let joined = server.calls.admit.admit(*request).await;
                caller.last(Ok(Reply::Joined(Box::new(joined)))).await
            }
            false => caller.last(Err(servers_only(who))).await,
        },
        Call::Backup => match who.in_group(GROUP_MASTERS) {
            true => backup(caller, &server.calls.raft).await,
            false => {
                let why = format!("user {:?} may not copy the whole state", who.user);
                let refusal = StatusError::new(kabuki_model::status::Reason::Forbidden, why);
                caller.last(Err(refusal)).await
            }
        },
        Call::Node { .. } | Call::Version | Call::WhoAmI => {
            let refusal = StatusError::internal("a call was taken for another");
            caller.last(Err(refusal)).await
        }
    }
}

async fn certify(
    server: &ServerSide,
    who: &Identity,
    csr_pem: String,
) -> Result<(String, String), StatusError> {
    let Some(node) = who.node_name() else {
        let why = format!("user {:?} is no node", who.user);
        return Err(StatusError::new(
            kabuki_model::status::Reason::Forbidden,
            why,
        ));
    };
    server.calls.sign.sign(node.to_string(), csr_pem).await
}

/// The members as the leader sees them.
async fn shown_members(
    server: &ServerSide,
    who: &Identity,
) -> Result<Vec<MemberInfo>, StatusError> {
    let key = ObjectKey::new(Resource::NODES, "", "");
    let attributes = Attributes::object("list", &key, "");
    server.gateway.authorize(who, &attributes)?;
    let calls = &server.calls;
    let leading = calls.raft.leadership().borrow().leading;
    let leader = calls.directory.leader();
    match leader {
        Some(leader) if !leading && !who.is_server() => {
            calls.remote.server(&leader).await?.members().await
        }
        _ => {
            members(
                &calls.raft,
                &calls.directory,
                &calls.members,
                calls.certificate_ends_s(),
            )
            .await
        }
    }
}

fn servers_only(who: &Identity) -> StatusError {
    let why = format!("user {:?} is no server of the cluster", who.user);
    StatusError::new(kabuki_model::status::Reason::Forbidden, why)
}
