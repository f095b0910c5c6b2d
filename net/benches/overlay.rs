//! TCP throughput from pod to pod across nodes, beside that of a bare VXLAN device with the
//! same MTU between the same two nodes: iperf3, in turns; then how long a request of one byte
//! and its answer take, on an open connection and with a new one. Needs root and iperf3; works in
//! network namespaces of its own. Prints, asserts nothing.
//!
//! `KABUKI_ROUNDS` and `KABUKI_SECONDS` set how often and how long.

#[allow(dead_code)]
#[path = "../tests/network/cluster.rs"]
mod cluster;
#[allow(dead_code)]
#[path = "../tests/network/world.rs"]
mod world;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use cluster::{Member, Wiring, connect, member};
use kabuki_net::Netns;
use kabuki_net::plan::NetworkMode;
use rtnetlink::{LinkUnspec, LinkVxlan};
use world::{in_netns, in_other, ip, link_index, route_handle};

/// Another port and number than those of the nodes' own network.
const BARE_PORT: u16 = 4790;
const BARE_VNI: u32 = 99;

fn main() {
    if Command::new("iperf3").arg("--version").output().is_err() {
        println!("nothing was measured: iperf3 is not installed");
        return;
    }
    if Netns::create().is_err() {
        println!("nothing was measured: this needs root");
        return;
    }
    in_netns(|| async { measure().await });
}

async fn measure() {
    let wiring = Wiring::switch().await;
    let a = member(1, "192.0.2.1", NetworkMode::Vxlan, &wiring).await;
    let b = member(2, "192.0.2.2", NetworkMode::Vxlan, &wiring).await;
    connect(&[&a, &b]).await;
    let (pod_a, pod_b) = (a.pod(2).await, b.pod(2).await);
    let mtu = pod_a.attachment.mtu;
    add_bare(&a, "10.200.0.1", "192.0.2.2", mtu).await;
    add_bare(&b, "10.200.0.2", "192.0.2.1", mtu).await;

    let bare = Line::new("bare VXLAN device", &a.netns, &b.netns, "10.200.0.2").await;
    let address = pod_b.address().to_string();
    let pods = Line::new("pod to pod", &pod_a.netns, &pod_b.netns, &address).await;
    let rounds = number("KABUKI_ROUNDS", 5);
    let (mut bares, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        // Whoever is first in a round is second in the next.
        let (first, second) = if round % 2 == 0 {
            let first = bare.run().await;
            (first, pods.run().await)
        } else {
            let second = pods.run().await;
            (bare.run().await, second)
        };
        println!("round {round}: bare {first:7.2}  pods {second:7.2} Gbit/s");
        bares.push(first);
        ours.push(second);
        ratios.push(second / first);
    }
    println!("MTU {mtu}, load {}", load());
    println!("{:<20}{:>8.2} Gbit/s", bare.name, median(&mut bares));
    println!("{:<20}{:>8.2} Gbit/s", pods.name, median(&mut ours));
    println!(
        "{:<20}{:>8.1} %",
        "median of the ratios",
        100.0 * median(&mut ratios)
    );
    requests([&bare, &pods], [&b.netns, &pod_b.netns], rounds).await;
    a.network.reset().await.expect("reset");
    b.network.reset().await.expect("reset");
}

/// Medians of the time from a request to its answer, in turns: on one connection of each line, and
/// with a connection for each request.
async fn requests(lines: [&Line; 2], servers: [&Netns; 2], rounds: u32) {
    let mut clients = Vec::new();
    for (line, server) in lines.into_iter().zip(servers) {
        let at = format!("{}:7000", line.address);
        serve(server, at.clone()).await;
        clients.push((line.client.clone(), at));
    }
    for (what, count, often) in [("request", 10_000, 1), ("connection", 1, 1_000)] {
        let mut medians = [Vec::new(), Vec::new()];
        let mut ratios = Vec::new();
        for round in 0..rounds {
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for which in order {
                let (netns, at) = clients[which].clone();
                let ask = move || (0..often).flat_map(|_| ask(&at, count)).collect();
                let mut times: Vec<f64> = netns.run(ask).await.expect("a thread");
                medians[which].push(median(&mut times));
            }
            let last = |which: usize| medians[which].last().copied().unwrap_or_default();
            ratios.push(last(1) / last(0));
        }
        for (line, medians) in lines.into_iter().zip(&mut medians) {
            println!("{:<20}{:>8.1} us for a {what}", line.name, median(medians));
        }
        let ratio = 100.0 * median(&mut ratios);
        println!("{:<20}{ratio:>8.1} %", "median of the ratios");
    }
}

