use super::actor::Scheduler;
use crate::events::EventSink;
use futures::future::BoxFuture;
use kabuki_model::request::{Answer, Content, ObjectList, Request};
use kabuki_model::view::{MapView, View};
use kabuki_model::watch::{WatchEvent, WatchRequest};
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use kabuki_protocol::{Api, Watch};
use ractor::{Actor, ActorRef};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};

type Events = mpsc::Sender<Result<WatchEvent, StatusError>>;

/// An API over a plain map, which counts its revisions in `seen`.
struct World {
    state: Mutex<State>,
    seen: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    view: MapView,
    watchers: Vec<(Resource, Events)>,
    /// Pods whose next binding is refused.
    unlucky: HashSet<String>,
    /// It goes between the list and the watch.
    leaving: Option<ObjectKey>,
    batches: Vec<usize>,
    complaints: usize,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            seen: watch::Sender::new(0),
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut state);
        let revision = state.view.revision();
        drop(state);
        self.seen.send_replace(revision);
        result
    }

    fn put(&self, resource: Resource, namespace: &str, object: Value) {
        let name = object["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_string();
        let key = ObjectKey::new(resource, namespace, &name);
        self.with(|state| state.put(key, &object));
    }

    fn node(&self, name: &str, cpu: &str) {
        let allocatable = json!({"cpu": cpu, "memory": "8Gi", "pods": "110"});
        let object = json!({"metadata": {"name": name}, "status": {"allocatable": allocatable}});
        self.put(Resource::NODES, "", object);
    }

    fn pod(&self, name: &str, cpu: &str, scheduler: &str) {
        let object = json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "schedulerName": scheduler,
                "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}],
            },
        });
        self.put(Resource::PODS, "default", object);
    }

    fn read(&self, name: &str) -> Value {
        let key = ObjectKey::new(Resource::PODS, "default", name);
        self.with(|s| {
            s.view
                .get(&key)
                .map(|o| o.to_value().expect("valid"))
                .unwrap_or_default()
        })
    }

    /// Waits until a pod is as `wanted`.
    async fn until(&self, name: &str, wanted: impl Fn(&Value) -> bool) {
        let mut seen = self.seen.subscribe();
        let wait = async {
            while !wanted(&self.read(name)) {
                // The read itself counts as a change; what matters is that it is not forgotten.
                tokio::task::yield_now().await;
                let _ = seen.changed().await;
            }
        };
        let limit = std::time::Duration::from_secs(20);
        if tokio::time::timeout(limit, wait).await.is_err() {
            panic!("{name} stays {}", self.read(name));
        }
    }
}

impl State {
    fn put(&mut self, key: ObjectKey, object: &Value) {
        let uid: Arc<str> = key.to_string().into();
        let stored = self
            .view
            .put(&Stored::new(key, uid, 0, object.to_string().into()));
        self.tell(&stored, WatchEvent::Modified);
    }

    fn tell(&mut self, object: &Arc<Stored>, event: impl Fn(Arc<Stored>) -> WatchEvent) {
        let resource = &object.key.resource;
        for (_, watcher) in self.watchers.iter().filter(|(r, _)| r == resource) {
            watcher
                .try_send(Ok(event(object.clone())))
                .expect("there is room");
        }
    }

    fn change(&mut self, key: &ObjectKey, change: impl FnOnce(&mut Value)) {
        let present = self.view.get(key).expect("present").clone();
        let mut object: Value = serde_json::from_slice(&present.json).expect("JSON");
        change(&mut object);
        self.put(key.clone(), &object);
    }

    fn perform(&mut self, request: Request) -> Answer {
        let content = match request {
            Request::List(list) => Content::List(ObjectList {
                items: self
                    .view
                    .scan(&list.resource, None, None)
                    .cloned()
                    .collect(),
                ..ObjectList::default()
            }),
            Request::Bind(bindings) => {
                self.batches.push(bindings.len());
                let each = bindings.into_iter().map(|binding| {
                    if self.unlucky.remove(&*binding.pod.name) {
                        return Some(StatusError::conflict(&binding.pod, "bad luck"));
                    }
                    let node = ObjectKey::new(Resource::NODES, "", &binding.node);
                    if self.view.get(&node).is_none() {
                        return Some(StatusError::not_found(&node));
                    }
                    self.change(&binding.pod, |pod| {
                        pod["spec"]["nodeName"] = (*binding.node).into()
                    });
                    None
                });
                Content::Bindings(each.collect())
            }
            Request::Patch { key, patch, .. } => {
                self.complaints += 1;
                let patch: Value = serde_json::from_slice(&patch).expect("JSON");
                self.change(&key, |pod| pod["status"] = patch["status"].clone());
                Content::Bindings(Vec::new())
            }
            other => panic!("the scheduler asked for {other:?}"),
        };
        Answer {
            content,
            warnings: Vec::new(),
        }
    }
}

