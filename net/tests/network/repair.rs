//! `ensure` arrives at the same network from wherever it starts.

use std::net::SocketAddr;

use kabuki_net::{NetError, NodeNetwork};
use nlink::netlink::nftables::{Chain, Family};
use nlink::netlink::{Connection, Nftables};
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::{LinkUnspec, LinkVeth};

use crate::world::{
    config, exchange, in_netns, ip, link, link_index, listen, on_node, route_handle,
};

#[test]
fn ensuring_again_changes_nothing_and_cuts_no_connection() {
    on_node(|node| async move {
        let outside = node.outside(1500).await;
        let pod = node.pod("10.244.3.2").await;
        let before = link(&node.handle, "kabuki0").await.header.index;
        let filter = Connection::<Nftables>::new().unwrap();
        let service = Chain::new("kabuki", "services")
            .unwrap()
            .family(Family::Inet);
        filter.add_chain(service).await.unwrap();
        for _ in 0..3 {
            node.network.ensure().await.unwrap();
        }
        assert_eq!(link_index(&node.handle, "kabuki0").await, before);
        let rules = filter.list_rules("kabuki", Family::Inet).await.unwrap();
        assert_eq!(rules.len(), 5);
        let chains = filter.list_chains_in("kabuki", Family::Inet).await.unwrap();
        assert!(chains.iter().any(|chain| chain.name == "services"));
        let to = SocketAddr::new(ip("192.0.2.2"), 80);
        let listener = listen(&outside, to).await;
        exchange(&pod.netns, &listener, to).await;
    });
}

#[test]
fn what_was_tampered_with_is_repaired() {
    on_node(|node| async move {
        let outside = node.outside(1500).await;
        let pod = node.pod("10.244.3.2").await;
        let bridge = link_index(&node.handle, "kabuki0").await;
        let down = LinkUnspec::new_with_index(bridge).down().mtu(1280).build();
        node.handle.link().change(down).execute().await.unwrap();
        let stranger = node.handle.address().add(bridge, ip("10.99.0.1"), 24);
        stranger.execute().await.unwrap();
        let mut gateway = node.handle.address().add(bridge, ip("10.244.3.1"), 24);
        let message = gateway.message_mut().clone();
        node.handle.address().del(message).execute().await.unwrap();
        let filter = Connection::<Nftables>::new().unwrap();
        filter.del_table("kabuki", Family::Inet).await.unwrap();
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();

        node.network.ensure().await.unwrap();
        let to = SocketAddr::new(ip("192.0.2.2"), 80);
        let listener = listen(&outside, to).await;
        let seen = exchange(&pod.netns, &listener, to).await;
        assert_eq!(seen.ip(), ip("192.0.2.1"));
        let bound = std::net::TcpListener::bind("10.99.0.1:0");
        assert!(bound.is_err(), "the stranger's address is still there");
        assert_eq!(mtu_of(&link(&node.handle, "kabuki0").await), Some(1500));
    });
}

#[test]
fn the_mtu_is_that_of_the_default_route() {
    on_node(|node| async move {
        assert_eq!(mtu_of(&link(&node.handle, "kabuki0").await), Some(1500));
        node.outside(1400).await;
        node.route("0.0.0.0/0", "192.0.2.2").await;
        node.network.ensure().await.unwrap();
        assert_eq!(mtu_of(&link(&node.handle, "kabuki0").await), Some(1400));
        let pod = node.pod("10.244.3.2").await;
        assert_eq!(pod.attachment.mtu, 1400);
        let port = link(&node.handle, &pod.attachment.host_interface).await;
        assert_eq!(mtu_of(&port), Some(1400));
    });
}

#[test]
fn an_interface_of_another_kind_is_not_taken_for_the_bridge() {
    in_netns(|| async {
        let handle = route_handle();
        let other = LinkVeth::new("kabuki0", "peer").build();
        handle.link().add(other).execute().await.unwrap();
        let network = NodeNetwork::open(config()).unwrap();
        let error = network.ensure().await.unwrap_err();
        assert!(matches!(error, NetError::WrongKind { .. }), "{error}");
        assert!(network.reset().await.is_err());
        assert_ne!(link_index(&handle, "kabuki0").await, 0);
    });
}

#[test]
fn settings_change_in_the_nodes_namespace_only() {
    let read = || std::fs::read_to_string("/proc/sys/net/ipv4/conf/all/send_redirects").unwrap();
    let before = read();
    on_node(move |_node| async move {
        assert_eq!(read().trim_end(), "0");
    });
    assert_eq!(read(), before);
}

fn mtu_of(link: &rtnetlink::packet_route::link::LinkMessage) -> Option<u32> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        })
}
