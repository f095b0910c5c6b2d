use super::hub::{Hub, Sent, SharedHistory, Subscriber};
use kabuki_kit::{Delivery, OutboxReceiver, outbox};
use kabuki_model::command::Change;
use kabuki_model::request::ListRequest;
use kabuki_model::selector::Selection;
use kabuki_model::watch::WatchEvent;
use kabuki_model::{ObjectKey, Resource, Stored};
use kabuki_store::HistoryLimits;
use std::sync::Arc;

fn hub() -> Hub {
    let mut hub = Hub::new(SharedHistory::new(HistoryLimits::default()));
    hub.begin(0);
    hub
}

fn subscribe(hub: &mut Hub, id: u64, request: &ListRequest) -> OutboxReceiver<Sent> {
    let (sender, receiver) = outbox(4);
    let selection = Arc::new(Selection::compile(request).expect("compiles"));
    let subscriber = Subscriber {
        id,
        selection,
        after: 0,
        bookmarks: false,
        outbox: sender,
        lagging: false,
        marked: 0,
    };
    hub.subscribe(subscriber).expect("known");
    receiver
}

fn pod(revision: u64, namespace: &str, name: &str, node: &str) -> Arc<Stored> {
    let json = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{{\"name\":\"{name}\"}},\"spec\":{{\"containers\":[],\"nodeName\":\"{node}\"}}}}"
    );
    let key = ObjectKey::new(Resource::PODS, namespace, name);
    Arc::new(Stored::new(key, "u".into(), revision, json.into()))
}

fn change(object: Arc<Stored>, previous: Option<Arc<Stored>>) -> Change {
    Change {
        object,
        previous,
        removed: false,
    }
}

fn received(outbox: &mut OutboxReceiver<Sent>) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(Delivery::Item(Ok(event))) = outbox.try_recv() {
        let what = match &event {
            WatchEvent::Added(_) => "added",
            WatchEvent::Modified(_) => "modified",
            WatchEvent::Deleted(_) => "deleted",
            WatchEvent::Bookmark { .. } => "bookmark",
        };
        seen.push(format!("{what} {}", event.revision()));
    }
    seen
}

#[test]
fn a_node_sees_the_pods_that_come_and_go_and_no_others() {
    let mut hub = hub();
    let mut request = ListRequest::all(Resource::PODS, None);
    request.fields = "spec.nodeName=n1".to_string();
    let mut node = subscribe(&mut hub, 1, &request);
    let mut all = subscribe(&mut hub, 2, &ListRequest::all(Resource::PODS, None));
    let mut named = subscribe(&mut hub, 3, &{
        let mut request = ListRequest::all(Resource::PODS, Some("a"));
        request.fields = "metadata.name=web".to_string();
        request
    });
    let mut namespace = subscribe(&mut hub, 4, &ListRequest::all(Resource::PODS, Some("b")));
    let unbound = pod(1, "a", "web", "");
    let bound = pod(2, "a", "web", "n1");
    let moved = pod(3, "a", "web", "n2");
    hub.committed(&[change(unbound.clone(), None)]);
    hub.committed(&[
        change(bound.clone(), Some(unbound)),
        change(moved, Some(bound)),
    ]);
    hub.committed(&[change(pod(4, "b", "web", "n2"), None)]);
    assert_eq!(received(&mut node), ["added 2", "deleted 3"]);
    assert_eq!(
        received(&mut all),
        ["added 1", "modified 2", "modified 3", "added 4"]
    );
    assert_eq!(
        received(&mut named),
        ["added 1", "modified 2", "modified 3"]
    );
    assert_eq!(received(&mut namespace), ["added 4"]);
}

#[test]
fn replayed_changes_are_not_sent_again() {
    let mut hub = hub();
    let mut all = subscribe(&mut hub, 1, &ListRequest::all(Resource::PODS, None));
    let changes = [
        change(pod(1, "a", "x", ""), None),
        change(pod(2, "a", "y", ""), None),
    ];
    hub.committed(&changes);
    hub.begin(0);
    hub.committed(&changes);
    assert_eq!(received(&mut all), ["added 1", "added 2"]);
}

#[test]
fn bookmarks_come_rarely_unless_much_has_happened() {
    let mut hub = hub();
    let (sender, mut outbox) = outbox(4);
    let request = ListRequest::all(Resource::SECRETS, None);
    let subscriber = Subscriber {
        id: 1,
        selection: Arc::new(Selection::compile(&request).expect("compiles")),
        after: 0,
        bookmarks: true,
        outbox: sender,
        lagging: false,
        marked: 0,
    };
    hub.subscribe(subscriber).expect("known");
    hub.committed(&[change(pod(1, "a", "x", ""), None)]);
    let mut bookmarks = |hub: &mut Hub, rounds: usize| {
        (0..rounds).for_each(|_| hub.bookmarks());
        received(&mut outbox)
    };
    assert!(bookmarks(&mut hub, 5).is_empty());
    assert_eq!(bookmarks(&mut hub, 1), ["bookmark 1"]);
    assert!(bookmarks(&mut hub, 12).is_empty(), "nothing happened since");
    for revision in 2..=1025 {
        hub.committed(&[change(pod(revision, "a", "x", ""), None)]);
    }
    assert_eq!(bookmarks(&mut hub, 1), ["bookmark 1025"]);
}

#[test]
fn subscribers_that_left_are_forgotten() {
    let mut hub = hub();
    let gone = subscribe(&mut hub, 1, &ListRequest::all(Resource::PODS, None));
    let idle = subscribe(&mut hub, 2, &ListRequest::all(Resource::SECRETS, None));
    let _stays = subscribe(&mut hub, 3, &ListRequest::all(Resource::PODS, None));
    drop((gone, idle));
    hub.committed(&[change(pod(1, "a", "x", ""), None)]);
    assert_eq!(hub.subscribers(), 2);
    hub.bookmarks();
    assert_eq!(hub.subscribers(), 1);
    hub.unsubscribe(3);
    assert_eq!(hub.subscribers(), 0);
}
