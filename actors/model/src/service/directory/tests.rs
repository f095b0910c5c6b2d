use super::*;
use crate::service::{EndpointRecord, ServiceType, TrafficDistribution, TrafficPolicy};

fn key(name: &str) -> ServiceKey {
    ServiceKey {
        namespace: "default".into(),
        name: name.into(),
    }
}

fn service(name: &str) -> ServiceRecord {
    ServiceRecord {
        key: key(name),
        service_type: ServiceType::ClusterIp,
        cluster_ips: vec!["10.96.0.10".parse().unwrap()],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        external_name: None,
        ports: Vec::new(),
        affinity_s: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        distribution: TrafficDistribution::Any,
        publish_not_ready: false,
        foreign: false,
    }
}

fn slice(name: &str, of: &str, address: &str) -> SliceRecord {
    SliceRecord {
        name: name.into(),
        service: key(of),
        ports: Vec::new(),
        endpoints: vec![EndpointRecord {
            address: address.parse().unwrap(),
            hostname: None,
            node: Some("node-1".into()),
            zone: Some("a".into()),
            ready: true,
            serving: true,
            terminating: false,
            zone_hints: Vec::new(),
            node_hints: Vec::new(),
        }],
    }
}

#[test]
fn only_what_really_changed_is_named() {
    let mut directory = Directory::default();
    assert_eq!(directory.put_service(service("web")), Some(key("web")));
    assert_eq!(directory.put_service(service("web")), None);
    let first = || slice("web-a", "web", "10.244.0.2");
    assert_eq!(directory.put_slice(first()), [key("web")]);
    assert!(directory.put_slice(first()).is_empty());
    let other = slice("web-a", "web", "10.244.0.3");
    assert_eq!(directory.put_slice(other), [key("web")]);
    assert_eq!(directory.remove_slice("default", "web-b"), None);
    assert_eq!(directory.remove_slice("default", "web-a"), Some(key("web")));
    assert_eq!(directory.remove_service(&key("web")), Some(key("web")));
    assert_eq!(directory.remove_service(&key("web")), None);
    assert!(directory.is_empty());
}

#[test]
fn a_slice_that_changes_hands_changes_both_services() {
    let mut directory = Directory::default();
    directory.put_slice(slice("s", "old", "10.244.0.2"));
    let changed = directory.put_slice(slice("s", "new", "10.244.0.2"));
    assert_eq!(changed, [key("old"), key("new")]);
    assert!(directory.get(&key("old")).is_none());
    assert_eq!(directory.get(&key("new")).unwrap().slices.len(), 1);
}

#[test]
fn what_a_new_list_does_not_show_is_gone_and_nothing_before_its_end() {
    let mut directory = Directory::default();
    assert_eq!(directory.known(), Known::Parts);
    for name in ["a", "b"] {
        directory.put_service(service(name));
        directory.put_slice(slice(name, name, "10.244.0.2"));
    }
    directory.begin_services();
    directory.begin_slices();
    assert_eq!(directory.put_service(service("a")), None);
    assert!(
        directory
            .put_slice(slice("a", "a", "10.244.0.2"))
            .is_empty()
    );
    assert_eq!(directory.len(), 2);
    assert_eq!(directory.end_services(), [key("b")]);
    assert_eq!(directory.known(), Known::Parts);
    assert_eq!(directory.end_slices(), [key("b")]);
    assert_eq!(directory.known(), Known::All);
    assert_eq!(directory.len(), 1);
}

#[test]
fn a_saved_directory_says_that_it_may_be_old() {
    let saved = slice("a", "a", "10.244.0.2");
    let mut directory = Directory::from_saved(vec![service("a")], vec![saved]);
    assert_eq!(directory.known(), Known::Saved);
    directory.begin_services();
    assert_eq!(directory.end_services(), [key("a")]);
    assert_eq!(directory.known(), Known::Saved);
    directory.begin_slices();
    assert_eq!(directory.end_slices(), [key("a")]);
    assert_eq!(directory.known(), Known::All);
    assert!(directory.is_empty());
}

#[test]
fn repeated_names_are_held_once() {
    let mut directory = Directory::default();
    directory.put_slice(slice("a", "web", "10.244.0.2"));
    directory.put_slice(slice("b", "web", "10.244.0.3"));
    let slices = &directory.get(&key("web")).unwrap().slices;
    let node = |at: usize| slices[at].endpoints[0].node.clone().unwrap();
    assert!(Arc::ptr_eq(&node(0), &node(1)));
}
