//! Who reaches whom, and from which address.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use kabuki_net::{NetError, Netns, dial};
use nlink::netlink::nftables::{
    BaseChain, Chain, Family, FilterHook, NatHook, Policy, Priority, Rule,
};
use nlink::netlink::{Connection, Nftables};

use crate::world::{
    PATIENCE, add_route, exchange, in_other, ip, ip4, link, listen, on_node, route_handle,
};

#[test]
fn pods_reach_each_other_under_their_own_addresses() {
    on_node(|node| async move {
        let a = node.pod("10.244.3.2").await;
        let b = node.pod("10.244.3.3").await;
        let to = SocketAddr::new(b.address(), 8080);
        let listener = listen(&b.netns, to).await;
        assert_eq!(exchange(&a.netns, &listener, to).await.ip(), a.address());
    });
}

#[test]
fn the_node_and_its_pods_reach_each_other() {
    on_node(|node| async move {
        let own = Netns::current().unwrap();
        let pod = node.pod("10.244.3.2").await;
        let in_pod = SocketAddr::new(pod.address(), 8080);
        let listener = listen(&pod.netns, in_pod).await;
        let seen = exchange(&own, &listener, in_pod).await;
        assert_eq!(seen.ip(), node.network.gateway());

        let on_node = SocketAddr::new(node.network.gateway(), 9090);
        let listener = listen(&own, on_node).await;
        let seen = exchange(&pod.netns, &listener, on_node).await;
        assert_eq!(seen.ip(), pod.address());
    });
}

#[test]
fn traffic_that_leaves_the_cluster_is_masqueraded() {
    on_node(|node| async move {
        let outside = node.outside(1500).await;
        let pod = node.pod("10.244.3.2").await;
        let to = SocketAddr::new(ip("192.0.2.2"), 80);
        let listener = listen(&outside, to).await;
        let seen = exchange(&pod.netns, &listener, to).await;
        assert_eq!(seen.ip(), ip("192.0.2.1"));
    });
}

#[test]
fn traffic_to_another_nodes_pods_keeps_its_source() {
    on_node(|node| async move {
        let other = node.outside(1500).await;
        in_other(&other, || async {
            let handle = route_handle();
            let loopback = link(&handle, "lo").await.header.index;
            let up = rtnetlink::LinkUnspec::new_with_index(loopback).up().build();
            handle.link().change(up).execute().await.unwrap();
            let pods = handle.address().add(loopback, ip("10.244.9.2"), 32);
            pods.execute().await.unwrap();
            add_route(&handle, "10.244.3.0/24", "192.0.2.1").await;
        })
        .await;
        node.route("10.244.9.0/24", "192.0.2.2").await;
        let pod = node.pod("10.244.3.2").await;
        let to = SocketAddr::new(ip("10.244.9.2"), 80);
        let listener = listen(&other, to).await;
        assert_eq!(
            exchange(&pod.netns, &listener, to).await.ip(),
            pod.address()
        );
    });
}

#[test]
fn a_pod_reaches_itself_and_others_through_a_translated_address() {
    on_node(|node| async move {
        let a = node.pod("10.244.3.2").await;
        let b = node.pod("10.244.3.3").await;
        add_service("10.96.0.10", "10.244.3.2").await;
        add_service("10.96.0.11", "10.244.3.3").await;
        let in_a = listen(&a.netns, SocketAddr::new(a.address(), 8080)).await;
        let in_b = listen(&b.netns, SocketAddr::new(b.address(), 8080)).await;
        // Absent where the kernel's bridge filter is not loaded: then there is one way only.
        let bridge_filter = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
        for setting in ["0", "1"] {
            if bridge_filter.exists() {
                std::fs::write(bridge_filter, setting).unwrap();
            }
            let to_a = SocketAddr::new(ip("10.96.0.10"), 80);
            let seen = exchange(&a.netns, &in_a, to_a).await;
            assert_eq!(seen.ip(), node.network.gateway());
            let to_b = SocketAddr::new(ip("10.96.0.11"), 80);
            assert_eq!(exchange(&a.netns, &in_b, to_b).await.ip(), a.address());
        }
    });
}

