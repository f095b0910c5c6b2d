//! The control plane as the HTTP API sees it ([`kabuki_protocol::Front`]).
//!
//! Who talks to it: `kabuki_http`. It decides nothing: requests and watches go to the gateway,
//! streams to nodes the way that sessions go, tokens to whoever holds the keys.

mod measures;

use crate::gateway::GatewayHandle;
use crate::raft::{RaftHandle, RaftStatus};
use crate::session::{ServerSide, Services, open_node};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use kabuki_admission::{Attributes, authorize_path, only_node};
use kabuki_kit::Tree;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Request};
use kabuki_model::{Resource, StatusError};
use kabuki_protocol::front::{
    AccessAttributes, Authenticated, Decision, Freshness, Front, HealthCheck, Measure,
};
use kabuki_protocol::node::NodeRequest;
use kabuki_protocol::session::VersionInfo;
use kabuki_protocol::{ApiHandle, NodeStream};

/// The front of one server.
pub struct PlaneFront {
    services: Services,
    gateway: GatewayHandle,
    raft: RaftHandle,
    tree: Tree,
}

impl PlaneFront {
    /// The front over what a server's sessions use too; `None` for services without a server.
    pub fn new(services: Services, tree: Tree) -> Option<Self> {
        let ServerSide { gateway, calls, .. } = services.server.as_ref()?;
        Some(Self {
            gateway: gateway.clone(),
            raft: calls.raft.clone(),
            services,
            tree,
        })
    }
}

impl Front for PlaneFront {
    fn api(&self, who: &Identity) -> ApiHandle {
        self.gateway.api(who.clone())
    }

    fn fresh(&self, freshness: Freshness) -> BoxFuture<'_, Result<u64, StatusError>> {
        self.gateway.fresh(freshness).boxed()
    }

    fn read<'a>(
        &'a self,
        who: &'a Identity,
        request: Request,
        freshness: Freshness,
    ) -> BoxFuture<'a, Result<Answer, StatusError>> {
        async move { self.gateway.read(who, &request, freshness).await }.boxed()
    }

    fn open<'a>(
        &'a self,
        who: &'a Identity,
        node: Option<&'a str>,
        request: NodeRequest,
    ) -> BoxFuture<'a, Result<NodeStream, StatusError>> {
        let node = node.map(str::to_string);
        open_node(&self.services, who, node, request).boxed()
    }

    fn authenticate<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> BoxFuture<'a, Result<Authenticated, StatusError>> {
        self.gateway.authenticate(token, audiences).boxed()
    }

    fn openid(&self) -> Result<(Bytes, Bytes), StatusError> {
        let (document, keys) = self.gateway.openid()?;
        Ok((document.to_string().into(), keys.to_string().into()))
    }

    fn authorize(&self, who: &Identity, attributes: &AccessAttributes) -> Decision {
        if attributes.resource.is_empty() {
            return decision(authorize_path(who, &attributes.verb, &attributes.path));
        }
        let resource = match attributes.group.as_str() {
            "" => Resource::named(&attributes.resource),
            group => Resource::named(&format!("{}.{group}", attributes.resource)),
        };
        let asked = Attributes {
            verb: &attributes.verb,
            resource: &resource,
            subresource: &attributes.subresource,
            namespace: &attributes.namespace,
            name: &attributes.name,
            only_node: only_node(&attributes.fields),
        };
        decision(self.gateway.authorize(who, &asked))
    }

    fn checks(&self) -> Vec<HealthCheck> {
        let status = self.raft.status();
        let check = |name, live, failure: Option<&str>| HealthCheck {
            name,
            live,
            failure: failure.map(str::to_string),
        };
        vec![
            check("ping", true, None),
            check("log", true, log_failure(&status)),
            check("etcd", false, state_failure(&status)),
            check("leader", false, leader_failure(&status)),
        ]
    }

    fn measures(&self) -> BoxFuture<'_, Vec<Measure>> {
        let measured = measures::measure(&self.raft.status(), &self.tree);
        async move { measured }.boxed()
    }

    fn version(&self) -> VersionInfo {
        self.services.version.clone()
    }
}

fn decision(verdict: Result<(), StatusError>) -> Decision {
    // Kubernetes' words for a refusal say all that there is to say.
    Decision {
        allowed: verdict.is_ok(),
        reason: String::new(),
    }
}

/// What is wrong with the log.
fn log_failure(status: &RaftStatus) -> Option<&'static str> {
    status.disk_full.then_some("the disk is full")
}

/// What is wrong with the state: it is not open yet, or this server has no part in it.
fn state_failure(status: &RaftStatus) -> Option<&'static str> {
    match status {
        s if s.removed => Some("this server was removed from the cluster"),
        s if s.revision == 0 => Some("the state is not open yet"),
        _ => None,
    }
}

/// What is wrong with the consensus.
fn leader_failure(status: &RaftStatus) -> Option<&'static str> {
    let leadership = status.leadership;
    match () {
        () if leadership.stranded => Some("a majority of the servers cannot be reached"),
        () if leadership.leader.is_none() => Some("there is no leader"),
        () => None,
    }
}
