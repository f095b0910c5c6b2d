//! Services and names on running nodes: how soon a changed endpoint is in the kernel and answered
//! by name, and what many services cost a worker in memory. What is measured is what clients see:
//! a datagram to the service's address that comes from the new endpoint, an answer with the new
//! address.
//!
//! `KABUKI_SERVICES` and `KABUKI_ROUNDS` set how many services and changes.

use futures::{StreamExt, TryStreamExt, stream};
use kabuki_model::Resource;
use kabuki_net::Netns;
use kabuki_tests::figures::{Table, mib};
use kabuki_tests::harness::{Cluster, Daemon, Session, address, until, use_release};
use kabuki_tests::usage::memory;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const ENDPOINTS: usize = 3;
/// Requests at a time while the services are made.
const AT_ONCE: usize = 64;
/// What a change leaves to be done (the copy on disk) is done by then.
const SETTLE: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(600);
/// Where endpoints answer on the node's own address.
const PORTS: [u16; 2] = [7001, 7002];
const NAMES: &str = "10.96.0.10:53";
const HEADLESS: &str = "headless.default.svc.cluster.local";

fn slices() -> Resource {
    Resource::named("endpointslices.discovery.k8s.io")
}

fn main() -> anyhow::Result<()> {
    println!("{}", use_release().display());
    let count = number("KABUKI_SERVICES", 10_000);
    let rounds = number("KABUKI_ROUNDS", 500);
    let cluster = Cluster::start(1, 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut table = Table::new("services and names");
    runtime.block_on(async {
        let session = Session::open(cluster.node(1)).await?;
        many(&cluster, &session, count, &mut table).await?;
        for number in [1, 2] {
            let role = if number == 1 { "server" } else { "worker" };
            changes(&cluster, number, role, &session, rounds, &mut table).await?;
        }
        anyhow::Ok(())
    })?;
    table.print();
    Ok(())
}

/// Makes many services, and says what they cost the worker.
async fn many(
    cluster: &Cluster,
    session: &Session,
    count: usize,
    table: &mut Table,
) -> anyhow::Result<()> {
    let worker = cluster.node(2);
    let pid = worker.pid().expect("it runs");
    tokio::time::sleep(SETTLE).await;
    let before = memory(pid);
    let begun = Instant::now();
    stream::iter(0..count)
        .map(|n| make(session, n))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    println!(
        "{count} services made in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let names = inside(worker);
    for n in [0, count / 2, count - 1] {
        let name = format!("s{n}.default.svc.cluster.local");
        until("the worker knows all", LIMIT, || {
            let name = name.clone();
            let found = names.run_blocking(move || lookup(&name));
            found.expect("the namespace is entered")
        });
    }
    tokio::time::sleep(SETTLE).await;
    let after = memory(pid);
    let what = format!(
        "{count} services, {} endpoints: a worker's",
        count * ENDPOINTS
    );
    let grown = after.resident.saturating_sub(before.resident);
    table.value(&format!("{what} growth, resident"), mib(grown), "25 MiB");
    let private = after.private.saturating_sub(before.private);
    table.value(&format!("{what} growth, private"), mib(private), "25 MiB");
    table.value(&format!("{what} resident memory"), mib(after.resident), "");
    Ok(())
}

async fn make(session: &Session, n: usize) -> anyhow::Result<()> {
    let name = format!("s{n}");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    });
    session
        .create(Resource::named("services"), &service)
        .await?;
    let first = u32::from(Ipv4Addr::new(10, 244, 128, 0)) + (n * ENDPOINTS) as u32 % 32_000;
    let addresses: Vec<String> = (0..ENDPOINTS as u32)
        .map(|e| Ipv4Addr::from(first + e).to_string())
        .collect();
    let object = slice(&name, "http", 8080, "TCP", &addresses);
    session.create(slices(), &object).await?;
    Ok(())
}

fn slice(service: &str, port: &str, number: u16, protocol: &str, addresses: &[String]) -> Value {
    let endpoint =
        |address: &String| json!({"addresses": [address], "conditions": {"ready": true}});
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("{service}-a"), "labels": {"kubernetes.io/service-name": service},
        },
        "ports": [{"name": port, "port": number, "protocol": protocol}],
        "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

