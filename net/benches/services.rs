//! Services in the kernel: the first programming of many, one change among many, and connections
//! through a service beside those to the pod itself. Needs root; works in network namespaces of
//! its own. Prints, asserts nothing.
//!
//! `KABUKI_ROUNDS` and `KABUKI_CONNECTIONS` set how often and how many.

#[allow(dead_code)]
#[path = "../tests/network/world.rs"]
mod world;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use kabuki_net::plan::services::{
    Front, FrontKey, Owner, PortPlan, Primary, Route, Services, TCP, Target,
};
use kabuki_net::{Netns, ServiceTable};
use world::{Node, block, on_node};

const RANGE: &str = "10.96.0.0/12";

fn main() {
    if Netns::create().is_err() {
        println!("nothing was measured: this needs root");
        return;
    }
    for count in [1_000, 10_000, 30_000] {
        on_node(move |node| async move { first(&node, count) });
    }
    on_node(|node| async move { one_change(&node, 10_000) });
    on_node(|node| async move { connections(node).await });
}

fn plan(number: u32, endpoints: &[(Ipv4Addr, u16)]) -> (Owner, Vec<PortPlan>) {
    let primary = Primary {
        address: Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 10)) + number),
        protocol: TCP,
        port: 80,
    };
    let target = |(address, port): &(Ipv4Addr, u16)| Target {
        address: *address,
        port: *port,
    };
    let front = Front {
        key: FrontKey::Address(primary),
        route: Route::Cluster,
        guarded: false,
    };
    let plan = PortPlan {
        note: format!("default/service-{number}").into(),
        primary,
        fronts: [front].into(),
        affinity_s: None,
        sources: Box::default(),
        cluster: endpoints.iter().map(target).collect(),
        local: Box::default(),
        outside: Box::default(),
    };
    (Owner::Pod(format!("{number}").into()), vec![plan])
}

fn endpoints(number: u32, shift: u32) -> Vec<(Ipv4Addr, u16)> {
    let first = u32::from(Ipv4Addr::new(10, 244, 0, 2));
    let one = |i| (Ipv4Addr::from(first + (number * 3 + i) % 60_000), 8080);
    (shift..shift + 3).map(one).collect()
}

fn table(node: &Node, count: u32) -> (ServiceTable, Services, Duration, Duration) {
    let mut table = node.network.services(vec![block(RANGE)]).unwrap();
    let mut services = Services::default();
    table.rebuild(&services, true).unwrap();
    let begun = Instant::now();
    let changes = (0..count).map(|n| plan(n, &endpoints(n, 0))).collect();
    let delta = services.update(changes);
    let planned = begun.elapsed();
    table.apply(&delta, &services).unwrap();
    (table, services, planned, begun.elapsed())
}

fn first(node: &Node, count: u32) {
    let (mut table, services, planned, whole) = table(node, count);
    println!(
        "{count} services with 3 endpoints: {:.1} ms, of which planning {:.1} ms",
        ms(whole),
        ms(planned)
    );
    let begun = Instant::now();
    let mut after = Services::default();
    let found = table.found().unwrap();
    after.adopt(&found);
    let amiss = table.rebuild(&services, true).unwrap();
    println!(
        "  restart, nothing to change ({amiss}): {:.1} ms",
        ms(begun.elapsed())
    );
}

fn one_change(node: &Node, count: u32) {
    let (mut table, mut services, ..) = table(node, count);
    let mut times = Vec::new();
    let mut planning = Vec::new();
    for round in 0..number("KABUKI_ROUNDS", 2_000) {
        let which = (round * 7919) % count;
        let begun = Instant::now();
        // One endpoint is another, or one more, or one less.
        let mut list = endpoints(which, round % 2);
        if round % 4 > 1 {
            list.pop();
        }
        let delta = services.update(vec![plan(which, &list)]);
        planning.push(begun.elapsed());
        let begun = Instant::now();
        table.apply(&delta, &services).unwrap();
        times.push(begun.elapsed());
    }
    println!("one change with {count} services: {}", spread(&mut times));
    println!("  planning it: {}", spread(&mut planning));
}

/// TCP connections, one after the other and with a request each, in turns.
async fn connections(node: Node) {
    let (client, server) = (node.pod("10.244.3.2").await, node.pod("10.244.3.3").await);
    let (mut table, mut services, ..) = table(&node, 10_000);
    let own = (Ipv4Addr::new(10, 244, 3, 3), 8080);
    let delta = services.update(vec![plan(0, &[own])]);
    table.apply(&delta, &services).unwrap();
    let at = SocketAddr::new(IpAddr::V4(own.0), own.1);
    let listener = server.netns.run(move || TcpListener::bind(at)).await;
    let listener = listener.unwrap().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            // A client that has gone is none of our concern.
            let mut byte = [0];
            while stream.read(&mut byte).is_ok_and(|n| n > 0) && stream.write_all(&byte).is_ok() {}
        }
    });
    let direct: SocketAddr = at;
    let service: SocketAddr = "10.96.0.10:80".parse().unwrap();
    let (mut rates, mut latencies) = (Vec::new(), Vec::new());
    for round in 0..number("KABUKI_SERIES", 15) {
        let order = if round % 2 == 0 {
            [direct, service]
        } else {
            [service, direct]
        };
        let mut figures = Vec::new();
        for to in order {
            figures.push(series(&client.netns, to).await);
        }
        if round % 2 == 1 {
            figures.reverse();
        }
        rates.push(figures[1].0 / figures[0].0);
        latencies.push(figures[1].1 / figures[0].1);
        println!(
            "round {round}: direct {:.0}/s {:.1} us, service {:.0}/s {:.1} us",
            figures[0].0, figures[0].1, figures[1].0, figures[1].1
        );
    }
    println!(
        "connections/s, service to direct: {:.3}",
        median(&mut rates)
    );
    println!(
        "request latency, service to direct: {:.3}",
        median(&mut latencies)
    );
}

/// Connections in a second, and the median of a request on one connection in microseconds.
async fn series(netns: &Netns, to: SocketAddr) -> (f64, f64) {
    let count = number("KABUKI_CONNECTIONS", 4_000);
    let work = move || {
        let mut byte = [7];
        let begun = Instant::now();
        for _ in 0..count {
            let mut stream = TcpStream::connect(to)?;
            stream.write_all(&byte)?;
            stream.read_exact(&mut byte)?;
            // No connection is left to wait for its end, so that ports do not run out.
            nix::sys::socket::setsockopt(
                &stream,
                nix::sys::socket::sockopt::Linger,
                &libc::linger {
                    l_onoff: 1,
                    l_linger: 0,
                },
            )?;
        }
        let rate = f64::from(count) / begun.elapsed().as_secs_f64();
        let mut stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        let mut times = Vec::new();
        for _ in 0..count {
            let begun = Instant::now();
            stream.write_all(&byte)?;
            stream.read_exact(&mut byte)?;
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        Ok::<_, std::io::Error>((rate, median(&mut times)))
    };
    netns.run(work).await.unwrap().unwrap()
}

fn spread(times: &mut [Duration]) -> String {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 1000].as_secs_f64() * 1e6;
    format!(
        "p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us",
        at(500),
        at(990),
        at(999)
    )
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn number(variable: &str, usual: u32) -> u32 {
    let set = std::env::var(variable).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(usual)
}
