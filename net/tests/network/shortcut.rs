//! The short way of established connections between pods of different nodes: that it is taken, and
//! that nobody notices.

mod changes;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use kabuki_net::plan::NetworkMode;
use kabuki_net::{Netns, check, dial};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::cluster::{BRIDGE, Member};
use crate::overlay::{Pair, pair};
use crate::services::{Proxy, here, service};
use crate::world::{Node, PATIENCE, Pod, in_netns, listen, route_handle};

const MIB: usize = 1 << 20;

/// Far more than goes the long way while a connection is new.
const MUCH: usize = 64 * MIB;

/// Fails, unless it is known that this host cannot do what the tests need.
fn untested(why: &str) {
    assert!(
        std::env::var_os("KABUKI_WITHOUT_BPF").is_some(),
        "{why}; KABUKI_WITHOUT_BPF=1 has the tests of the short way left out"
    );
    println!("not tested: {why}");
}

/// Runs `body` with two nodes that reach each other by VXLAN, if this host's kernel takes the
/// programs.
fn with_pair(body: impl AsyncFnOnce(Pair) + Send + 'static) {
    in_netns(|| async {
        let probes = check().await;
        let bpf = probes.iter().find(|probe| probe.name == "bpf").unwrap();
        if !bpf.ok {
            return untested(&format!(
                "there is no short way on this host: {}",
                bpf.detail
            ));
        }
        body(pair(false, NetworkMode::Vxlan).await).await;
    });
}

/// How many bytes an interface has received and sent.
async fn counted(netns: &Netns, interface: &str) -> [usize; 2] {
    let read = || std::fs::read_to_string("/proc/thread-self/net/dev");
    let table = netns.run(read).await.unwrap().unwrap();
    let mut lines = table.lines().map(str::trim);
    let line = lines.find_map(|line| line.strip_prefix(interface));
    let numbers: Vec<usize> = line
        .unwrap()
        .trim_start_matches(':')
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    // There are seven more columns between the two.
    [numbers[0], numbers[8]]
}

/// How many bytes a node's bridge has seen, both ways: what takes the short way is not among them.
async fn bridged(node: &Member) -> usize {
    counted(&node.netns, BRIDGE).await.iter().sum()
}

/// A piece of a stream in which every place is different from those near it.
fn pattern() -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..MIB).map(next).collect()
}

async fn pour(mut into: impl AsyncWrite + Unpin, total: usize) {
    let pattern = pattern();
    for _ in 0..total / pattern.len() {
        into.write_all(&pattern).await.unwrap();
    }
    into.flush().await.unwrap();
}

async fn drain(mut from: impl AsyncRead + Unpin, total: usize) {
    let pattern = pattern();
    let mut buffer = vec![0; pattern.len()];
    for _ in 0..total / pattern.len() {
        from.read_exact(&mut buffer).await.unwrap();
        assert!(buffer == pattern, "something else arrived");
    }
}

/// Sends so much through a connection, one way and then the other way at the same time as the one.
async fn exchange_much(near: &mut TcpStream, far: &mut TcpStream, total: usize) {
    let both = async {
        let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
        tokio::join!(
            pour(near_out, total),
            drain(far_in, total),
            pour(far_out, total),
            drain(near_in, total)
        )
    };
    tokio::time::timeout(6 * PATIENCE, both).await.unwrap();
}

/// A connection from a port of one's choice, which may be used for another at the same time.
async fn connect_from(netns: &Netns, from: SocketAddr, to: SocketAddr) -> TcpStream {
    let make = || {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd: OwnedFd = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        Ok::<_, nix::Error>(fd)
    };
    let fd = netns.run(make).await.unwrap().unwrap();
    let socket = TcpSocket::from_std_stream(fd.into());
    socket.bind(from).unwrap();
    let connect = tokio::time::timeout(PATIENCE, socket.connect(to));
    connect.await.unwrap().unwrap()
}

/// Both ends of a connection between two pods.
async fn connection(from: &Pod, to: &Pod, port: u16) -> (TcpStream, TcpStream) {
    let address = SocketAddr::new(to.address(), port);
    let listener = listen(&to.netns, address).await;
    let near = dial(&from.netns, address, PATIENCE).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    (near, far)
}

/// Sends much through a connection, and says what part of it went over each node's bridge.
async fn parts(pair: &Pair, near: &mut TcpStream, far: &mut TcpStream) -> [f64; 2] {
    let before = [bridged(&pair.a).await, bridged(&pair.b).await];
    exchange_much(near, far, MUCH).await;
    let after = [bridged(&pair.a).await, bridged(&pair.b).await];
    let part = |node: usize| (after[node] - before[node]) as f64 / (2 * MUCH) as f64;
    [part(0), part(1)]
}

