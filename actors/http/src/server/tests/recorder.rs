//! A control plane that remembers what reached it.

use super::admin;
use crate::fake::Opened;
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
use kabuki_protocol::node::{FromNode, NodeMetrics, NodeRequest};
use kabuki_protocol::session::VersionInfo;
use kabuki_protocol::{Api, ApiHandle, NodeStream, Watch};
use serde_json::{Value, json};
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
    /// What there is instead of the settings.
    objects: Mutex<Vec<Arc<Stored>>>,
    /// What the nodes use.
    figures: Mutex<Vec<NodeMetrics>>,
    /// Where streams are told of that are opened, if somebody listens.
    listener: Mutex<Option<mpsc::Sender<Opened>>>,
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

    /// Has these objects from now on.
    pub(super) fn hold(&self, objects: Vec<Arc<Stored>>) {
        *self.shared.objects.lock().expect("not poisoned") = objects;
    }

    /// Has nodes that use this.
    pub(super) fn measure(&self, figures: NodeMetrics) {
        self.shared
            .figures
            .lock()
            .expect("not poisoned")
            .push(figures);
    }

    /// From now on streams are opened, and come out here.
    pub(super) fn listen(&self) -> mpsc::Receiver<Opened> {
        let (sender, receiver) = mpsc::channel(8);
        *self.shared.listener.lock().expect("not poisoned") = Some(sender);
        receiver
    }

    /// The watches that came through.
    pub(super) fn watches(&self) -> Vec<(WatchRequest, Events)> {
        self.shared.watches.lock().expect("not poisoned").clone()
    }
}

/// An object by its resource, kind and fields.
pub(super) fn object(resource: &str, kind: &str, revision: u64, value: Value) -> Arc<Stored> {
    let text = |field: &str| value["metadata"][field].as_str().unwrap_or_default();
    let key = ObjectKey::new(Resource::named(resource), text("namespace"), text("name"));
    let uid = text("uid").into();
    let json = canonical_json("v1", kind, value.as_object().expect("an object").clone());
    Arc::new(Stored::new(key, uid, revision, json))
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
    /// What it holds of a resource; the settings, unless it was given something.
    fn held(&self, resource: &Resource) -> Vec<Arc<Stored>> {
        let held = self.0.objects.lock().expect("not poisoned");
        match held.is_empty() {
            true => vec![settings(5, "red")],
            false => {
                let of = held.iter().filter(|o| o.key.resource == *resource);
                of.cloned().collect()
            }
        }
    }

    fn answer(&self, request: Request) -> Result<Answer, StatusError> {
        self.0.reached.fetch_add(1, Ordering::SeqCst);
        let content = match &request {
            Request::List(list) => Content::List(ObjectList {
                revision: 7,
                items: self.held(&list.resource),
                ..ObjectList::default()
            }),
            Request::Get { key, .. } => match self.held(&key.resource).first() {
                Some(object) => Content::Object(object.clone()),
                None => return Err(StatusError::not_found(key)),
            },
            Request::DeleteCollection { .. } => Content::List(ObjectList {
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
        node: Option<&'a str>,
        request: NodeRequest,
    ) -> BoxFuture<'a, Result<NodeStream, StatusError>> {
        self.shared.reached.fetch_add(1, Ordering::SeqCst);
        let figures = self.shared.figures.lock().expect("not poisoned");
        let mut found = figures.iter().filter(|f| Some(&*f.node) == node);
        let found = found.next().filter(|_| request == NodeRequest::Metrics);
        let found = found.cloned();
        let listener = self.shared.listener.lock().expect("not poisoned").clone();
        async move {
            if let (None, Some(listener)) = (&found, listener) {
                let (stream, input, output) = crate::fake::stream();
                let told = listener.send((request, input, output)).await;
                told.map_err(|_| StatusError::unavailable("nobody listens"))?;
                return Ok(stream);
            }
            let figures = found.ok_or_else(|| StatusError::unavailable("no node"))?;
            let (stream, _, output) = crate::fake::stream();
            let sent = output.send(FromNode::Metrics(figures)).await;
            sent.map_err(|_| StatusError::unavailable("nobody listens"))?;
            Ok(stream)
        }
        .boxed()
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