impl Api for World {
    fn request(&self, request: Request) -> BoxFuture<'_, Result<Answer, StatusError>> {
        Box::pin(async move { Ok(self.with(|state| state.perform(request))) })
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<Watch, StatusError>> {
        Box::pin(async move {
            let (sender, receiver) = mpsc::channel(4096);
            let resource = request.selection.resource;
            self.with(|state| {
                if let Some(key) = state.leaving.take_if(|key| key.resource == resource) {
                    state.view.remove(&key);
                }
                for object in state.view.scan(&resource, None, None) {
                    sender
                        .try_send(Ok(WatchEvent::Added(object.clone())))
                        .expect("room");
                }
                let end = WatchEvent::Bookmark {
                    revision: state.view.revision(),
                    initial_end: true,
                };
                sender.try_send(Ok(end)).expect("room");
                state.watchers.push((resource, sender));
            });
            Ok(Watch::new(receiver))
        })
    }
}

async fn start(world: &Arc<World>) -> ActorRef<super::message::SchedulerMessage> {
    let scheduler = Scheduler {
        api: world.clone(),
        events: EventSink::default(),
    };
    Actor::spawn(None, scheduler, ()).await.expect("starts").0
}

fn node_of(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str()
}

fn complaint(pod: &Value) -> Option<&str> {
    pod["status"]["conditions"][0]["message"].as_str()
}

#[tokio::test]
async fn a_node_that_goes_before_the_watch_begins_takes_no_pod_for_long() {
    let world = World::new();
    // The larger one would be preferred.
    world.node("leaving", "8");
    world.node("staying", "2");
    let leaving = ObjectKey::new(Resource::NODES, "", "leaving");
    world.with(|state| state.leaving = Some(leaving));
    world.pod("early", "1", "default-scheduler");
    let scheduler = start(&world).await;
    world
        .until("early", |pod| node_of(pod) == Some("staying"))
        .await;
    scheduler.stop(None);
}

#[tokio::test]
async fn pods_that_wait_are_bound_in_one_batch_and_others_are_left_alone() {
    let world = World::new();
    world.node("a", "4");
    for name in ["one", "two", "three"] {
        world.pod(name, "1", "default-scheduler");
    }
    world.pod("foreign", "1", "other");
    let scheduler = start(&world).await;
    for name in ["one", "two", "three"] {
        world.until(name, |pod| node_of(pod) == Some("a")).await;
    }
    assert_eq!(world.with(|s| s.batches.clone()), [3]);
    assert_eq!(node_of(&world.read("foreign")), None);
    scheduler.stop(None);
}

#[tokio::test]
async fn a_pod_that_fits_nowhere_is_told_once_and_bound_when_a_node_comes() {
    let world = World::new();
    let scheduler = start(&world).await;
    world.pod("web", "2", "default-scheduler");
    world
        .until("web", |pod| {
            complaint(pod) == Some("no nodes available to schedule pods")
        })
        .await;
    world.node("small", "1");
    world.node("large", "4");
    world
        .until("web", |pod| node_of(pod) == Some("large"))
        .await;
    assert_eq!(world.with(|s| s.complaints), 1);
    scheduler.stop(None);
}

#[tokio::test]
async fn a_refused_binding_is_tried_again() {
    let world = World::new();
    world.node("a", "1");
    world.with(|state| state.unlucky.insert("web".to_string()));
    world.pod("web", "1", "default-scheduler");
    let scheduler = start(&world).await;
    world.until("web", |pod| node_of(pod) == Some("a")).await;
    assert_eq!(world.with(|s| s.batches.clone()), [1, 1]);
    scheduler.stop(None);
}

#[tokio::test]
async fn room_that_a_pod_leaves_goes_to_one_that_waits() {
    let world = World::new();
    world.node("a", "1");
    let scheduler = start(&world).await;
    world.pod("first", "1", "default-scheduler");
    world.until("first", |pod| node_of(pod) == Some("a")).await;
    world.pod("second", "1", "default-scheduler");
    world
        .until("second", |pod| {
            complaint(pod) == Some("0/1 nodes are available: 1 Insufficient cpu.")
        })
        .await;
    let key = ObjectKey::new(Resource::PODS, "default", "first");
    world.with(|state| state.change(&key, |pod| pod["status"] = json!({"phase": "Succeeded"})));
    world.until("second", |pod| node_of(pod) == Some("a")).await;
    scheduler.stop(None);
}