#[test]
fn packets_between_pods_pass_the_nodes_packet_filter() {
    on_node(|node| async move {
        let a = node.pod("10.244.3.2").await;
        let b = node.pod("10.244.3.3").await;
        let to = SocketAddr::new(b.address(), 8080);
        let listener = listen(&b.netns, to).await;
        exchange(&a.netns, &listener, to).await;

        let filter = Connection::<Nftables>::new().unwrap();
        let chain = Chain::new("policy", "forward").unwrap().family(Family::Ip);
        filter
            .transaction()
            .add_table("policy", Family::Ip)
            .add_chain(chain.base(BaseChain::filter(FilterHook::Forward, Priority::Security)))
            .add_rule(
                Rule::new("policy", "forward")
                    .family(Family::Ip)
                    .match_tcp_dport(8080)
                    .reject(),
            )
            .commit(&filter)
            .await
            .unwrap();
        let error = dial(&a.netns, to, PATIENCE).await.unwrap_err();
        assert!(matches!(error, NetError::Dial { .. }), "{error}");
    });
}

#[test]
fn a_pods_localhost_is_reached_from_inside_only() {
    on_node(|node| async move {
        let pod = node.pod("10.244.3.2").await;
        let local = SocketAddr::new(ip("127.0.0.1"), 5432);
        let listener = listen(&pod.netns, local).await;
        exchange(&pod.netns, &listener, local).await;

        let own = Netns::current().unwrap();
        let error = dial(&own, local, PATIENCE).await.unwrap_err().to_string();
        assert!(error.contains("127.0.0.1:5432"), "{error}");
    });
}

#[test]
fn a_dial_that_nobody_answers_ends_at_its_limit() {
    on_node(|node| async move {
        let outside = node.outside(1500).await;
        let pod = node.pod("10.244.3.2").await;
        in_other(&outside, || async {
            let filter = Connection::<Nftables>::new().unwrap();
            let chain = Chain::new("silent", "input").unwrap().family(Family::Ip);
            let hook = BaseChain::filter(FilterHook::Input, Priority::Filter);
            filter
                .transaction()
                .add_table("silent", Family::Ip)
                .add_chain(chain.base(hook.policy(Policy::Drop)))
                .commit(&filter)
                .await
                .unwrap();
        })
        .await;
        let to = SocketAddr::new(ip("192.0.2.2"), 80);
        let error = dial(&pod.netns, to, Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(matches!(error, NetError::DialTimeout { .. }), "{error}");
    });
}

/// Translates port 80 of a service's address to port 8080 of a pod, and the pod's own calls
/// to itself so that the answer comes back the same way.
async fn add_service(service: &str, pod: &str) {
    let filter = Connection::<Nftables>::new().unwrap();
    let chain = |name: &str, hook, priority| {
        let chain = Chain::new(service, name).unwrap().family(Family::Ip);
        chain.base(BaseChain::nat(hook, priority).policy(Policy::Accept))
    };
    let rule = |chain: &str| Rule::new(service, chain).family(Family::Ip);
    let translate = rule("pre")
        .match_daddr_v4(ip4(service), 32)
        .match_tcp_dport(80)
        .dnat(ip4(pod), Some(8080));
    let to_itself = rule("post")
        .match_saddr_v4(ip4(pod), 32)
        .match_daddr_v4(ip4(pod), 32)
        .masquerade();
    filter
        .transaction()
        .add_table(service, Family::Ip)
        .add_chain(chain("pre", NatHook::Prerouting, Priority::DstNat))
        .add_chain(chain("post", NatHook::Postrouting, Priority::SrcNat))
        .add_rule(translate)
        .add_rule(to_itself)
        .commit(&filter)
        .await
        .unwrap();
}
