//! The API in memory: enough of it for an agent, without admission or authorisation.

use futures::FutureExt;
use futures::future::BoxFuture;
use kabuki_model::object::canonical_json;
use kabuki_model::request::{Answer, Content, ObjectList, Request, Subresource};
use kabuki_model::watch::{WatchEvent, WatchRequest};
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use kabuki_protocol::{Api, Watch};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};

/// Objects, revisions and watchers.
pub struct FakeApi {
    state: Mutex<State>,
    /// The present revision, for those who wait for a change.
    pub revision: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<ObjectKey, Arc<Stored>>,
    revision: u64,
    uids: u64,
    tokens: u64,
    refuses_tokens: bool,
    token_life_s: Option<i64>,
    watchers: Vec<(Selected, mpsc::Sender<Result<WatchEvent, StatusError>>)>,
}

/// What an agent watches: the pods of a node, one object, or all nodes.
struct Selected {
    resource: Resource,
    namespace: Option<String>,
    node: Option<String>,
}

impl Selected {
    fn of(request: &WatchRequest) -> Self {
        let fields = &request.selection.fields;
        Self {
            resource: request.selection.resource.clone(),
            namespace: request.selection.namespace.as_deref().map(str::to_string),
            node: fields.split_once('=').map(|(_, node)| node.to_string()),
        }
    }

    fn takes(&self, object: &Stored) -> bool {
        let on = |node: &str| object.to_value().expect("JSON")["spec"]["nodeName"] == *node;
        let here = self.namespace.as_deref();
        self.resource == object.key.resource
            && here.is_none_or(|n| *n == *object.key.namespace)
            && match (&self.node, object.key.resource == Resource::PODS) {
                (None, _) => true,
                (Some(node), true) => on(node),
                (Some(node), false) => *object.key.name == **node,
            }
    }
}