/// Changes endpoints one at a time, and says how soon this node's clients saw it.
async fn changes(
    cluster: &Cluster,
    number: usize,
    role: &str,
    session: &Session,
    rounds: usize,
    table: &mut Table,
) -> anyhow::Result<()> {
    let netns = inside(cluster.node(number));
    let (own, echo, headless) = (
        address(number),
        format!("echo-{role}"),
        "headless".to_string(),
    );
    for port in PORTS {
        answering(&netns, SocketAddr::new(own.parse()?, port));
    }
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": echo},
        "spec": {"ports": [{"name": "u", "port": 7, "protocol": "UDP"}]},
    });
    let made = session
        .create(Resource::named("services"), &service)
        .await?;
    let to = made.to_value()?["spec"]["clusterIP"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    let to: SocketAddr = format!("{to}:7").parse()?;
    let through = |port: u16| slice(&echo, "u", port, "UDP", std::slice::from_ref(&own));
    session.create(slices(), &through(PORTS[0])).await?;
    let named = |n: usize| {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 244, 200, 1)) + n as u32);
        (
            slice(&headless, "u", 7, "UDP", &[address.to_string()]),
            address,
        )
    };
    if session.get(slices(), "headless-a").await?.is_none() {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": headless},
            "spec": {"clusterIP": "None", "ports": [{"name": "u", "port": 7, "protocol": "UDP"}]},
        });
        session
            .create(Resource::named("services"), &service)
            .await?;
        session.create(slices(), &named(0).0).await?;
    }
    let (mut kernel, mut name) = (Times::default(), Times::default());
    for round in 1..=rounds {
        let port = PORTS[round % 2];
        let look = move || reached(to) == Some(port);
        kernel
            .add(session, &netns, &format!("{echo}-a"), &through(port), look)
            .await?;
        let (object, address) = named(round % 200 + 1);
        let look = move || lookup(HEADLESS) == Some(address);
        name.add(session, &netns, "headless-a", &object, look)
            .await?;
    }
    let what = format!("on a {role}, one endpoint changes, to");
    table.times(
        &format!("{what} the kernel's map changed"),
        &kernel.told,
        "p99 5 ms",
    );
    table.times(
        &format!("{what} the name answering"),
        &name.told,
        "p99 5 ms",
    );
    table.times(
        "  with the write itself: the kernel's map",
        &kernel.whole,
        "",
    );
    table.times("  with the write itself: the name", &name.whole, "");
    Ok(())
}

#[derive(Default)]
struct Times {
    /// From the write's answer.
    told: Vec<Duration>,
    /// From its beginning.
    whole: Vec<Duration>,
}

impl Times {
    /// Writes, and looks all the time until it is seen.
    async fn add(
        &mut self,
        session: &Session,
        netns: &Netns,
        name: &str,
        object: &Value,
        look: impl Fn() -> bool + Send + 'static,
    ) -> anyhow::Result<()> {
        let netns = netns.clone();
        let bytes = serde_json::to_vec(object)?.into();
        let begun = Instant::now();
        let looking = std::thread::spawn(move || {
            // All the time: the figure is as fine as one look takes.
            let looking = netns.run_blocking(move || {
                while !look() {
                    assert!(begun.elapsed() < LIMIT, "the change is not seen");
                }
                Instant::now()
            });
            looking.expect("the namespace is entered")
        });
        session.update(slices(), name, bytes).await?;
        let answered = Instant::now();
        let seen = looking.join().expect("it is seen");
        // The node may hear of it before the writer does.
        self.told.push(seen.saturating_duration_since(answered));
        self.whole.push(seen.saturating_duration_since(begun));
        Ok(())
    }
}

fn inside(node: &Daemon) -> Netns {
    let path = format!("/run/netns/{}", node.host().name());
    Netns::open(path).expect("the host's namespace")
}

/// A socket in the thread's own namespace.
fn socket() -> Option<UdpSocket> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    let wait = Some(Duration::from_millis(20));
    socket.set_read_timeout(wait).ok()?;
    Some(socket)
}

/// An endpoint that answers with its port.
fn answering(netns: &Netns, at: SocketAddr) {
    let made = netns.run_blocking(move || UdpSocket::bind(at));
    let socket = made.expect("the namespace is entered").expect("a socket");
    std::thread::spawn(move || {
        let mut packet = [0; 16];
        while let Ok((_, from)) = socket.recv_from(&mut packet) {
            // Who has gone needs no answer.
            let _ = socket.send_to(&at.port().to_be_bytes(), from);
        }
    });
}

/// Which endpoint answers a new client of the service.
fn reached(service: SocketAddr) -> Option<u16> {
    let socket = socket()?;
    socket.send_to(b"?", service).ok()?;
    let mut answer = [0; 2];
    let (length, _) = socket.recv_from(&mut answer).ok()?;
    (length == 2).then(|| u16::from_be_bytes(answer))
}

/// The first address of a name.
fn lookup(name: &str) -> Option<Ipv4Addr> {
    let socket = socket()?;
    let mut packet = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).ok()?);
        packet.extend(label.as_bytes());
    }
    packet.extend([0, 0, 1, 0, 1]);
    socket.send_to(&packet, NAMES).ok()?;
    let mut answer = [0; 1500];
    let (length, _) = socket.recv_from(&mut answer).ok()?;
    let has_answer = length >= packet.len() + 16 && answer[6..8] != [0, 0];
    let address: [u8; 4] = answer[packet.len() + 12..packet.len() + 16]
        .try_into()
        .ok()?;
    has_answer.then(|| Ipv4Addr::from(address))
}

fn number(variable: &str, usual: usize) -> usize {
    let set = std::env::var(variable).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(usual)
}
