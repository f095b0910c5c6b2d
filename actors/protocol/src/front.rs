//! The HTTP front to the control plane: all that the Kubernetes HTTP API needs of the node behind
//! it. The control plane implements it in process; the front never sees its crates.
//!
//! Authority travels in the message: every method that touches objects takes the [`Identity`] it
//! is done under, and authorises it.

use crate::api::ApiHandle;
use crate::node::{NodeRequest, NodeStream};
use crate::session::VersionInfo;
use bytes::Bytes;
use futures::future::BoxFuture;
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Request};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What stands behind the HTTP API of one server.
pub trait Front: Send + Sync + 'static {
    /// Requests and watches under one identity.
    fn api(&self, who: &Identity) -> ApiHandle;

    /// Waits until the state that this server has is as fresh as asked for; gives its revision.
    /// [`Freshness::Exact`] is the same as [`Freshness::NotOlderThan`] here.
    fn fresh(&self, freshness: Freshness) -> BoxFuture<'_, Result<u64, StatusError>>;

    /// A `Get` or `List` as fresh as asked for (API concepts, "Resource versions").
    fn read<'a>(
        &'a self,
        who: &'a Identity,
        request: Request,
        freshness: Freshness,
    ) -> BoxFuture<'a, Result<Answer, StatusError>>;

    /// Opens a stream with a node: for a request about a pod with the node it is bound to, else
    /// with the node named (`None` is the one that serves).
    fn open<'a>(
        &'a self,
        who: &'a Identity,
        node: Option<&'a str>,
        request: NodeRequest,
    ) -> BoxFuture<'a, Result<NodeStream, StatusError>>;

    /// Who holds a bearer token, meant for one of `audiences`; empty is the API itself.
    fn authenticate<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> BoxFuture<'a, Result<Authenticated, StatusError>>;

    /// Where those who check tokens themselves find the public keys, and the keys: the discovery
    /// document of OpenID Connect and the key set, as JSON.
    fn openid(&self) -> Result<(Bytes, Bytes), StatusError>;

    /// Whether `who` may do something.
    fn authorize(&self, who: &Identity, attributes: &AccessAttributes) -> Decision;

    /// How the parts of the server are, by name, in the order in which they are shown.
    fn checks(&self) -> Vec<HealthCheck>;

    /// What the server measures of itself.
    fn measures(&self) -> BoxFuture<'_, Vec<Measure>>;

    /// Who serves.
    fn version(&self) -> VersionInfo;
}

/// A shared [`Front`].
pub type FrontHandle = Arc<dyn Front>;

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// At least as new as everything that was acknowledged before the request.
    Latest,
    /// Whatever the server has.
    Any,
    /// At least this revision; waits a little for it.
    NotOlderThan(u64),
    /// Exactly this revision; `Expired` when it is no longer held.
    Exact(u64),
}

/// Who asks, with all that authentication learned of them (`authentication.k8s.io` `UserInfo`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// User and groups.
    pub who: Identity,
    /// A name that is never given to another user; empty when there is none.
    pub uid: String,
    /// Further facts, for example of the pod that a token was issued to.
    pub extra: BTreeMap<String, Vec<String>>,
    /// Those of the asked audiences that the token is meant for.
    pub audiences: Vec<String>,
}

impl Authenticated {
    /// A caller of whom only user and groups are known.
    pub fn new(who: Identity) -> Self {
        Self {
            who,
            uid: String::new(),
            extra: BTreeMap::new(),
            audiences: Vec::new(),
        }
    }
}

/// What is to be done, in the words of Kubernetes' authorisation attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessAttributes {
    /// `get`, `list`, `watch`, `create`, ...; of paths the lower-case HTTP method.
    pub verb: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource's plural name; empty when this is about a path.
    pub resource: String,
    /// The part of it; empty for the object itself.
    pub subresource: String,
    /// Where; empty for all namespaces and for cluster-scoped kinds.
    pub namespace: String,
    /// Which one; empty for many.
    pub name: String,
    /// The path, when this is not about a resource.
    pub path: String,
    /// The field selector of a list or watch.
    pub fields: String,
}

/// Whether something may be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// It may.
    pub allowed: bool,
    /// Why, for people.
    pub reason: String,
}

/// How one part of the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// `ping`, `raft`, `log`.
    pub name: &'static str,
    /// Whether a failure means that the process should be restarted (`livez`), and not merely
    /// that it should get no requests (`readyz`).
    pub live: bool,
    /// What is wrong.
    pub failure: Option<String>,
}

/// One metric with its values, in Prometheus' terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// `kabuki_store_revision`
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Whether it only grows.
    pub counter: bool,
    /// The values, each with its labels.
    pub values: Vec<(Vec<(&'static str, String)>, f64)>,
}
