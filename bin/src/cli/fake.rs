//! An API in memory, for the tests of verbs: objects as they are given, without admission.

use super::session::Session;
use futures::future::BoxFuture;
use kabuki_model::kind;
use kabuki_model::object::{ObjectKey, Resource, Stored, canonical_json};
use kabuki_model::request::{Answer, Content, ObjectList, Request};
use kabuki_model::watch::{WatchEvent, WatchRequest, WatchStart};
use kabuki_model::{Selection, StatusError};
use kabuki_protocol::{Api, Watch};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Objects by key; every write is noted.
#[derive(Default)]
pub struct FakeApi {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<ObjectKey, Arc<Stored>>,
    revision: u64,
    writes: Vec<String>,
}

/// A session with these objects, each with a uid of its own.
pub fn session(objects: &[Value]) -> (Session, Arc<FakeApi>) {
    let api = Arc::new(FakeApi::default());
    for object in objects {
        api.put(object.clone());
    }
    (Session::with_api(api.clone()), api)
}

impl FakeApi {
    fn put(&self, mut value: Value) -> Arc<Stored> {
        let kind = value["kind"]
            .as_str()
            .and_then(kind::by_name)
            .expect("a kind");
        if kind.names.namespaced && value["metadata"]["namespace"].is_null() {
            value["metadata"]["namespace"] = "default".into();
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let (namespace, name) = (
            text(&value["metadata"]["namespace"]),
            text(&value["metadata"]["name"]),
        );
        let mut state = self.state.lock().expect("not poisoned");
        state.revision += 1;
        if value["metadata"]["uid"].is_null() {
            value["metadata"]["uid"] = format!("uid-{}", state.revision).into();
        }
        let fields = value.as_object().expect("an object").clone();
        let json = canonical_json(&kind.api_version(), kind.names.kind, fields);
        let key = ObjectKey::new(kind.resource.clone(), &namespace, &name);
        let uid = text(&value["metadata"]["uid"]);
        let stored = Arc::new(Stored::new(key.clone(), uid.into(), state.revision, json));
        state.objects.insert(key, stored.clone());
        stored
    }

    /// An object as it is now.
    pub fn value(&self, resource: Resource, name: &str) -> Option<Value> {
        let state = self.state.lock().expect("not poisoned");
        let found = state
            .objects
            .values()
            .find(|o| o.key.resource == resource && &*o.key.name == name);
        found.map(|o| o.to_value().expect("JSON"))
    }

    /// What was written, since this was last asked.
    pub fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().expect("not poisoned").writes)
    }

    fn note(&self, what: &str, about: impl std::fmt::Display) {
        self.state
            .lock()
            .expect("not poisoned")
            .writes
            .push(format!("{what} {about}"));
    }

    fn get(&self, key: &ObjectKey) -> Result<Arc<Stored>, StatusError> {
        let state = self.state.lock().expect("not poisoned");
        state
            .objects
            .get(key)
            .cloned()
            .ok_or_else(|| StatusError::not_found(key))
    }

    fn list(
        &self,
        request: &kabuki_model::request::ListRequest,
    ) -> Result<ObjectList, StatusError> {
        let selection = Selection::compile(request)?;
        let state = self.state.lock().expect("not poisoned");
        Ok(ObjectList {
            revision: state.revision,
            items: state
                .objects
                .values()
                .filter(|o| selection.matches(o))
                .cloned()
                .collect(),
            ..ObjectList::default()
        })
    }

    fn perform(&self, request: Request) -> Result<Answer, StatusError> {
        match request {
            Request::Get { key, .. } => Ok(Answer::object(self.get(&key)?)),
            Request::List(request) => Ok(Answer {
                content: Content::List(self.list(&request)?),
                warnings: Vec::new(),
            }),
            Request::Create {
                resource,
                namespace,
                object,
                options,
            } => {
                let value: Value = serde_json::from_slice(&object).expect("JSON");
                let name = value["metadata"]["name"].as_str().unwrap_or_default();
                let key = ObjectKey::new(resource, &namespace, name);
                if self.get(&key).is_ok() {
                    return Err(StatusError::already_exists(&key));
                }
                self.note("create", &key);
                Ok(Answer::object(self.keep(value, options.dry_run)))
            }
            Request::Update {
                key,
                object,
                options,
                ..
            } => {
                self.get(&key)?;
                self.note("update", &key);
                let value = serde_json::from_slice(&object).expect("JSON");
                Ok(Answer::object(self.keep(value, options.dry_run)))
            }
            Request::Patch {
                key,
                patch_type,
                patch,
                options,
                ..
            } => {
                let before = self.get(&key)?.to_value().expect("JSON");
                let patch: Value = serde_json::from_slice(&patch).expect("JSON");
                self.note("patch", format!("{key} {patch}"));
                let after = kabuki_model::patch::apply(patch_type, &before, &patch)?;
                Ok(Answer::object(self.keep(after, options.dry_run)))
            }
            Request::Delete { key, options } => {
                let object = self.get(&key)?;
                let grace = options
                    .grace_period_s
                    .map_or(String::new(), |g| format!(" {g}s"));
                self.note("delete", format!("{key}{grace}"));
                self.state
                    .lock()
                    .expect("not poisoned")
                    .objects
                    .remove(&key);
                Ok(Answer::object(object))
            }
            Request::Evict { pod, options } => {
                let object = self.get(&pod)?;
                let note = match (options.dry_run, options.grace_period_s) {
                    (true, _) => " (dry run)".to_string(),
                    (false, grace) => grace.map_or(String::new(), |g| format!(" {g}s")),
                };
                self.note("evict", format!("{pod}{note}"));
                if !options.dry_run {
                    let mut state = self.state.lock().expect("not poisoned");
                    state.objects.remove(&pod);
                }
                Ok(Answer::object(object))
            }
            Request::Review { kind, object, .. } => {
                let who = kabuki_model::identity::Identity::new("jo", []);
                let view = kabuki_model::view::MapView::default();
                kabuki_admission::review(&view, &who, kind, "", &object)
            }
            other => Err(StatusError::bad_request(format!("not faked: {other:?}"))),
        }
    }

    fn keep(&self, value: Value, dry_run: bool) -> Arc<Stored> {
        if !dry_run {
            return self.put(value);
        }
        let kind = value["kind"]
            .as_str()
            .and_then(kind::by_name)
            .expect("a kind");
        let key = ObjectKey::new(kind.resource.clone(), "default", "dry");
        Arc::new(Stored::new(key, "".into(), 0, value.to_string().into()))
    }
}

