//! Packets that are not what they pretend to be.

use std::net::{IpAddr, SocketAddr};

use kabuki_net::Netns;
use kabuki_net::plan::NetworkMode;

use crate::cluster::{Member, connect, member, udp};
use crate::overlay::{all_reach_all, pair};
use crate::world::{add_route, in_netns, in_other, ip, link_index, route_handle};

#[test]
fn only_members_packets_with_their_own_pods_sources_come_in() {
    in_netns(|| async {
        let pair = pair(true, NetworkMode::Auto).await;
        let wiring = &pair.wiring;
        let stranger = Netns::create().unwrap();
        wiring.plug(&stranger, 9, "198.51.9.1").await;
        let c = member(3, "198.51.3.1", NetworkMode::Auto, wiring).await;
        connect(&[&pair.a, &pair.b, &c]).await;

        let victim = SocketAddr::new(pair.pod_a.address(), 5300);
        let inbox = udp(&pair.pod_a.netns, victim).await;
        let heard = async |from: &Netns, source: &str, text: &str, vni: u32| {
            let socket = udp(from, "0.0.0.0:0".parse().unwrap()).await;
            let packet = forged(&pair.a, ip(source), victim, text.as_bytes(), vni);
            let port = pair.a.config.vxlan.port;
            socket
                .send_to(&packet, (pair.a.config.node_ip, port))
                .unwrap();
        };
        let vni = pair.a.config.vxlan.vni;
        // From no member, though it pretends to be a pod that there is.
        heard(&stranger, "10.244.2.2", "stranger", vni).await;
        // From a member, with the source of another member's pod, the victim's node's own pod,
        // no pod, and in a network that is not there.
        heard(&c.netns, "10.244.2.2", "another's", vni).await;
        heard(&c.netns, "10.244.1.9", "the victim's", vni).await;
        heard(&c.netns, "8.8.8.8", "nobody's", vni).await;
        heard(&c.netns, "10.244.3.2", "elsewhere", vni + 1).await;
        // From a member, with the source of its own pod: this one arrives.
        heard(&c.netns, "10.244.3.2", "fine", vni).await;

        let mut buffer = [0; 64];
        let (length, source) = inbox.recv_from(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        assert_eq!((text, source.ip()), ("fine", ip("10.244.3.2")));
        all_reach_all(&[&pair.a, &pair.b], &[&pair.pod_a, &pair.pod_b]).await;
    });
}

#[test]
fn a_pod_cannot_send_under_anothers_address() {
    in_netns(|| async {
        for routed in [false, true] {
            let pair = pair(routed, NetworkMode::Auto).await;
            let to = SocketAddr::new(pair.pod_b.address(), 5300);
            let inbox = udp(&pair.pod_b.netns, to).await;
            // Of another block, of no pod at all, and its own.
            for source in ["10.244.9.9", "8.8.8.8", "10.244.1.2"] {
                in_other(&pair.pod_a.netns, move || async move {
                    let handle = route_handle();
                    let index = link_index(&handle, "eth0").await;
                    let own = handle.address().add(index, ip(source), 32);
                    own.replace().execute().await.unwrap();
                })
                .await;
                let outbox = udp(&pair.pod_a.netns, SocketAddr::new(ip(source), 0)).await;
                outbox.send_to(source.as_bytes(), to).unwrap();
            }
            let mut buffer = [0; 64];
            let (length, source) = inbox.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"10.244.1.2");
            assert_eq!(source.ip(), ip("10.244.1.2"));
        }
    });
}

#[test]
fn hosts_on_the_segment_cannot_pretend_to_be_pods() {
    in_netns(|| async {
        let pair = pair(false, NetworkMode::Auto).await;
        let stranger = Netns::create().unwrap();
        pair.wiring.plug(&stranger, 9, "192.0.2.9").await;
        let to = SocketAddr::new(pair.pod_a.address(), 5300);
        let on_node = SocketAddr::new(pair.a.config.node_ip, 5301);
        let in_pod = udp(&pair.pod_a.netns, to).await;
        let in_node = udp(&pair.a.netns, on_node).await;
        in_other(&stranger, || async {
            let handle = route_handle();
            let index = link_index(&handle, "uplink").await;
            add_route(&handle, "10.244.1.0/24", "192.0.2.1").await;
            // A pod of the node itself, and a block that is nobody's.
            for source in ["10.244.1.7", "10.244.77.7"] {
                let own = handle.address().add(index, ip(source), 32);
                own.execute().await.unwrap();
            }
        })
        .await;
        for (inbox, target) in [(&in_pod, to), (&in_node, on_node)] {
            for source in ["10.244.1.7", "10.244.77.7", "192.0.2.9"] {
                let outbox = udp(&stranger, SocketAddr::new(ip(source), 0)).await;
                outbox.send_to(source.as_bytes(), target).unwrap();
            }
            let mut buffer = [0; 64];
            let (_, source) = inbox.recv_from(&mut buffer).unwrap();
            assert_eq!(source.ip(), ip("192.0.2.9"));
        }
    });
}

/// A VXLAN packet (RFC 7348) with a UDP datagram inside that has the given source.
fn forged(target: &Member, source: IpAddr, to: SocketAddr, text: &[u8], vni: u32) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, to.ip()) else {
        panic!("the tests' addresses are IPv4");
    };
    let (_, mac) = kabuki_net::plan::tunnel_end(target.config.pod_cidr);
    let mut packet = vec![0x08, 0, 0, 0];
    packet.extend_from_slice(&(vni << 8).to_be_bytes());
    packet.extend_from_slice(&mac.0);
    packet.extend_from_slice(&[0x0a, 0x4b, 1, 2, 3, 4, 0x08, 0x00]);
    let mut header = vec![0x45, 0];
    header.extend_from_slice(&u16::try_from(28 + text.len()).unwrap().to_be_bytes());
    header.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0]);
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&destination.octets());
    let words = header
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    packet.extend_from_slice(&header);
    packet.extend_from_slice(&1234u16.to_be_bytes());
    packet.extend_from_slice(&to.port().to_be_bytes());
    packet.extend_from_slice(&u16::try_from(8 + text.len()).unwrap().to_be_bytes());
    // No checksum.
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(text);
    packet
}
