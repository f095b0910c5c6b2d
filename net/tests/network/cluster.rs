//! Several nodes, each in a network namespace of its own, joined by a switch or a router that
//! are namespaces too.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use kabuki_net::plan::{NetworkMode, Peer};
use kabuki_net::{Netns, NetworkConfig, NodeNetwork};
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};

use crate::world::{
    Pod, add_address, add_route, block, in_other, ip, link_index, request, route_handle,
};

pub const BRIDGE: &str = "kb-test";
pub const OVERLAY: &str = "kv-test";

/// A node, as far as its network goes.
pub struct Member {
    pub name: String,
    pub netns: Netns,
    pub config: NetworkConfig,
    pub network: NodeNetwork,
}

/// A node `n<number>` that is not wired to anything: pods in 10.244.<number>.0/24.
pub async fn member(number: u8, address: &str, mode: NetworkMode, wiring: &Wiring) -> Member {
    let netns = Netns::create().unwrap();
    wiring.plug(&netns, number, address).await;
    let pods = block(&format!("10.244.{number}.0/24"));
    let cluster = block("10.244.0.0/16");
    let mut config = NetworkConfig::new(BRIDGE, OVERLAY, ip(address), pods, cluster);
    config.mode = mode;
    let network = open_in(&netns, config.clone()).await;
    network.ensure().await.unwrap();
    Member {
        name: format!("n{number}"),
        netns,
        config,
        network,
    }
}

/// Opens a network as a daemon inside that namespace would.
pub async fn open_in(netns: &Netns, config: NetworkConfig) -> NodeNetwork {
    let runtime = tokio::runtime::Handle::current();
    let open = move || {
        let _inside = runtime.enter();
        NodeNetwork::open(config)
    };
    netns.run(open).await.unwrap().unwrap()
}

/// Makes all members peers of each other.
pub async fn connect(members: &[&Member]) {
    for member in members {
        let others = members.iter().filter(|other| other.name != member.name);
        let peers: Vec<Peer> = others.map(|other| other.as_peer()).collect();
        let failures = member.network.set_peers(&peers).await.unwrap();
        assert!(failures.is_empty(), "{}: {failures:?}", member.name);
    }
}

impl Member {
    pub fn as_peer(&self) -> Peer {
        Peer {
            name: self.name.clone(),
            pod_cidr: self.config.pod_cidr,
            address: self.config.node_ip,
            mode: None,
        }
    }

    /// The pod with that last number in its address.
    pub async fn pod(&self, number: u8) -> Pod {
        let address = self.config.pod_cidr.nth(number.into()).unwrap().to_string();
        let netns = Netns::create().unwrap();
        let request = request(&format!("pod-{address}"), &netns, &address);
        let attachment = self.network.attach(request).await.unwrap();
        Pod { netns, attachment }
    }

    /// The daemon ends and another one starts.
    pub async fn restart(&mut self) {
        self.network = open_in(&self.netns, self.config.clone()).await;
        self.network.ensure().await.unwrap();
    }

    pub async fn has_overlay(&self) -> bool {
        self.interface_index(OVERLAY).await.is_some()
    }

    pub async fn interface_index(&self, name: &'static str) -> Option<u32> {
        let read = move || nix::net::if_::if_nametoindex(name).ok();
        self.netns.run(read).await.unwrap()
    }
}

/// What joins the nodes.
pub enum Wiring {
    /// One segment, 192.0.2.0/24.
    Switch(Netns),
    /// A segment for each node, 198.51.<number>.0/24, and a router at .254 of each.
    Router(Netns),
}

impl Wiring {
    pub async fn switch() -> Self {
        let netns = Netns::create().unwrap();
        in_other(&netns, || async {
            let bridge = LinkBridge::new("switch").up().build();
            let added = route_handle().link().add(bridge).execute().await;
            added.unwrap();
        })
        .await;
        Self::Switch(netns)
    }

    pub async fn router() -> Self {
        let netns = Netns::create().unwrap();
        in_other(&netns, || async {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        })
        .await;
        Self::Router(netns)
    }

    /// Gives a namespace `uplink` with the address, and the way to the others.
    pub async fn plug(&self, netns: &Netns, number: u8, address: &str) {
        let (Self::Switch(hub) | Self::Router(hub)) = self;
        let (hub, far) = (hub.clone(), netns.as_raw_fd());
        let routed = matches!(self, Self::Router(_));
        in_other(&hub, move || async move {
            let handle = route_handle();
            let port = format!("port{number}");
            pair(&handle, &port, far).await;
            if routed {
                let index = link_index(&handle, &port).await;
                add_address(&handle, index, &format!("198.51.{number}.254")).await;
            } else {
                let switch = link_index(&handle, "switch").await;
                let port = LinkUnspec::new_with_name(&port).controller(switch).build();
                handle.link().set_port(port).execute().await.unwrap();
            }
        })
        .await;
        let address = address.to_owned();
        in_other(netns, move || async move {
            let handle = route_handle();
            let index = link_index(&handle, "uplink").await;
            for index in [index, 1] {
                let up = LinkUnspec::new_with_index(index).up().build();
                handle.link().change(up).execute().await.unwrap();
            }
            add_address(&handle, index, &address).await;
            if routed {
                let router = format!("198.51.{number}.254");
                add_route(&handle, "0.0.0.0/0", &router).await;
            }
        })
        .await;
    }
}

async fn pair(handle: &Handle, port: &str, far: std::os::fd::RawFd) {
    let uplink = LinkMessageBuilder::<LinkUnspec>::default()
        .name("uplink")
        .setns_by_fd(far)
        .build();
    let port = LinkMessageBuilder::<LinkVeth>::new(port, "uplink")
        .set_info_data(InfoData::Veth(InfoVeth::Peer(uplink)))
        .up()
        .build();
    handle.link().add(port).execute().await.unwrap();
}

/// A UDP socket inside a namespace. Reading from it ends in an error after a while.
pub async fn udp(netns: &Netns, address: SocketAddr) -> UdpSocket {
    let bind = move || UdpSocket::bind(address);
    let socket = netns.run(bind).await.unwrap().unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket
}

/// Sends one datagram and waits until it has arrived, and returns the source that was seen.
pub fn send(from: &UdpSocket, to: &UdpSocket, payload: &[u8]) -> IpAddr {
    from.send_to(payload, to.local_addr().unwrap()).unwrap();
    let mut buffer = vec![0; 1 << 16];
    let (length, source) = to.recv_from(&mut buffer).unwrap();
    assert_eq!(length, payload.len());
    assert!(buffer[..length] == *payload, "something else arrived");
    source.ip()
}