impl Api for FakeApi {
    fn request(&self, request: Request) -> BoxFuture<'_, Result<Answer, StatusError>> {
        let answer = self.perform(request);
        Box::pin(async move { answer })
    }

    /// What there is, and then the end of the list. Nothing changes after that.
    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<Watch, StatusError>> {
        let list = self.list(&request.selection);
        Box::pin(async move {
            let list = list?;
            let (sender, events) = mpsc::channel(list.items.len() + 1);
            if request.start == WatchStart::List {
                for object in list.items {
                    let _ = sender.try_send(Ok(WatchEvent::Added(object)));
                }
                let end = WatchEvent::Bookmark {
                    revision: list.revision,
                    initial_end: true,
                };
                let _ = sender.try_send(Ok(end));
            }
            // Held open: a watch only ends when its watcher leaves.
            tokio::spawn(async move { sender.closed().await });
            Ok(Watch::new(events))
        })
    }
}

/// A running pod.
pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "default", "labels": {"app": "web", "tier": "front"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "nodeName": "a",
            "containers": [{"name": "main", "image": "web:1", "ports": [{"containerPort": 80}]}],
        },
        "status": {
            "phase": "Running", "podIP": "10.244.0.5", "hostIP": "10.0.0.1",
            "podIPs": [{"ip": "10.244.0.5"}], "startTime": "2026-01-01T00:00:01Z",
            "qosClass": "BestEffort",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{
                "name": "main", "image": "web:1", "imageID": "sha256:1", "ready": true,
                "restartCount": 0, "containerID": "kabuki://c1",
                "state": {"running": {"startedAt": "2026-01-01T00:00:02Z"}},
            }],
        },
    })
}

/// A deployment of some replicas.
pub fn deployment(name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": name, "namespace": "default", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"deployment.kubernetes.io/revision": "1"},
        },
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
            },
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "web:1"}]},
            },
        },
        "status": {
            "observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas,
            "readyReplicas": replicas, "availableReplicas": replicas,
            "conditions": [{
                "type": "Available", "status": "True", "reason": "MinimumReplicasAvailable",
            }],
        },
    })
}
