//! A small world for the tests of the cores: a view, a clock, and what the API would do with
//! the cores' requests. It knows nothing of validation or defaults.

use crate::reconciler::{Action, Outcome, Reconciler};
use jiff::{SignedDuration, Timestamp};
use kabuki_model::event::EventRecord;
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kabuki_model::object::canonical_json;
use kabuki_model::request::{
    DeleteOptions, ListRequest, PatchType, Propagation, Request, Subresource,
};
use kabuki_model::selector::Selection;
use kabuki_model::status::StatusError;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored, kind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod indexed;

pub(crate) use indexed::IndexedView;

/// More rounds than any test needs; a core that goes on beyond them does not converge.
const MAX_ROUNDS: usize = 2000;

/// Decides whether a request is refused.
type Refusal = Box<dyn Fn(&Request) -> Option<StatusError>>;

pub(crate) struct World {
    view: IndexedView,
    cores: Vec<Box<dyn Reconciler>>,
    ready: BTreeSet<(usize, ObjectKey)>,
    due: BTreeMap<(usize, ObjectKey), Timestamp>,
    now: Timestamp,
    uids: u64,
    pub events: Vec<EventRecord>,
    pub requests: Vec<Request>,
    /// Says whether a request is refused.
    pub refuse: Refusal,
}

impl World {
    pub(crate) fn new(cores: Vec<Box<dyn Reconciler>>) -> Self {
        Self {
            view: IndexedView::default(),
            cores,
            ready: BTreeSet::new(),
            due: BTreeMap::new(),
            now: "2030-01-01T00:00:00Z".parse().expect("a time"),
            uids: 0,
            events: Vec::new(),
            requests: Vec::new(),
            refuse: Box::new(|_| None),
        }
    }

    pub(crate) fn view(&self) -> &IndexedView {
        &self.view
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// The typed form of an object.
    pub(crate) fn get<T: serde::de::DeserializeOwned + Send + Sync + 'static>(
        &self,
        key: &ObjectKey,
    ) -> Arc<T> {
        self.view
            .get(key)
            .expect("present")
            .typed()
            .expect("decodes")
    }

    /// The messages of the events with this reason.
    pub(crate) fn messages(&self, reason: &str) -> Vec<&str> {
        let events = self.events.iter().filter(|e| e.reason == reason);
        events.map(|e| e.message.as_str()).collect()
    }

    /// Puts an object as if a person had created it.
    pub(crate) fn create(&mut self, mut object: Value) -> ObjectKey {
        let kind = kind::by_name(object["kind"].as_str().expect("a kind")).expect("known");
        let meta = &object["metadata"];
        let namespace = meta["namespace"].as_str().unwrap_or_default().to_string();
        let name = meta["name"].as_str().expect("a name").to_string();
        self.uids += 1;
        object["metadata"]["uid"] = format!("u{}", self.uids).into();
        object["metadata"]["creationTimestamp"] = self.now.to_string().into();
        object["metadata"]["generation"] = 1.into();
        let key = ObjectKey::new(kind.resource.clone(), &namespace, &name);
        self.put(key.clone(), object);
        key
    }

    /// Changes an object as if a person had.
    pub(crate) fn change(&mut self, key: &ObjectKey, change: impl FnOnce(&mut Value)) {
        let before = self
            .view
            .get(key)
            .expect("present")
            .to_value()
            .expect("valid");
        let mut after = before.clone();
        change(&mut after);
        if after["spec"] != before["spec"] {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or(0);
            after["metadata"]["generation"] = (generation + 1).into();
        }
        if after != before {
            self.put(key.clone(), after);
        }
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        let gone = self.view.remove(key).expect("present");
        self.changed(&gone, Some(&gone), true);
    }