impl FakeApi {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            revision: watch::channel(0).0,
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic while locked")
    }

    /// Refuses tokens from now on, or no longer.
    pub fn refuse_tokens(&self, refuses: bool) {
        self.state().refuses_tokens = refuses;
    }

    /// Tokens live this long, whatever is asked for.
    pub fn tokens_live_s(&self, seconds: i64) {
        self.state().token_life_s = Some(seconds);
    }

    /// How many watches there are of a kind of objects.
    pub fn watchers(&self, resource: &Resource) -> usize {
        let state = self.state();
        let open = state
            .watchers
            .iter()
            .filter(|(s, w)| s.resource == *resource && !w.is_closed());
        open.count()
    }

    /// The object as JSON.
    pub fn get(&self, resource: Resource, namespace: &str, name: &str) -> Option<Value> {
        let key = ObjectKey::new(resource, namespace, name);
        self.state()
            .objects
            .get(&key)
            .map(|o| o.to_value().expect("JSON"))
    }

    /// All objects of a resource.
    pub fn all(&self, resource: Resource) -> Vec<Value> {
        let state = self.state();
        let found = state
            .objects
            .values()
            .filter(|o| o.key.resource == resource);
        found.map(|o| o.to_value().expect("JSON")).collect()
    }

    /// Puts an object as a client with all rights would.
    pub fn put(&self, resource: Resource, namespace: &str, mut object: Value) -> Arc<Stored> {
        let name = object["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_string();
        object["metadata"]["namespace"] = namespace.into();
        let key = ObjectKey::new(resource, namespace, &name);
        let mut state = self.state();
        let held = state.objects.get(&key).map(|o| o.uid.to_string());
        state.uids += 1;
        let uid = held.unwrap_or_else(|| format!("00000000-0000-4000-8000-{:012x}", state.uids));
        object["metadata"]["uid"] = uid.into();
        self.store(&mut state, key, object)
    }

    /// Forgets an object at once.
    pub fn forget(&self, resource: Resource, namespace: &str, name: &str) {
        let key = ObjectKey::new(resource, namespace, name);
        let mut state = self.state();
        if let Some(held) = state.objects.remove(&key) {
            state.revision += 1;
            let gone = Arc::new(held.at_revision(state.revision));
            self.tell(&mut state, WatchEvent::Deleted(gone));
        }
    }

    fn store(&self, state: &mut State, key: ObjectKey, object: Value) -> Arc<Stored> {
        state.revision += 1;
        let uid = object["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_string();
        let api_version = object["apiVersion"].as_str().unwrap_or("v1").to_string();
        let kind = object["kind"].as_str().unwrap_or_default().to_string();
        let map = object.as_object().expect("an object").clone();
        let json = canonical_json(&api_version, &kind, map);
        let stored = Arc::new(Stored::new(key.clone(), uid.into(), state.revision, json));
        let event = match state.objects.insert(key, stored.clone()) {
            Some(_) => WatchEvent::Modified(stored.clone()),
            None => WatchEvent::Added(stored.clone()),
        };
        self.tell(state, event);
        stored
    }

    fn tell(&self, state: &mut State, event: WatchEvent) {
        let object = event.object().expect("not a bookmark");
        state.watchers.retain(|(selected, sender)| {
            !selected.takes(object) || sender.try_send(Ok(event.clone())).is_ok()
        });
        self.revision.send_replace(state.revision);
    }

    fn perform(&self, request: Request) -> Result<Answer, StatusError> {
        match request {
            Request::Get { key, .. } => {
                let held = self.state().objects.get(&key).cloned();
                held.map(Answer::object)
                    .ok_or_else(|| StatusError::not_found(&key))
            }
            Request::List(list) => {
                let state = self.state();
                let of = |o: &&Arc<Stored>| o.key.resource == list.resource;
                let items = state.objects.values().filter(of).cloned().collect();
                let list = ObjectList {
                    revision: state.revision,
                    items,
                    ..ObjectList::default()
                };
                Ok(Answer {
                    content: Content::List(list),
                    warnings: Vec::new(),
                })
            }
            Request::Create {
                resource,
                namespace,
                object,
                ..
            } => {
                let object: Value = serde_json::from_slice(&object).expect("JSON");
                let name = object["metadata"]["name"].as_str().expect("a name");
                let key = ObjectKey::new(resource.clone(), &namespace, name);
                if self.state().objects.contains_key(&key) {
                    return Err(StatusError::already_exists(&key));
                }
                Ok(Answer::object(self.put(resource, &namespace, object)))
            }
            Request::Patch {
                key,
                subresource,
                patch,
                ..
            } => {
                let patch: Value = serde_json::from_slice(&patch).expect("JSON");
                let mut state = self.state();
                let held = state
                    .objects
                    .get(&key)
                    .ok_or_else(|| StatusError::not_found(&key))?;
                let mut object = held.to_value().expect("JSON");
                let uid = patch["metadata"]["uid"].as_str();
                if uid.is_some_and(|uid| *held.uid != *uid) {
                    return Err(StatusError::conflict(&key, "another uid"));
                }
                match subresource {
                    Some(Subresource::Status) => merge(&mut object["status"], &patch["status"]),
                    _ => merge(&mut object, &patch),
                }
                Ok(Answer::object(self.store(&mut state, key, object)))
            }
            Request::Delete { key, options } => {
                let held = self.state().objects.get(&key).cloned();
                let held = held.ok_or_else(|| StatusError::not_found(&key))?;
                if options.uid.is_some_and(|uid| uid != held.uid) {
                    return Err(StatusError::conflict(&key, "another uid"));
                }
                match options.grace_period_s {
                    Some(0) => self.forget(key.resource, &key.namespace, &key.name),
                    grace => self.delete_gracefully(&held, grace.unwrap_or(30)),
                }
                Ok(Answer::object(held))
            }
            Request::Token {
                account,
                audiences,
                expiration_s,
                bound_pod,
            } => {
                let mut state = self.state();
                if state.refuses_tokens {
                    return Err(StatusError::unavailable("no tokens today"));
                }
                state.tokens += 1;
                let (pod, uid) = bound_pod.expect("a pod");
                let token = format!(
                    "{}:{}:{}:{pod}:{}:{}",
                    account.namespace,
                    account.name,
                    audiences.join("+"),
                    !uid.is_empty(),
                    state.tokens
                );
                let life = state.token_life_s.unwrap_or(expiration_s);
                let expires_s = jiff::Timestamp::now().as_second() + life;
                let content = Content::Token { token, expires_s };
                Ok(Answer {
                    content,
                    warnings: Vec::new(),
                })
            }
            other => Err(StatusError::bad_request(format!("{other:?}"))),
        }
    }

    fn delete_gracefully(&self, held: &Stored, grace_s: i64) {
        let mut object = held.to_value().expect("JSON");
        let at = jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        object["metadata"]["deletionTimestamp"] = at.into();
        object["metadata"]["deletionGracePeriodSeconds"] = grace_s.into();
        self.put(held.key.resource.clone(), &held.key.namespace, object);
    }

    fn begin(&self, request: &WatchRequest) -> Watch {
        let selected = Selected::of(request);
        let (sender, receiver) = mpsc::channel(10_000);
        let mut state = self.state();
        for object in state.objects.values().filter(|o| selected.takes(o)) {
            let event = WatchEvent::Added(object.clone());
            sender.try_send(Ok(event)).expect("room");
        }
        let revision = state.revision;
        sender
            .try_send(Ok(WatchEvent::Bookmark {
                revision,
                initial_end: true,
            }))
            .expect("room");
        state.watchers.push((selected, sender));
        Watch::new(receiver)
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        match value {
            Value::Null => drop(target.as_object_mut().expect("an object").remove(name)),
            value => merge(&mut target[name.as_str()], value),
        }
    }
}

impl Api for FakeApi {
    fn request(&self, request: Request) -> BoxFuture<'_, Result<Answer, StatusError>> {
        async move { self.perform(request) }.boxed()
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<Watch, StatusError>> {
        async move { Ok(self.begin(&request)) }.boxed()
    }
}
