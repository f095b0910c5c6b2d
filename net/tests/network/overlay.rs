//! Pods of several nodes, over plain routes and through VXLAN.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use kabuki_net::plan::{NetworkMode, Peer};
use kabuki_net::{Netns, dial};
use rtnetlink::LinkUnspec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::{BRIDGE, Member, OVERLAY, Wiring, connect, member, send, udp};
use crate::world::{
    PATIENCE, Pod, exchange, in_netns, in_other, ip, link, link_index, listen, route_handle,
};

/// Two connected nodes with a pod each.
pub struct Pair {
    pub a: Member,
    pub b: Member,
    pub pod_a: Pod,
    pub pod_b: Pod,
    pub wiring: Wiring,
}

pub async fn pair(routed: bool, mode: NetworkMode) -> Pair {
    let (wiring, first, second) = match routed {
        true => (Wiring::router().await, "198.51.1.1", "198.51.2.1"),
        false => (Wiring::switch().await, "192.0.2.1", "192.0.2.2"),
    };
    let a = member(1, first, mode, &wiring).await;
    let b = member(2, second, mode, &wiring).await;
    connect(&[&a, &b]).await;
    let (pod_a, pod_b) = (a.pod(2).await, b.pod(2).await);
    Pair {
        a,
        b,
        pod_a,
        pod_b,
        wiring,
    }
}

/// Every pod and node reaches every other, and pods are seen under their own addresses.
pub async fn all_reach_all(members: &[&Member], pods: &[&Pod]) {
    for to in pods {
        let address = SocketAddr::new(to.address(), 8080);
        let listener = listen(&to.netns, address).await;
        for from in pods {
            let seen = exchange(&from.netns, &listener, address).await;
            assert_eq!(seen.ip(), from.address());
        }
        for from in members {
            let seen = exchange(&from.netns, &listener, address).await;
            assert_eq!(seen.ip(), from.network.gateway());
        }
    }
    for to in members {
        let address = SocketAddr::new(to.config.node_ip, 9090);
        let listener = listen(&to.netns, address).await;
        for from in pods {
            exchange(&from.netns, &listener, address).await;
        }
    }
}

/// Datagrams of the largest size, which are sent in one piece with the mark that forbids to
/// divide them, and a stream of several megabytes.
async fn big_things_pass(from: &Pod, to: &Pod) {
    let ends = (
        udp(&from.netns, SocketAddr::new(from.address(), 7000)).await,
        udp(&to.netns, SocketAddr::new(to.address(), 7000)).await,
    );
    // Less the IPv4 and UDP headers.
    let largest = usize::try_from(from.attachment.mtu).unwrap() - 28;
    for length in [1, largest, largest + 1, 20_000] {
        let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        assert_eq!(send(&ends.0, &ends.1, &payload), from.address());
        assert_eq!(send(&ends.1, &ends.0, &payload), to.address());
    }
    const TOTAL: usize = 4 << 20;
    let address = SocketAddr::new(to.address(), 7001);
    let listener = listen(&to.netns, address).await;
    let sender = async {
        let mut stream = dial(&from.netns, address, PATIENCE).await.unwrap();
        let chunk = vec![7; 1 << 16];
        for _ in 0..TOTAL / chunk.len() {
            stream.write_all(&chunk).await.unwrap();
        }
    };
    let receiver = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        all.len()
    };
    let both = async { tokio::join!(sender, receiver) };
    let ((), received) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert_eq!(received, TOTAL);
}

#[test]
fn nodes_on_one_segment_use_plain_routes() {
    in_netns(|| async {
        let wiring = Wiring::switch().await;
        let a = member(1, "192.0.2.1", NetworkMode::Auto, &wiring).await;
        let b = member(2, "192.0.2.2", NetworkMode::Auto, &wiring).await;
        let c = member(3, "192.0.2.3", NetworkMode::Auto, &wiring).await;
        connect(&[&a, &b, &c]).await;
        let pods = [a.pod(2).await, b.pod(2).await, c.pod(2).await];
        let [x, y, z] = &pods;
        all_reach_all(&[&a, &b, &c], &[x, y, z]).await;
        big_things_pass(x, y).await;
        for node in [&a, &b, &c] {
            assert!(!node.has_overlay().await, "{}", node.name);
        }
    });
}

