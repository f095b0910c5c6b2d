//! The actor in a network namespace of its own. Needs root.

use super::*;
use crate::directory::tests::{Fed, SERVICES, SLICES, service, slice};
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
    let proxy = ProxyHandle::new();
    let child = proxy.child_of(Proxy {
        directory: directory.clone(),
        network: network.clone(),
        pods: Registry::default(),
        ranges: vec![block("10.96.0.0/16")],
        view: NodeView {
            name: "here".into(),
            zone: None,
            cluster,
        },
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
