//! Restarts, and changes by hand.

use std::io::ErrorKind;
use std::net::SocketAddr;

use kabuki_net::plan::services::Services;
use kabuki_net::{Netns, dial};
use nlink::netlink::nftables::{Chain, Family, Rule};
use nlink::netlink::{Connection, Nftables};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Proxy, here, refused, service};
use crate::world::{Node, PATIENCE, exchange, listen, on_node};

/// A client in a pod, and a service with one endpoint in another.
struct Scene {
    proxy: Proxy,
    client: Netns,
    listener: tokio::net::TcpListener,
    to: SocketAddr,
    pods: [crate::world::Pod; 2],
}

async fn scene(node: &Node) -> Scene {
    let (a, b) = (node.pod("10.244.3.2").await, node.pod("10.244.3.3").await);
    let at = SocketAddr::new(b.address(), 8080);
    let mut proxy = Proxy::new(node);
    proxy.set(&service("10.96.0.10"), &[here(at)]);
    Scene {
        proxy,
        client: a.netns.clone(),
        listener: listen(&b.netns, at).await,
        to: "10.96.0.10:80".parse().unwrap(),
        pods: [a, b],
    }
}

#[test]
fn a_restart_changes_nothing_and_connections_go_on() {
    on_node(|node| async move {
        let scene = scene(&node).await;
        let mut stream = dial(&scene.client, scene.to, PATIENCE).await.unwrap();
        let (mut served, _) = scene.listener.accept().await.unwrap();
        let before = scene.proxy.services.entries();

        // The next one knows nothing at first: what there is stays.
        let mut table = node.network.services(Vec::new()).unwrap();
        assert_eq!(table.found().unwrap(), before);
        let mut services = Services::default();
        services.adopt(&before);
        table.set_ranges(vec![crate::world::block(super::RANGE)]);
        table.rebuild(&services, false).unwrap();
        exchange(&scene.client, &scene.listener, scene.to).await;
        assert!(!table.rebuild(&scene.proxy.services, true).unwrap());
        exchange(&scene.client, &scene.listener, scene.to).await;

        stream.write_all(b"x").await.unwrap();
        let mut byte = [0];
        served.read_exact(&mut byte).await.unwrap();
        // And when the service goes, its connections stay.
        assert!(table.rebuild(&services, true).unwrap());
        let why = refused(&scene.client, "10.96.0.10:80").await;
        assert_eq!(why, ErrorKind::ConnectionRefused);
        served.write_all(b"y").await.unwrap();
        stream.read_exact(&mut byte).await.unwrap();
        assert_eq!((&byte, scene.pods.len()), (b"y", 2));
    });
}

#[test]
fn a_flush_by_hand_is_noticed_and_repaired() {
    on_node(|node| async move {
        let mut scene = scene(&node).await;
        let mut notices = node
            .network
            .service_notices(scene.proxy.table.port())
            .unwrap();
        // Our own changes are no news.
        scene.proxy.set(&service("10.96.0.11"), &[]);
        assert!(!notices.wait().unwrap());

        let filter = Connection::<Nftables>::new().unwrap();
        filter
            .transaction()
            .del_table("kabuki", Family::Inet)
            .commit(&filter)
            .await
            .unwrap();
        assert!(notices.wait().unwrap());
        node.network.ensure().await.unwrap();
        let Scene { proxy, .. } = &mut scene;
        assert!(proxy.table.rebuild(&proxy.services, true).unwrap());
        assert!(!proxy.table.rebuild(&proxy.services, true).unwrap());
        exchange(&scene.client, &scene.listener, scene.to).await;
    });
}

#[test]
fn rules_and_elements_changed_by_hand_are_put_right_and_foreign_tables_left() {
    on_node(|node| async move {
        let mut scene = scene(&node).await;
        let filter = Connection::<Nftables>::new().unwrap();
        let chain = |table| Chain::new(table, "services").unwrap();
        filter
            .transaction()
            .flush_chain("kabuki", "services", Family::Inet)
            .flush_chain("kabuki", "service-1", Family::Inet)
            .add_table("foreign", Family::Inet)
            .add_chain(chain("foreign").family(Family::Inet))
            .add_rule(
                Rule::new("foreign", "services")
                    .family(Family::Inet)
                    .match_tcp_dport(80)
                    .drop(),
            )
            .commit(&filter)
            .await
            .unwrap();
        let Scene { proxy, .. } = &mut scene;
        proxy.table.rebuild(&proxy.services, true).unwrap();
        exchange(&scene.client, &scene.listener, scene.to).await;
        let rules = filter.list_rules("foreign", Family::Inet).await.unwrap();
        assert_eq!(rules.len(), 1);

        // An incremental change that no longer fits is refused whole, and repaired.
        let mut other = Services::default();
        std::mem::swap(&mut other, &mut scene.proxy.services);
        scene
            .proxy
            .table
            .rebuild(&scene.proxy.services, true)
            .unwrap();
        std::mem::swap(&mut other, &mut scene.proxy.services);
        let owner = scene.proxy.services.owners().next().cloned().unwrap();
        let delta = scene.proxy.services.update(vec![(owner, Vec::new())]);
        let Scene { proxy, .. } = &mut scene;
        assert!(proxy.table.apply(&delta, &proxy.services).is_err());
        assert!(!proxy.table.rebuild(&proxy.services, true).unwrap());
    });
}
