use super::*;
use kabuki_model::object::canonical_json;
use kabuki_model::{ObjectKey, Resource};
use serde_json::{Value, json};

fn node(name: &str, block: &str, address: &str) -> Value {
    json!({
        "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"podCIDR": block},
        "status": {"addresses": [
            {"type": "Hostname", "address": name},
            {"type": "InternalIP", "address": address},
        ]},
    })
}

fn stored(object: &Value, revision: u64) -> Arc<Stored> {
    let name = object["metadata"]["name"].as_str().unwrap();
    let key = ObjectKey::new(Resource::NODES, "", name);
    let map = object.as_object().unwrap().clone();
    let json = canonical_json("v1", "Node", map);
    Arc::new(Stored::new(key, name.into(), revision, json))
}

fn added(object: &Value) -> WatchEvent {
    WatchEvent::Added(stored(object, 1))
}

const END: WatchEvent = WatchEvent::Bookmark {
    revision: 9,
    initial_end: true,
};

fn names(table: &PeerTable) -> Vec<String> {
    table.peers().into_iter().map(|peer| peer.name).collect()
}

#[test]
fn nothing_counts_before_the_list_is_complete() {
    let mut table = PeerTable::new("me");
    table.begin_list();
    assert!(!table.see(&added(&node("a", "10.244.1.0/24", "192.0.2.1"))));
    assert!(!table.see(&added(&node("me", "10.244.0.0/24", "192.0.2.9"))));
    assert!(names(&table).is_empty() && !table.is_complete());
    assert!(table.see(&END));
    assert_eq!(names(&table), ["a"]);
    assert_eq!(table.own().uid.as_deref(), Some("me"));
}

#[test]
fn an_empty_first_list_counts_and_a_second_one_that_says_the_same_does_not() {
    let mut table = PeerTable::new("me");
    table.begin_list();
    assert!(table.see(&END));
    table.begin_list();
    assert!(!table.see(&END));
}

#[test]
fn a_later_list_replaces_what_was_known_only_when_complete() {
    let mut table = PeerTable::new("me");
    table.begin_list();
    table.see(&added(&node("a", "10.244.1.0/24", "192.0.2.1")));
    table.see(&END);
    table.begin_list();
    assert!(!table.see(&added(&node("b", "10.244.2.0/24", "192.0.2.2"))));
    assert_eq!(names(&table), ["a"]);
    // Cut off, and begun again.
    table.begin_list();
    table.see(&added(&node("c", "10.244.3.0/24", "192.0.2.3")));
    assert!(table.see(&END));
    assert_eq!(names(&table), ["c"]);
}

#[test]
fn only_what_concerns_the_network_is_a_change() {
    let mut table = PeerTable::new("me");
    table.begin_list();
    table.see(&END);
    let mut a = node("a", "10.244.1.0/24", "192.0.2.1");
    assert!(table.see(&added(&a)));
    a["metadata"]["labels"] = json!({"zone": "x"});
    assert!(!table.see(&WatchEvent::Modified(stored(&a, 2))));
    a["status"]["addresses"][1]["address"] = "192.0.2.7".into();
    assert!(table.see(&WatchEvent::Modified(stored(&a, 3))));
    a["metadata"]["annotations"] = json!({MODE_ANNOTATION: "vxlan"});
    assert!(table.see(&WatchEvent::Modified(stored(&a, 4))));
    assert!(table.see(&WatchEvent::Deleted(stored(&a, 5))));
    assert!(!table.see(&WatchEvent::Deleted(stored(&a, 6))));
}

#[test]
fn nodes_that_lack_something_or_are_being_deleted_are_no_peers() {
    let mut table = PeerTable::new("me");
    table.begin_list();
    let good = node("a", "10.244.1.0/24", "192.0.2.1");
    let mut bad = [good.clone(), good.clone(), good.clone(), good.clone()];
    bad[0]["spec"] = json!({});
    bad[1]["status"] = json!({});
    bad[2]["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z".into();
    bad[3]["spec"]["podCIDR"] = "10.244.1.0".into();
    for (at, object) in bad.iter_mut().enumerate() {
        object["metadata"]["name"] = format!("bad-{at}").into();
        table.see(&added(object));
    }
    table.see(&added(&good));
    table.see(&END);
    assert_eq!(names(&table), ["a"]);
}

#[test]
fn the_oldest_comes_first() {
    let mut table = PeerTable::new("me");
    table.begin_list();
    let mut young = node("a", "10.244.1.0/24", "192.0.2.1");
    young["metadata"]["creationTimestamp"] = "2026-05-01T00:00:00Z".into();
    table.see(&added(&young));
    table.see(&added(&node("b", "10.244.1.0/24", "192.0.2.2")));
    table.see(&END);
    assert_eq!(names(&table), ["b", "a"]);
}
