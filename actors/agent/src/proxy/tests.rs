//! The actor in a network namespace of its own. Needs root.

use super::*;
use crate::directory::tests::{Fed, SERVICES, SLICES, hinted_slice, service, slice};
use kabuki_kit::{Root, Strategy, SupervisorSpec, Tree};
use kabuki_model::watch::WatchEvent;
use kabuki_net::plan::services::{Services as Plans, TCP};
use kabuki_net::{Fate, Netns, NetworkConfig};

const PATIENCE: Duration = Duration::from_secs(20);

fn block(text: &str) -> Cidr {
    text.parse().unwrap()
}

/// Waits until the kernel would do with a connection to the service what is expected.
async fn until(proxy: &ProxyHandle, expected: impl Fn(&Fate) -> bool) {
    let to = Primary {
        address: Ipv4Addr::new(10, 96, 0, 10),
        protocol: TCP,
        port: 80,
    };
    let wait = async {
        loop {
            match proxy.trace(to, None).await {
                Ok(trace) if expected(&trace.fate) => return,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

fn sent(fate: &Fate) -> bool {
    matches!(fate, Fate::Sent(picks) if picks.len() == 1)
}

fn picks(fate: &Fate) -> usize {
    match fate {
        Fate::Sent(picks) => picks.len(),
        _ => 0,
    }
}

fn refused(fate: &Fate) -> bool {
    matches!(fate, Fate::Refused(_))
}

async fn scenario() {
    let place = tempfile::tempdir().unwrap();
    let api = Arc::new(Fed::default());
    let address = "192.0.2.1".parse().unwrap();
    let (pods, cluster) = (block("10.244.3.0/24"), block("10.244.0.0/16"));
    let config = NetworkConfig::new("kb-test", "kv-test", address, pods, cluster);
    let network = PodNetwork::open(config).await.unwrap();
    let directory = DirectoryHandle::new(api.clone(), place.path().join("services"));
    let zone = Zone::new(&std::collections::BTreeMap::new());
    let proxy = ProxyHandle::new();
    let child = proxy.child_of(Proxy {
        directory: directory.clone(),
        network: network.clone(),
        pods: Registry::default(),
        ranges: vec![block("10.96.0.0/16")],
        zone: zone.clone(),
        name: "here".into(),
        cluster,
    });
    let spec = SupervisorSpec::new(Strategy::OneForOne)
        .child(directory.child())
        .child(child);
    let tree = Tree::new();
    let root = Root::start(&tree, "test", spec).await.unwrap();

    api.send(SERVICES, WatchEvent::Added(service("web"))).await;
    api.send(SLICES, WatchEvent::Added(slice("s", "web"))).await;
    api.end_lists().await;
    until(&proxy, sent).await;

    // A crash takes nothing away, and its successor goes on.
    tree.kill("test/proxy").unwrap();
    while tree.get("test/proxy").is_none_or(|actor| actor.starts < 2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until(&proxy, sent).await;
    api.send(SLICES, WatchEvent::Deleted(slice("s", "web")))
        .await;
    until(&proxy, refused).await;
    api.send(SLICES, WatchEvent::Added(slice("s", "web"))).await;
    until(&proxy, sent).await;

    // The node turns out to be in a zone that one of two endpoints is for.
    let hinted = [("a", "10.244.3.7", "east"), ("b", "10.244.9.7", "west")];
    for (name, address, zone) in hinted {
        let slice = hinted_slice(name, address, zone);
        api.send(SLICES, WatchEvent::Added(slice)).await;
    }
    api.send(SLICES, WatchEvent::Deleted(slice("s", "web")))
        .await;
    until(&proxy, |fate| picks(fate) == 2).await;
    let mut node = k8s_openapi::api::core::v1::Node::default();
    let label = ("topology.kubernetes.io/zone", "west");
    let labels = [label].map(|(k, v)| (k.to_string(), v.to_string()));
    node.metadata.labels = Some(labels.into());
    zone.seen(&node);
    until(&proxy, |fate| picks(fate) == 1).await;
    node.metadata.labels = None;
    zone.seen(&node);
    until(&proxy, |fate| picks(fate) == 2).await;
    for (name, address, zone) in hinted {
        let slice = hinted_slice(name, address, zone);
        api.send(SLICES, WatchEvent::Deleted(slice)).await;
    }
    api.send(SLICES, WatchEvent::Added(slice("s", "web"))).await;
    until(&proxy, sent).await;

    // Somebody else removes all services: they come back by themselves.
    let other = network.clone();
    let remove = move || {
        let mut table = other.services(Vec::new()).unwrap();
        assert!(table.rebuild(&Plans::default(), true).unwrap());
    };
    tokio::task::spawn_blocking(remove).await.unwrap();
    until(&proxy, sent).await;
    root.stop(PATIENCE).await.unwrap();
}

#[test]
fn services_follow_the_directory_through_crashes_and_changes_by_hand() {
    let netns = Netns::create().expect("this test needs root");
    let body = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(scenario());
    };
    netns.run_blocking(body).expect("the test's body failed");
}
