//! A machine for one test: a fresh network namespace that plays the node, with the test's
//! body inside it, and more namespaces that play pods and the world outside. All of it goes
//! when the test ends, for nothing but open descriptors holds it.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use kabuki_net::plan::{Cidr, NetworkMode};
use kabuki_net::{AttachRequest, Attachment, Netns, NetworkConfig, NodeNetwork, dial};
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkMessage};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Long enough for a loaded machine; only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The node under test.
pub struct Node {
    pub network: NodeNetwork,
    pub handle: Handle,
}

/// A pod that is wired to the node.
pub struct Pod {
    pub netns: Netns,
    pub attachment: Attachment,
}

/// Runs `body` inside a fresh network namespace.
pub fn in_netns<F, Fut>(body: F)
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()>,
{
    let netns = Netns::create().expect("tests of this crate need root");
    netns
        .run_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(body());
        })
        .expect("the test's body failed");
}

/// Runs `body` with a node whose network is ensured.
pub fn on_node<F, Fut>(body: F)
where
    F: FnOnce(Node) -> Fut + Send + 'static,
    Fut: Future<Output = ()>,
{
    in_netns(|| async {
        let node = Node {
            network: NodeNetwork::open(config()).unwrap(),
            handle: route_handle(),
        };
        node.network.ensure().await.unwrap();
        body(node).await;
    });
}

pub fn config() -> NetworkConfig {
    let (pods, cluster) = (block("10.244.3.0/24"), block("10.244.0.0/16"));
    NetworkConfig {
        mode: NetworkMode::Direct,
        ..NetworkConfig::new("kabuki0", "kabuki1", ip("192.0.2.1"), pods, cluster)
    }
}

pub fn block(text: &str) -> Cidr {
    text.parse().unwrap()
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn ip4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// A routing socket in the calling thread's namespace.
pub fn route_handle() -> Handle {
    let (connection, handle, _) = rtnetlink::new_connection().unwrap();
    tokio::spawn(connection);
    handle
}

impl Node {
    /// A new namespace wired as a pod; the pod's uid is `pod-` and its address.
    pub async fn pod(&self, address: &str) -> Pod {
        let netns = Netns::create().unwrap();
        let attachment = self
            .network
            .attach(request(&format!("pod-{address}"), &netns, address))
            .await
            .unwrap();
        Pod { netns, attachment }
    }

    /// Names of all interfaces of the node.
    pub async fn interfaces(&self) -> Vec<String> {
        use futures::TryStreamExt;
        let links: Vec<LinkMessage> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .unwrap();
        let mut names: Vec<String> = links.iter().map(name_of).collect();
        names.sort();
        names
    }

    /// Connects the node to a namespace that plays the world outside: 192.0.2.1 here,
    /// 192.0.2.2 there, and no route from there to any pod.
    pub async fn outside(&self, mtu: u32) -> Netns {
        let outside = Netns::create().unwrap();
        let peer = LinkMessageBuilder::<LinkUnspec>::default()
            .name("node")
            .mtu(mtu)
            .setns_by_fd(outside.as_raw_fd())
            .build();
        let uplink = LinkMessageBuilder::<LinkVeth>::new("uplink", "node")
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .mtu(mtu)
            .up()
            .build();
        self.handle.link().add(uplink).execute().await.unwrap();
        let index = link_index(&self.handle, "uplink").await;
        add_address(&self.handle, index, "192.0.2.1").await;
        in_other(&outside, || async {
            let handle = route_handle();
            let index = link_index(&handle, "node").await;
            let up = LinkUnspec::new_with_index(index).up().build();
            handle.link().change(up).execute().await.unwrap();
            add_address(&handle, index, "192.0.2.2").await;
        })
        .await;
        outside
    }

    /// Adds a route of the node by way of the world outside.
    pub async fn route(&self, destination: &str, via: &str) {
        add_route(&self.handle, destination, via).await;
    }
}

impl Pod {
    pub fn address(&self) -> IpAddr {
        self.attachment.address
    }
}

pub fn request(pod_uid: &str, netns: &Netns, address: &str) -> AttachRequest {
    AttachRequest {
        pod_uid: pod_uid.to_owned(),
        netns: netns.clone(),
        address: ip(address),
    }
}

/// Runs async code on a thread inside another namespace.
pub async fn in_other<F, Fut>(netns: &Netns, body: F)
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()>,
{
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(body());
    };
    netns.run(work).await.unwrap();
}

pub fn name_of(link: &LinkMessage) -> String {
    use rtnetlink::packet_route::link::LinkAttribute;
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        })
        .unwrap_or_default()
}

pub async fn link(handle: &Handle, name: &str) -> LinkMessage {
    use futures::TryStreamExt;
    let mut found = Box::pin(handle.link().get().match_name(name).execute());
    found.try_next().await.unwrap().unwrap()
}

pub async fn link_index(handle: &Handle, name: &str) -> u32 {
    link(handle, name).await.header.index
}

pub async fn add_address(handle: &Handle, index: u32, address: &str) {
    let request = handle.address().add(index, ip(address), 24);
    request.execute().await.unwrap();
}

pub async fn add_route(handle: &Handle, destination: &str, via: &str) {
    let destination = block(destination);
    let IpAddr::V4(network) = destination.network() else {
        panic!("the tests' routes are IPv4");
    };
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(network, destination.prefix_len())
        .gateway(ip4(via))
        .build();
    handle.route().add(route).execute().await.unwrap();
}

/// A listener inside a namespace.
pub async fn listen(netns: &Netns, address: SocketAddr) -> TcpListener {
    let listener = netns
        .run(move || std::net::TcpListener::bind(address))
        .await
        .unwrap()
        .unwrap();
    listener.set_nonblocking(true).unwrap();
    TcpListener::from_std(listener).unwrap()
}

/// Connects from one namespace to a listener, sends a message through and back, and returns
/// the address that the listener saw.
pub async fn exchange(from: &Netns, listener: &TcpListener, to: SocketAddr) -> SocketAddr {
    let client = async {
        let mut stream = dial(from, to, PATIENCE).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"pong");
    };
    let server = async {
        let (mut stream, seen) = listener.accept().await.unwrap();
        let mut question = [0; 4];
        stream.read_exact(&mut question).await.unwrap();
        assert_eq!(&question, b"ping");
        stream.write_all(b"pong").await.unwrap();
        seen
    };
    let both = async { tokio::join!(client, server) };
    let ((), seen) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    seen
}