/// Answers every byte of every connection, one after the other.
async fn serve(server: &Netns, at: String) {
    let listener = server.run(move || TcpListener::bind(at)).await;
    let listener = listener.expect("a thread").expect("a port");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.set_nodelay(true);
            let mut byte = [0];
            // Until the client has had enough.
            while stream.read(&mut byte).is_ok_and(|n| n > 0) && stream.write_all(&byte).is_ok() {}
        }
    });
}

/// So many requests on one connection, in microseconds; a single one with making the connection.
fn ask(at: &str, count: usize) -> Vec<f64> {
    let connecting = Instant::now();
    let mut stream = TcpStream::connect(at).expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let mut times = Vec::new();
    for _ in 0..count {
        let begun = if count == 1 {
            connecting
        } else {
            Instant::now()
        };
        let mut byte = [7];
        stream.write_all(&byte).expect("a request");
        stream.read_exact(&mut byte).expect("an answer");
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    times
}

/// A VXLAN device as `ip link add` makes it, to one remote.
async fn add_bare(node: &Member, address: &'static str, remote: &'static str, mtu: u32) {
    let local = node.config.node_ip;
    in_other(&node.netns, move || async move {
        let handle = route_handle();
        let std::net::IpAddr::V4(local) = local else {
            panic!("the nodes' addresses are IPv4");
        };
        let device = LinkVxlan::new("bare", BARE_VNI)
            .local(local)
            .remote(world::ip4(remote))
            .port(BARE_PORT)
            .mtu(mtu)
            .build();
        handle.link().add(device).execute().await.expect("a device");
        let index = link_index(&handle, "bare").await;
        let own = handle.address().add(index, ip(address), 24);
        own.execute().await.expect("an address");
        let up = LinkUnspec::new_with_index(index).up().build();
        handle.link().change(up).execute().await.expect("it is up");
    })
    .await;
}

/// A client and a server that is ended with it.
struct Line {
    name: &'static str,
    client: Netns,
    address: String,
    server: Child,
}

impl Line {
    async fn new(name: &'static str, client: &Netns, server: &Netns, address: &str) -> Self {
        let at = address.to_owned();
        let start = move || {
            Command::new("iperf3")
                .args(["-s", "-B", &at])
                .stdout(Stdio::null())
                .spawn()
        };
        let server = server.run(start).await.expect("a thread");
        Self {
            name,
            client: client.clone(),
            address: address.to_owned(),
            server: server.expect("iperf3 starts"),
        }
    }

    /// In Gbit/s.
    async fn run(&self) -> f64 {
        let seconds = number("KABUKI_SECONDS", 3).to_string();
        let address = self.address.clone();
        let run = move || {
            Command::new("iperf3")
                .args(["-J", "-c", &address, "-t", &seconds])
                .output()
        };
        // The server may not listen yet.
        for _ in 0..50 {
            let output = self.client.run(run.clone()).await.expect("a thread");
            let output = output.expect("iperf3 runs");
            let report: serde_json::Value =
                serde_json::from_slice(&output.stdout).unwrap_or_default();
            let speed = &report["end"]["sum_received"]["bits_per_second"];
            if let Some(speed) = speed.as_f64() {
                return speed / 1e9;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!(
            "no connection from {} to {}",
            self.client.label(),
            self.address
        );
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn number(variable: &str, usual: u32) -> u32 {
    let set = std::env::var(variable).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