    fn put(&mut self, key: ObjectKey, object: Value) {
        let kind = kind::of(&key.resource).expect("known");
        let uid = object["metadata"]["uid"].as_str().expect("a uid").into();
        let Value::Object(fields) = object else {
            panic!("no object")
        };
        let json = canonical_json(&kind.api_version(), kind.names.kind, fields);
        let previous = self.view.get(&key).cloned();
        let stored = self.view.put(&Stored::new(key, uid, 0, json));
        let meta: &ObjectMeta = stored.meta();
        let free = meta.finalizers.as_ref().is_none_or(Vec::is_empty);
        let namespace_done = stored.to_value().expect("valid")["spec"]["finalizers"]
            .as_array()
            .is_none_or(Vec::is_empty);
        let over = meta.deletion_grace_period_seconds.unwrap_or(0) == 0;
        if meta.deletion_timestamp.is_some() && free && namespace_done && over {
            self.view.remove(&stored.key);
            self.changed(&stored, previous.as_deref(), true);
        } else {
            self.changed(&stored, previous.as_deref(), false);
        }
    }

    fn changed(&mut self, object: &Stored, previous: Option<&Stored>, removed: bool) {
        for (index, core) in self.cores.iter().enumerate() {
            let resource = &object.key.resource;
            let selection = ListRequest {
                fields: core.selects(resource),
                ..ListRequest::all(resource.clone(), None)
            };
            let selection = Selection::compile(&selection).expect("a selection that can be read");
            if core.watches().contains(resource) && selection.matches(object) {
                let keys = core.keys(&self.view, object, previous, removed);
                self.ready.extend(keys.into_iter().map(|key| (index, key)));
            }
        }
    }

    /// What is to be done is forgotten, as if nothing of it had been told.
    pub(crate) fn forget_changes(&mut self) {
        self.ready.clear();
    }

    /// A watch was lost and begins again with a list.
    pub(crate) fn relisted(&mut self, resource: &Resource) {
        for (index, core) in self.cores.iter().enumerate() {
            let keys = core.relisted(&self.view, resource);
            self.ready.extend(keys.into_iter().map(|key| (index, key)));
        }
    }