#[test]
fn nodes_behind_a_router_use_vxlan() {
    in_netns(|| async {
        let wiring = Wiring::router().await;
        let a = member(1, "198.51.1.1", NetworkMode::Auto, &wiring).await;
        let b = member(2, "198.51.2.1", NetworkMode::Auto, &wiring).await;
        let c = member(3, "198.51.3.1", NetworkMode::Auto, &wiring).await;
        assert!(!a.has_overlay().await, "it has no peers yet");
        connect(&[&a, &b, &c]).await;
        let pods = [a.pod(2).await, b.pod(2).await, c.pod(2).await];
        let [x, y, z] = &pods;
        assert_eq!(x.attachment.mtu, 1450);
        all_reach_all(&[&a, &b, &c], &[x, y, z]).await;
        big_things_pass(x, z).await;
        for node in [&a, &b, &c] {
            assert!(node.has_overlay().await, "{}", node.name);
        }
    });
}

#[test]
fn vxlan_can_be_had_on_one_segment_too() {
    in_netns(|| async {
        let pair = pair(false, NetworkMode::Vxlan).await;
        assert!(pair.a.has_overlay().await && pair.b.has_overlay().await);
        all_reach_all(&[&pair.a, &pair.b], &[&pair.pod_a, &pair.pod_b]).await;
        big_things_pass(&pair.pod_a, &pair.pod_b).await;
    });
}

#[test]
fn direct_nodes_have_the_whole_mtu_and_say_which_peer_is_too_far() {
    in_netns(|| async {
        let pair = pair(false, NetworkMode::Direct).await;
        assert_eq!(pair.pod_a.attachment.mtu, 1500);
        big_things_pass(&pair.pod_a, &pair.pod_b).await;
        let far = Peer {
            name: "far".to_owned(),
            pod_cidr: crate::world::block("10.244.9.0/24"),
            address: ip("198.51.9.1"),
            mode: None,
        };
        let failures = pair.a.network.set_peers(&[far, pair.b.as_peer()]).await;
        let failures = failures.unwrap();
        assert_eq!(failures.len(), 1);
        assert!(failures[0].is_lasting());
        let said = failures[0].reason.to_string();
        assert!(
            failures[0].peer == "far" && said.contains("198.51.9.1"),
            "{said}"
        );
        all_reach_all(&[&pair.a, &pair.b], &[&pair.pod_a, &pair.pod_b]).await;
    });
}

#[test]
fn a_node_that_wants_vxlan_is_met_by_vxlan() {
    in_netns(|| async {
        let wiring = Wiring::switch().await;
        let a = member(1, "192.0.2.1", NetworkMode::Vxlan, &wiring).await;
        let b = member(2, "192.0.2.2", NetworkMode::Auto, &wiring).await;
        let as_peer = |node: &Member| Peer {
            mode: Some(node.config.mode),
            ..node.as_peer()
        };
        a.network.set_peers(&[as_peer(&b)]).await.unwrap();
        b.network.set_peers(&[as_peer(&a)]).await.unwrap();
        let (x, y) = (a.pod(2).await, b.pod(2).await);
        all_reach_all(&[&a, &b], &[&x, &y]).await;
        assert!(a.has_overlay().await && b.has_overlay().await);
    });
}

#[test]
fn a_removed_peer_is_unreachable_and_one_that_returns_is_not() {
    in_netns(|| async {
        for routed in [false, true] {
            let pair = pair(routed, NetworkMode::Auto).await;
            let (from, to) = (&pair.pod_a, &pair.pod_b);
            let listening = SocketAddr::new(to.address(), 8080);
            let listener = listen(&to.netns, listening).await;
            exchange(&from.netns, &listener, listening).await;

            assert!(pair.a.network.set_peers(&[]).await.unwrap().is_empty());
            assert!(!pair.a.has_overlay().await);
            let limit = std::time::Duration::from_millis(200);
            dial(&from.netns, listening, limit).await.unwrap_err();
            // What still comes from there is not taken either.
            let back = SocketAddr::new(from.address(), 8080);
            let _unheard = listen(&from.netns, back).await;
            dial(&to.netns, back, limit).await.unwrap_err();

            connect(&[&pair.a, &pair.b]).await;
            let seen = exchange(&from.netns, &listener, listening).await;
            assert_eq!(seen.ip(), from.address());
        }
    });
}