async fn takes_the_short_way(pair: &Pair, near: &mut TcpStream, far: &mut TcpStream) {
    let parts = parts(pair, near, far).await;
    assert!(parts.iter().all(|part| *part < 0.05), "{parts:?}");
}

#[test]
fn what_is_established_takes_the_short_way() {
    with_pair(async |pair| {
        let (mut near, mut far) = connection(&pair.pod_a, &pair.pod_b, 6000).await;
        takes_the_short_way(&pair, &mut near, &mut far).await;
        // Also for pods that were there before the nodes knew each other, and both ways round.
        let (mut near, mut far) = connection(&pair.pod_b, &pair.pod_a, 6001).await;
        takes_the_short_way(&pair, &mut near, &mut far).await;
        // And the pods' own interfaces have counted it all.
        for pod in [&pair.pod_a, &pair.pod_b] {
            let [received, sent] = counted(&pod.netns, "eth0").await;
            assert!(received > 2 * MUCH && sent > 2 * MUCH, "{received} {sent}");
        }
    });
}

#[test]
fn a_connection_to_a_service_goes_both_ways_beside_one_to_its_endpoint() {
    with_pair(async |pair| {
        let node = Node {
            network: pair.a.network.clone(),
            handle: route_handle(),
        };
        let mut proxy = Proxy::new(&node);
        let endpoint = SocketAddr::new(pair.pod_b.address(), 8000);
        proxy.set(&service("10.96.0.10"), &[here(endpoint)]);
        let listener = listen(&pair.pod_b.netns, endpoint).await;
        let to_service: SocketAddr = "10.96.0.10:80".parse().unwrap();
        // From the same port: past the node, both would have the same name.
        for (port, targets) in [
            (4000, [to_service, endpoint]),
            (4001, [endpoint, to_service]),
        ] {
            let from = SocketAddr::new(pair.pod_a.address(), port);
            let mut streams = Vec::new();
            for to in targets {
                let near = connect_from(&pair.pod_a.netns, from, to).await;
                let (far, _) = listener.accept().await.unwrap();
                streams.push((near, far));
            }
            let [(near, far), (other_near, other_far)] = &mut streams[..] else {
                panic!("two connections");
            };
            tokio::join!(
                exchange_much(near, far, MUCH),
                exchange_much(other_near, other_far, MUCH)
            );
        }
        // Alone: the client's node translates all of it, the endpoint's knows of no service.
        let mut near = dial(&pair.pod_a.netns, to_service, PATIENCE).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let [here, there] = parts(&pair, &mut near, &mut far).await;
        assert!(here > 0.95 && there < 0.05, "{here} {there}");
    });
}

#[test]
fn the_end_of_a_connection_is_seen() {
    with_pair(async |pair| {
        for (port, abortive) in [(6000, false), (6001, true)] {
            let (mut near, mut far) = connection(&pair.pod_a, &pair.pod_b, port).await;
            takes_the_short_way(&pair, &mut near, &mut far).await;
            let held = held(&pair.a, port).await;
            if held.is_none() {
                return untested("this kernel does not list its connections");
            }
            assert_eq!(held, Some((1, 0)), "it is known, and open");
            if abortive {
                near.set_zero_linger().unwrap();
            } else {
                far.shutdown().await.unwrap();
                let mut end = [0];
                assert_eq!(near.read(&mut end).await.unwrap(), 0);
            }
            drop((near, far));
            let begun = Instant::now();
            for node in [&pair.a, &pair.b] {
                while self::held(node, port)
                    .await
                    .is_some_and(|(open, _)| open > 0)
                {
                    assert!(
                        begun.elapsed() < 2 * PATIENCE,
                        "{} knows of no end",
                        node.name
                    );
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    });
}

/// How many connections to a port the kernel of a node takes for open, and for ended; nothing where
/// it does not tell. One that was reset between packets that it has not seen keeps its state, in
/// case it goes on, but is gone in seconds.
async fn held(node: &Member, port: u16) -> Option<(usize, usize)> {
    let read = || std::fs::read_to_string("/proc/thread-self/net/nf_conntrack");
    let table = node.netns.run(read).await.unwrap().ok()?;
    let port = format!("dport={port} ");
    let lines = || table.lines().filter(|line| line.contains(&port));
    let open = |line: &&str| {
        let seconds = line.split_whitespace().nth(4).unwrap();
        line.contains("ESTABLISHED") && seconds.parse::<u32>().unwrap() > 10
    };
    let count = lines().filter(open).count();
    Some((count, lines().count() - count))
}

fn address(pod: &Pod, port: u16) -> SocketAddr {
    let IpAddr::V4(_) = pod.address() else {
        panic!("the tests' addresses are IPv4");
    };
    SocketAddr::new(pod.address(), port)
}
