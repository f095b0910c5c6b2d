//! Changes of the network under connections that take the short way.

use kabuki_net::plan::{NetworkMode, Peer};
use kabuki_net::{Netns, dial};
use rtnetlink::packet_route::tc::TcHandle;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;

use super::{
    BRIDGE, MIB, MUCH, PATIENCE, address, bridged, connection, exchange_much, pattern, pour,
    takes_the_short_way, with_pair,
};
use crate::cluster::{Member, OVERLAY, connect};
use crate::overlay::pair;
use crate::world::{Pod, in_netns, in_other, link_index, listen, request, route_handle};

/// A stream that goes on until somebody has had enough.
struct Flow {
    sender: JoinHandle<()>,
    far: tokio::net::TcpStream,
}

impl Flow {
    async fn begin(from: &Pod, to: &Pod, port: u16) -> Self {
        let (near, far) = connection(from, to, port).await;
        let sender = tokio::spawn(pour(near, usize::MAX));
        Self { sender, far }
    }

    /// So much more arrives, and it is what was sent.
    async fn carries(&mut self, total: usize) {
        let pattern = pattern();
        let mut buffer = vec![0; pattern.len()];
        for _ in 0..total / pattern.len() {
            let read = self.far.read_exact(&mut buffer);
            tokio::time::timeout(3 * PATIENCE, read)
                .await
                .unwrap()
                .unwrap();
            assert!(buffer == pattern, "something else arrived");
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.sender.abort();
    }
}

async fn without(node: &Member) {
    assert!(node.network.set_peers(&[]).await.unwrap().is_empty());
}

#[test]
fn a_connection_goes_on_when_peers_go_and_come() {
    with_pair(async |pair| {
        let mut flow = Flow::begin(&pair.pod_a, &pair.pod_b, 6000).await;
        flow.carries(MUCH).await;
        for _ in 0..3 {
            without(&pair.a).await;
            assert!(!pair.a.has_overlay().await);
            connect(&[&pair.a]).await;
            connect(&[&pair.a, &pair.b]).await;
            flow.carries(MUCH).await;
            // The rules are written anew.
            pair.b.network.ensure().await.unwrap();
            flow.carries(MUCH).await;
        }
        let before = bridged(&pair.a).await;
        flow.carries(MUCH).await;
        let part = (bridged(&pair.a).await - before) as f64 / MUCH as f64;
        assert!(
            part < 0.1,
            "{part}: it does not take the short way any more"
        );
    });
}

#[test]
fn a_connection_goes_on_when_the_way_between_nodes_changes() {
    in_netns(|| async {
        let pair = pair(false, NetworkMode::Auto).await;
        let set = async |mode: Option<NetworkMode>| {
            for (node, other) in [(&pair.a, &pair.b), (&pair.b, &pair.a)] {
                let peer = Peer {
                    mode,
                    ..other.as_peer()
                };
                assert!(node.network.set_peers(&[peer]).await.unwrap().is_empty());
            }
        };
        let mut flow = Flow::begin(&pair.pod_a, &pair.pod_b, 6000).await;
        for _ in 0..3 {
            set(Some(NetworkMode::Vxlan)).await;
            flow.carries(MUCH).await;
            assert!(pair.a.has_overlay().await);
            set(None).await;
            flow.carries(MUCH).await;
            assert!(!pair.a.has_overlay().await);
        }
    });
}

#[test]
fn a_connection_goes_on_when_the_daemon_is_another() {
    with_pair(async |mut pair| {
        let mut flow = Flow::begin(&pair.pod_a, &pair.pod_b, 6000).await;
        flow.carries(MUCH).await;
        for _ in 0..3 {
            pair.b.restart().await;
            flow.carries(MIB).await;
            connect(&[&pair.a, &pair.b]).await;
            flow.carries(MUCH).await;
        }
        drop(flow);
        // The next one's programs are in the place of the former one's, and know the pods.
        let (mut near, mut far) = connection(&pair.pod_a, &pair.pod_b, 6001).await;
        takes_the_short_way(&pair, &mut near, &mut far).await;
    });
}

#[test]
fn a_pod_with_the_address_of_another_has_the_short_way_too() {
    with_pair(async |mut pair| {
        for round in 0..3 {
            let (mut near, mut far) = connection(&pair.pod_a, &pair.pod_b, 6000).await;
            takes_the_short_way(&pair, &mut near, &mut far).await;
            let uid = format!("pod-{}", pair.pod_b.address());
            let uid = if round == 0 {
                uid
            } else {
                format!("next-{round}")
            };
            assert!(pair.b.network.detach(&uid).await.unwrap());
            let netns = Netns::create().unwrap();
            let next = request(
                &format!("next-{}", round + 1),
                &netns,
                &pair.pod_b.address().to_string(),
            );
            let attachment = pair.b.network.attach(next).await.unwrap();
            pair.pod_b = Pod { netns, attachment };
            // It knows nothing of the connection, and says so.
            let ended = async {
                loop {
                    if let Err(error) = near.try_write(b"are you there?")
                        && error.kind() != std::io::ErrorKind::WouldBlock
                    {
                        return error;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(3 * PATIENCE, ended).await.unwrap();
        }
    });
}

#[test]
fn programs_that_others_took_away_are_put_back() {
    with_pair(async |pair| {
        in_other(&pair.a.netns, || async {
            let handle = route_handle();
            for name in [BRIDGE, OVERLAY] {
                let index = link_index(&handle, name).await;
                let mut places = handle.qdisc().del(index.cast_signed());
                places.message_mut().header.parent = TcHandle::CLSACT;
                places.execute().await.unwrap();
            }
        })
        .await;
        // Nothing is confirmed: everything takes the long way.
        let (mut near, mut far) = connection(&pair.pod_a, &pair.pod_b, 6000).await;
        exchange_much(&mut near, &mut far, MIB).await;
        pair.a.network.ensure().await.unwrap();
        takes_the_short_way(&pair, &mut near, &mut far).await;
    });
}

#[test]
fn a_connection_that_the_table_of_connections_forgot_goes_on() {
    with_pair(async |pair| {
        let (mut near, mut far) = connection(&pair.pod_a, &pair.pod_b, 6000).await;
        takes_the_short_way(&pair, &mut near, &mut far).await;
        for _ in 0..3 {
            for node in [&pair.a, &pair.b] {
                node.netns.run(forget_connections).await.unwrap();
            }
            // The long way first, from the middle of the connection.
            pair.a.network.ensure().await.unwrap();
            pair.b.network.ensure().await.unwrap();
            takes_the_short_way(&pair, &mut near, &mut far).await;
        }
    });
}

/// Has the kernel forget all connections of the calling thread's namespace.
fn forget_connections() {
    let mut socket = Socket::new(NETLINK_NETFILTER).unwrap();
    socket.bind_auto().unwrap();
    let (length, delete) = (20u32, 0x0102u16);
    let request_and_ack = 5u16;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(delete.to_ne_bytes());
    message.extend(request_and_ack.to_ne_bytes());
    // Number and sender; then no family in particular, and none of the connections.
    message.resize(length as usize, 0);
    socket.send_to(&message, &SocketAddr::new(0, 0), 0).unwrap();
    let (answer, _) = socket.recv_from_full().unwrap();
    assert_eq!(answer[16..20], [0; 4], "refused");
}

#[test]
fn a_removed_peers_connections_end() {
    with_pair(async |pair| {
        let mut flow = Flow::begin(&pair.pod_a, &pair.pod_b, 6000).await;
        flow.carries(MUCH).await;
        without(&pair.a).await;
        // What was on its way may still come; nothing more does.
        let silence = async {
            loop {
                let mut buffer = vec![0; MIB];
                let read = flow.far.read(&mut buffer);
                let limit = std::time::Duration::from_millis(500);
                match tokio::time::timeout(limit, read).await {
                    Ok(read) => assert!(read.unwrap() > 0),
                    Err(_) => return,
                }
            }
        };
        tokio::time::timeout(PATIENCE, silence).await.unwrap();
        let to = address(&pair.pod_b, 6001);
        let _unheard = listen(&pair.pod_b.netns, to).await;
        let limit = std::time::Duration::from_millis(200);
        dial(&pair.pod_a.netns, to, limit).await.unwrap_err();
    });
}