#[test]
fn a_peer_that_comes_or_goes_disturbs_no_other() {
    in_netns(|| async {
        let mut pair = pair(true, NetworkMode::Auto).await;
        let mut stream = Stream::open(&pair.pod_a, &pair.pod_b).await;
        let before = pair.a.interface_index(OVERLAY).await;
        for number in [3, 4, 5] {
            let address = format!("198.51.{number}.1");
            let c = member(number, &address, NetworkMode::Auto, &pair.wiring).await;
            connect(&[&pair.a, &pair.b, &c]).await;
            let z = c.pod(2).await;
            all_reach_all(&[&pair.a, &c], &[&pair.pod_a, &z]).await;
            stream.carries().await;
            connect(&[&pair.a, &pair.b]).await;
            stream.carries().await;
        }
        pair.a.restart().await;
        connect(&[&pair.a, &pair.b]).await;
        stream.carries().await;
        assert_eq!(pair.a.interface_index(OVERLAY).await, before);
    });
}

#[test]
fn connections_outlive_the_daemon() {
    in_netns(|| async {
        for routed in [false, true] {
            let mut pair = pair(routed, NetworkMode::Auto).await;
            let mut stream = Stream::open(&pair.pod_a, &pair.pod_b).await;
            let before = pair.b.interface_index(OVERLAY).await;
            for _ in 0..3 {
                pair.b.restart().await;
                // Also before the peers are known again.
                stream.carries().await;
                connect(&[&pair.a, &pair.b]).await;
                stream.carries().await;
            }
            assert_eq!(pair.b.interface_index(OVERLAY).await, before);
            all_reach_all(&[&pair.a, &pair.b], &[&pair.pod_a, &pair.pod_b]).await;
        }
    });
}

#[test]
fn what_was_left_of_a_former_peer_goes_when_the_daemon_starts() {
    in_netns(|| async {
        let mut pair = pair(true, NetworkMode::Auto).await;
        let wiring = &pair.wiring;
        let c = member(3, "198.51.3.1", NetworkMode::Auto, wiring).await;
        connect(&[&pair.a, &pair.b, &c]).await;
        let z = c.pod(2).await;
        pair.a.restart().await;
        connect(&[&pair.a, &pair.b]).await;
        let limit = std::time::Duration::from_millis(200);
        let there = SocketAddr::new(z.address(), 8080);
        let _unheard = listen(&z.netns, there).await;
        dial(&pair.pod_a.netns, there, limit).await.unwrap_err();
        all_reach_all(&[&pair.a, &pair.b], &[&pair.pod_a, &pair.pod_b]).await;
        pair.a.restart().await;
        pair.a.network.set_peers(&[]).await.unwrap();
        assert!(!pair.a.has_overlay().await);
    });
}

#[test]
fn routes_lost_with_an_interface_are_noticed_and_put_back() {
    in_netns(|| async {
        let pair = pair(false, NetworkMode::Auto).await;
        let mut disturbances = pair.a.network.disturbances().unwrap();
        in_other(&pair.a.netns, || async {
            let handle = route_handle();
            let index = link_index(&handle, "uplink").await;
            let down = LinkUnspec::new_with_index(index).down().build();
            handle.link().change(down).execute().await.unwrap();
            let up = LinkUnspec::new_with_index(index).up().build();
            handle.link().change(up).execute().await.unwrap();
        })
        .await;
        let noticed = tokio::time::timeout(PATIENCE, disturbances.next()).await;
        assert!(noticed.unwrap());
        pair.a.network.forget_peers().await;
        connect(&[&pair.a, &pair.b]).await;
        all_reach_all(&[&pair.a, &pair.b], &[&pair.pod_a, &pair.pod_b]).await;
    });
}