    /// Lets time pass, one due key after the other.
    pub(crate) fn advance(&mut self, by: SignedDuration) {
        let end = self.now + by;
        loop {
            self.settle();
            let next = self.due.iter().min_by_key(|(_, at)| **at);
            match next.map(|(key, at)| (key.clone(), *at)) {
                Some((key, at)) if at <= end => {
                    self.due.remove(&key);
                    self.now = self.now.max(at);
                    self.ready.insert(key);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// Runs the cores until none has anything to do now.
    pub(crate) fn settle(&mut self) {
        for _ in 0..MAX_ROUNDS {
            if !self.step() {
                return;
            }
        }
        panic!(
            "does not converge; the last requests: {:#?}",
            &self.requests[self.requests.len() - 5..]
        );
    }

    /// Reconciles one key. Says whether there was one.
    pub(crate) fn step(&mut self) -> bool {
        let Some((index, key)) = self.ready.pop_first() else {
            return false;
        };
        let outcome = self.cores[index].reconcile(&self.view, &key, self.now);
        if let Some(at) = outcome.again_at {
            self.due.insert((index, key.clone()), at);
        }
        if let Err(refused) = self.perform(outcome) {
            let (request, error) = *refused;
            let core = &self.cores[index];
            let told = core.refused(&self.view, &key, &request, &error, self.now);
            let _ = self.perform(told);
            // A back-off in the real shell.
            self.due
                .insert((index, key), self.now + SignedDuration::from_millis(5));
        }
        true
    }

    fn perform(&mut self, outcome: Outcome) -> Result<(), Box<(Request, StatusError)>> {
        for action in outcome.actions {
            match action {
                Action::Event(record) => self.events.push(record),
                Action::Request(request) => {
                    self.requests.push(request.clone());
                    if let Some(error) = (self.refuse)(&request) {
                        return Err(Box::new((request, error)));
                    }
                    self.request(&request)
                        .map_err(|error| Box::new((request, error)))?;
                }
            }
        }
        Ok(())
    }

    /// Performs requests that come from elsewhere.
    pub(crate) fn perform_all(&mut self, requests: &[Request]) {
        for request in requests {
            self.request(request).expect("is performed");
        }
    }

    fn request(&mut self, request: &Request) -> Result<(), StatusError> {
        match request {
            Request::Create {
                object, namespace, ..
            } => {
                let mut object: Value = serde_json::from_slice(object).expect("JSON");
                object["metadata"]["namespace"] = namespace.to_string().into();
                let kind = object["kind"].as_str().expect("a kind");
                let resource = kind::by_name(kind).expect("known").resource.clone();
                let name = object["metadata"]["name"].as_str().expect("a name");
                if self
                    .view
                    .get(&ObjectKey::new(resource, namespace, name))
                    .is_none()
                {
                    self.create(object);
                }
            }
            Request::Update {
                key,
                subresource,
                object,
                ..
            } => {
                let body: Value = serde_json::from_slice(object).expect("JSON");
                self.check(key, &body["metadata"])?;
                self.change(key, |present| match subresource {
                    Some(Subresource::Status) => present["status"] = body["status"].clone(),
                    None => *present = replaced(present, body),
                    _ => present["spec"] = body["spec"].clone(),
                });
            }
            Request::Patch {
                key,
                patch_type: PatchType::Merge,
                patch,
                ..
            } => {
                let mut patch: Value = serde_json::from_slice(patch).expect("JSON");
                self.check(key, &patch["metadata"])?;
                if let Some(meta) = patch["metadata"].as_object_mut() {
                    meta.remove("resourceVersion");
                }
                self.change(key, |present| {
                    kabuki_model::patch::merge_patch(present, &patch)
                });
            }
            Request::Delete { key, options } => self.delete(key, options),
            Request::DeleteCollection { selection, options } => {
                let namespace = selection.namespace.as_deref();
                let found: Vec<ObjectKey> = self
                    .view
                    .scan(&selection.resource, namespace, None)
                    .map(|o| o.key.clone())
                    .collect();
                found.iter().for_each(|key| self.delete(key, options));
            }
            other => panic!("no core asks for {other:?}"),
        }
        Ok(())
    }

    fn check(&self, key: &ObjectKey, given: &Value) -> Result<(), StatusError> {
        let Some(present) = self.view.get(key) else {
            return Err(StatusError::not_found(key));
        };
        let revision = present.revision.to_string();
        let uid = given["uid"].as_str().is_none_or(|u| *u == *present.uid);
        let same = given["resourceVersion"]
            .as_str()
            .is_none_or(|r| r == revision);
        match uid && same {
            true => Ok(()),
            false => Err(StatusError::conflict(key, "it has changed")),
        }
    }

    pub(crate) fn delete(&mut self, key: &ObjectKey, options: &DeleteOptions) {
        let Some(present) = self.view.get(key) else {
            return;
        };
        let pod = *present.key.resource.as_str() == *"pods";
        let now = self.now.to_string();
        let grace = match (pod, options.grace_period_s) {
            (true, None) => 30,
            (_, given) => given.unwrap_or(0),
        };
        self.change(key, |object| {
            let finalizer = match options.propagation {
                Some(Propagation::Foreground) => "foregroundDeletion",
                Some(Propagation::Orphan) => "orphan",
                _ => "",
            };
            let meta = &mut object["metadata"];
            if !finalizer.is_empty() && meta.get("deletionTimestamp").is_none() {
                let mut all = meta["finalizers"].as_array().cloned().unwrap_or_default();
                all.push(finalizer.into());
                meta["finalizers"] = all.into();
            }
            if meta.get("deletionTimestamp").is_none() {
                meta["deletionTimestamp"] = now.into();
            }
            meta["deletionGracePeriodSeconds"] = json!(grace);
        });
    }
}

/// The object of an update, with what only the server writes.
fn replaced(present: &Value, mut body: Value) -> Value {
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "generation",
    ] {
        body["metadata"][field] = present["metadata"][field].clone();
    }
    if let Some(meta) = body["metadata"].as_object_mut() {
        meta.remove("resourceVersion");
        meta.retain(|_, value| !value.is_null());
    }
    for field in ["apiVersion", "kind"] {
        body[field] = present[field].clone();
    }
    body
}
