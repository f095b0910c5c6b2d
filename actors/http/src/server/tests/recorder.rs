//! A control plane that remembers what reached it.

use super::admin;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use kabuki_model::identity::Identity;
use kabuki_model::object::canonical_json;
use kabuki_model::request::{Answer, Content, ObjectList, Request};
use kabuki_model::status::Reason;
use kabuki_model::watch::{WatchEvent, WatchRequest};
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use kabuki_protocol::front::{
    AccessAttributes, Authenticated, Decision, Freshness, Front, HealthCheck, Measure,
};
use kabuki_protocol::node::NodeRequest;
use kabuki_protocol::session::VersionInfo;
use kabuki_protocol::{Api, ApiHandle, NodeStream, Watch};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

type Events = mpsc::Sender<Result<WatchEvent, StatusError>>;

/// Remembers.
#[derive(Default)]
pub(super) struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    reached: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    watches: Mutex<Vec<(WatchRequest, Events)>>,
}

impl Recorder {
    /// How many requests, watches and streams came through.
    pub(super) fn reached(&self) -> usize {
        self.shared.reached.load(Ordering::SeqCst)
    }

    /// The last request that came through.
    pub(super) fn last(&self) -> Request {
        let requests = self.shared.requests.lock().expect("not poisoned");
        requests.last().cloned().expect("a request")
    }

    /// The watches that came through.
    pub(super) fn watches(&self) -> Vec<(WatchRequest, Events)> {
        self.shared.watches.lock().expect("not poisoned").clone()
    }
}

/// A config map.
pub(super) fn settings(revision: u64, colour: &str) -> Arc<Stored> {
    let key = ObjectKey::new(Resource::CONFIG_MAPS, "default", "settings");
    let value = json!({
        "metadata": {"name": "settings", "namespace": "default", "uid": "u"},
        "data": {"colour": colour},
    });
    let fields = value.as_object().expect("an object").clone();
    let json = canonical_json("v1", "ConfigMap", fields);
    Arc::new(Stored::new(key, "u".into(), revision, json))
}

struct RecorderApi(Arc<Shared>);

impl RecorderApi {
    fn answer(&self, request: Request) -> Result<Answer, StatusError> {
        self.0.reached.fetch_add(1, Ordering::SeqCst);
        let content = match &request {
            Request::List(_) | Request::DeleteCollection { .. } => Content::List(ObjectList {
                revision: 7,
                items: vec![settings(5, "red")],
                ..ObjectList::default()
            }),
            Request::Bind(_) => Content::Bindings(vec![None]),
            Request::Review { .. } | Request::TokenRequest { .. } => {
                Content::Document(Bytes::from_static(b"{}"))
            }
            _ => Content::Object(settings(5, "red")),
        };
        self.0.requests.lock().expect("not poisoned").push(request);
        Ok(Answer {
            content,
            warnings: Vec::new(),
        })
    }
}

impl Api for RecorderApi {
    fn request(&self, request: Request) -> BoxFuture<'_, Result<Answer, StatusError>> {
        async move { self.answer(request) }.boxed()
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<Watch, StatusError>> {
        self.0.reached.fetch_add(1, Ordering::SeqCst);
        let (sender, receiver) = mpsc::channel(64);
        let mut watches = self.0.watches.lock().expect("not poisoned");
        watches.push((request, sender));
        async { Ok(Watch::new(receiver)) }.boxed()
    }
}

impl Front for Recorder {
    fn api(&self, _who: &Identity) -> ApiHandle {
        Arc::new(RecorderApi(self.shared.clone()))
    }

    fn fresh(&self, _freshness: Freshness) -> BoxFuture<'_, Result<u64, StatusError>> {
        async { Ok(7) }.boxed()
    }

    fn read<'a>(
        &'a self,
        who: &'a Identity,
        request: Request,
        _freshness: Freshness,
    ) -> BoxFuture<'a, Result<Answer, StatusError>> {
        let api = self.api(who);
        async move { api.request(request).await }.boxed()
    }

    fn open<'a>(
        &'a self,
        _who: &'a Identity,
        _node: Option<&'a str>,
        _request: NodeRequest,
    ) -> BoxFuture<'a, Result<NodeStream, StatusError>> {
        self.shared.reached.fetch_add(1, Ordering::SeqCst);
        async { Err(StatusError::unavailable("no node")) }.boxed()
    }

    fn authenticate<'a>(
        &'a self,
        _token: &'a str,
        _audiences: &'a [String],
    ) -> BoxFuture<'a, Result<Authenticated, StatusError>> {
        async { Err(StatusError::new(Reason::Unauthorized, "Unauthorized")) }.boxed()
    }

    fn openid(&self) -> Result<(Bytes, Bytes), StatusError> {
        Ok((Bytes::from_static(b"{}"), Bytes::from_static(b"{}")))
    }

    fn authorize(&self, who: &Identity, attributes: &AccessAttributes) -> Decision {
        let public = ["/livez", "/readyz", "/healthz", "/version"];
        let reads = ["get", "list", "watch"].contains(&attributes.verb.as_str());
        let allowed = match who {
            who if *who == admin() => true,
            who if who.is_anonymous() => public.contains(&attributes.path.as_str()),
            _ => reads && attributes.resource != "secrets",
        };
        Decision {
            allowed,
            reason: String::new(),
        }
    }

    fn checks(&self) -> Vec<HealthCheck> {
        Vec::new()
    }

    fn measures(&self) -> BoxFuture<'_, Vec<Measure>> {
        async { Vec::new() }.boxed()
    }

    fn version(&self) -> VersionInfo {
        VersionInfo {
            kabuki: "0".to_string(),
            kubernetes: "v1.37".to_string(),
            node: "a".to_string(),
            platform: "linux/amd64".to_string(),
        }
    }
}