#[test]
fn routes_and_devices_of_others_are_left_alone() {
    in_netns(|| async {
        let pair = pair(false, NetworkMode::Auto).await;
        let foreign = Peer {
            name: "taken".to_owned(),
            pod_cidr: crate::world::block("10.244.9.0/24"),
            address: ip("192.0.2.9"),
            mode: None,
        };
        in_other(&pair.a.netns, || async {
            crate::world::add_route(&route_handle(), "10.244.9.0/24", "192.0.2.77").await;
        })
        .await;
        let peers = [foreign, pair.b.as_peer()];
        let failures = pair.a.network.set_peers(&peers).await.unwrap();
        assert_eq!(failures.len(), 1);
        assert!(failures[0].peer == "taken" && !failures[0].is_lasting());
        let said = failures[0].reason.to_string();
        assert!(said.contains("10.244.9.0/24"), "{said}");
        all_reach_all(&[&pair.a, &pair.b], &[&pair.pod_a, &pair.pod_b]).await;
        pair.a.network.reset().await.unwrap();
        let routes = routes_of(&pair.a.netns).await;
        assert!(routes.contains("0009F40A"), "{routes}");
    });
}

#[test]
fn a_reset_leaves_nothing() {
    in_netns(|| async {
        for routed in [false, true] {
            let pair = pair(routed, NetworkMode::Auto).await;
            assert!(routes_of(&pair.a.netns).await.contains("0002F40A"));
            // As the one who resets does: with addresses that are not this node's.
            let mut config = pair.a.config.clone();
            config.pod_cidr = crate::world::block("10.99.0.0/24");
            config.cluster_cidr = config.pod_cidr;
            config.node_ip = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            let network = crate::cluster::open_in(&pair.a.netns, config).await;
            network.reset().await.unwrap();
            let routes = routes_of(&pair.a.netns).await;
            assert!(!routes.contains("F40A"), "{routes}");
            for name in [OVERLAY, BRIDGE] {
                assert_eq!(pair.a.interface_index(name).await, None);
            }
        }
    });
}

#[test]
fn a_node_whose_address_is_not_its_own_says_so() {
    in_netns(|| async {
        let pair = pair(false, NetworkMode::Auto).await;
        let mut config = pair.a.config.clone();
        config.node_ip = ip("192.0.2.200");
        let network = crate::cluster::open_in(&pair.a.netns, config).await;
        let error = network.set_peers(&[pair.b.as_peer()]).await.unwrap_err();
        assert!(error.to_string().contains("192.0.2.200"), "{error}");
    });
}

#[test]
fn the_mtu_is_that_of_the_device_with_the_nodes_address() {
    in_netns(|| async {
        let mut pair = pair(true, NetworkMode::Auto).await;
        in_other(&pair.a.netns, || async {
            let handle = route_handle();
            let index = link_index(&handle, "uplink").await;
            let small = LinkUnspec::new_with_index(index).mtu(1400).build();
            handle.link().change(small).execute().await.unwrap();
        })
        .await;
        pair.a.restart().await;
        connect(&[&pair.a, &pair.b]).await;
        let pod = pair.a.pod(3).await;
        assert_eq!(pod.attachment.mtu, 1350);
        in_other(&pair.a.netns, || async {
            use rtnetlink::packet_route::link::LinkAttribute;
            let handle = route_handle();
            for name in [OVERLAY, BRIDGE] {
                let found = link(&handle, name).await.attributes;
                assert!(found.contains(&LinkAttribute::Mtu(1350)), "{name}");
            }
        })
        .await;
    });
}

/// A connection that stays open.
struct Stream {
    near: tokio::net::TcpStream,
    far: tokio::net::TcpStream,
}

impl Stream {
    async fn open(from: &Pod, to: &Pod) -> Self {
        let address = SocketAddr::new(to.address(), 6000);
        let listener = listen(&to.netns, address).await;
        let near = dial(&from.netns, address, PATIENCE).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        Self { near, far }
    }

    async fn carries(&mut self) {
        let through = async {
            let mut buffer = [0; 4];
            self.near.write_all(b"ping").await.unwrap();
            self.far.read_exact(&mut buffer).await.unwrap();
            self.far.write_all(b"pong").await.unwrap();
            self.near.read_exact(&mut buffer).await.unwrap();
        };
        tokio::time::timeout(PATIENCE, through).await.unwrap();
    }
}

/// The routes in the kernel's own text: destinations are in hexadecimal, lowest byte last.
async fn routes_of(netns: &Netns) -> String {
    let read = || std::fs::read_to_string("/proc/thread-self/net/route");
    netns.run(read).await.unwrap().unwrap()
}
