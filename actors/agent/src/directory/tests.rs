use super::*;
use futures::future::BoxFuture;
use kabuki_kit::{Root, Strategy, SupervisorSpec, Tree};
use kabuki_model::StatusError;
use kabuki_model::object::ObjectKey;
use kabuki_model::request::{Answer, Request};
use kabuki_model::status::Reason;
use kabuki_model::watch::WatchRequest;
use kabuki_protocol::{Api, Watch};
use std::collections::HashMap;
use tokio::sync::mpsc;

type Events = mpsc::Sender<Result<WatchEvent, StatusError>>;

/// An API of watches that the test feeds.
#[derive(Default)]
pub(crate) struct Fed {
    open: Mutex<HashMap<String, Events>>,
}

impl Api for Fed {
    fn request(&self, _: Request) -> BoxFuture<'_, Result<Answer, StatusError>> {
        Box::pin(async { Err(StatusError::new(Reason::ServiceUnavailable, "watches only")) })
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<Watch, StatusError>> {
        let (events, watch) = mpsc::channel(16);
        let resource = request.selection.resource.as_str().to_string();
        self.open.lock().unwrap().insert(resource, events);
        Box::pin(async { Ok(Watch::new(watch)) })
    }
}

impl Fed {
    pub(crate) async fn send(&self, resource: &str, event: WatchEvent) {
        let events = loop {
            if let Some(events) = self.open.lock().unwrap().get(resource).cloned() {
                break events;
            }
            tokio::task::yield_now().await;
        };
        events.send(Ok(event)).await.unwrap();
    }

    pub(crate) async fn end_lists(&self) {
        for resource in [SERVICES, SLICES] {
            let end = WatchEvent::Bookmark {
                revision: 9,
                initial_end: true,
            };
            self.send(resource, end).await;
        }
    }
}

pub(crate) const SERVICES: &str = "services";
pub(crate) const SLICES: &str = "endpointslices.discovery.k8s.io";

fn stored(resource: &str, name: &str, json: serde_json::Value) -> Arc<Stored> {
    let key = ObjectKey::new(Resource::named(resource), "default", name);
    let bytes = serde_json::to_vec(&json).unwrap();
    Arc::new(Stored::new(key, "uid".into(), 7, bytes.into()))
}

pub(crate) fn service(name: &str) -> Arc<Stored> {
    let json = serde_json::json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIPs": ["10.96.0.10"], "ports": [{"port": 80}]},
    });
    stored(SERVICES, name, json)
}

pub(crate) fn slice(name: &str, service: &str) -> Arc<Stored> {
    let json = serde_json::json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "namespace": "default",
            "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"port": 8080}], "endpoints": [{"addresses": ["10.244.0.2"]}],
    });
    stored(SLICES, name, json)
}

/// A slice of `web` with one endpoint, which is for a zone.
pub(crate) fn hinted_slice(name: &str, address: &str, zone: &str) -> Arc<Stored> {
    let json = serde_json::json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "namespace": "default",
            "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": [address], "hints": {"forZones": [{"name": zone}]}}],
    });
    stored(SLICES, name, json)
}

fn web(name: &str) -> ServiceKey {
    ServiceKey {
        namespace: "default".into(),
        name: name.into(),
    }
}

async fn start(directory: &DirectoryHandle) -> Root {
    let spec = SupervisorSpec::new(Strategy::OneForOne).child(directory.child());
    Root::start(&Tree::new(), "test", spec).await.unwrap()
}

#[tokio::test]
async fn subscribers_hear_of_changes_in_order_and_of_the_first_complete_list() {
    let place = tempfile::tempdir().unwrap();
    let api = Arc::new(Fed::default());
    let directory = DirectoryHandle::new(api.clone(), place.path().join("services"));
    let mut changes = directory.subscribe();
    let first = changes.next().await;
    assert!(first.all && first.known == Known::Parts, "{first:?}");
    let root = start(&directory).await;

    api.send(SERVICES, WatchEvent::Added(service("b"))).await;
    assert_eq!(changes.next().await.keys, [web("b")]);
    api.send(SLICES, WatchEvent::Added(slice("s", "a"))).await;
    assert_eq!(changes.next().await.keys, [web("a")]);
    api.end_lists().await;
    while changes.next().await.known != Known::All {}
    let late = directory.subscribe().next().await;
    assert!(late.all && late.known == Known::All, "{late:?}");

    api.send(SLICES, WatchEvent::Deleted(slice("s", "a"))).await;
    assert_eq!(changes.next().await.keys, [web("a")]);
    assert_eq!(directory.read().len(), 1);
    root.stop(Duration::from_secs(5)).await.unwrap();
}

#[test]
fn the_copy_gives_back_what_was_known_and_a_damaged_one_nothing() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("services");
    assert!(copy::read(&file).is_none());
    let mut directory = Directory::default();
    let events = [WatchEvent::Added(service("web"))];
    see(&mut directory, &events, see_service);
    see(
        &mut directory,
        &[WatchEvent::Added(slice("s", "web"))],
        see_slice,
    );
    let payload = copy::encode(&directory).unwrap();
    copy::write(&file, &payload).unwrap();
    let back = copy::read(&file).unwrap();
    assert_eq!(back.known(), Known::Saved);
    assert_eq!(back.get(&web("web")), directory.get(&web("web")));
    let bytes = std::fs::read(&file).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&file, &damaged).unwrap();
        assert!(copy::read(&file).is_none(), "byte {at}");
    }
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    assert!(copy::read(&file).is_none());
}
