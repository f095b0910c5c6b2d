//! Questions a second and their delay, with the names of 10,000 services: this server and, where
//! it is installed, `unbound` serving the same names, one after the other under the same load of
//! `dnsperf`. In a network namespace of its own, so it needs root. Also what a zone costs. Prints,
//! asserts nothing. `SECONDS` sets the length of a run.

use kabuki_dns::forward::{CacheLimits, ForwardConfig, Forwarder, Upstreams};
use kabuki_dns::server::{Clients, Published, Server, ServerConfig};
use kabuki_dns::zone::{Zone, ZoneSettings};
use kabuki_model::service::{
    EndpointPort, EndpointRecord, Protocol, ServiceEntry, ServiceKey, ServicePort, ServiceRecord,
    ServiceType, SliceRecord, TrafficDistribution, TrafficPolicy,
};
use std::fmt::Write;
use std::io::{BufRead, BufReader, Seek};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 3;
const OWN_PORT: u16 = 5300;
const OTHER_PORT: u16 = 5301;

fn main() {
    if Command::new("dnsperf").arg("-h").output().is_err() {
        println!("nothing was measured: dnsperf is not installed");
        return;
    }
    if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
        println!("nothing was measured: this needs root");
        return;
    }
    assert!(run("ip", &["link", "set", "lo", "up"]), "needs iproute2");
    let dir = tempfile::tempdir().expect("a folder");
    let questions = dir.path().join("questions");
    std::fs::write(&questions, names()).expect("a file");
    let questions = questions.to_str().expect("a path");
    let zone = zone();
    println!(
        "\n{:<28}{:>12}{:>10}{:>10}{:>10}",
        "", "queries/s", "p50 us", "p99 us", "lost"
    );
    for threads in [1, 2] {
        let own = serve(zone.clone(), threads);
        let full = load(questions, OWN_PORT, threads, None);
        report(&format!("kabuki, {threads} thread(s)"), &full);
        let half = load(questions, OWN_PORT, threads, Some(full.rate / 2.0));
        report("  at half of its load", &half);
        drop(own);
        let Some(other) = unbound(dir.path(), threads) else {
            println!("unbound is not installed");
            continue;
        };
        let others = load(questions, OTHER_PORT, threads, None);
        report(&format!("unbound, {threads} thread(s)"), &others);
        let half = load(questions, OTHER_PORT, threads, Some(others.rate / 2.0));
        report("  at half of its load", &half);
        println!("  ratio{:>31.2}", full.rate / others.rate.max(1.0));
        drop(other);
    }
}

fn key(n: u32) -> ServiceKey {
    ServiceKey {
        namespace: format!("team-{}", n % 50).into(),
        name: format!("service-{n}").into(),
    }
}

fn address(n: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 0)) + n + 1).into()
}

fn entry(n: u32, headless: bool, shift: u32) -> ServiceEntry {
    let key = key(n);
    let port = |port| ServicePort {
        name: "http".into(),
        protocol: Protocol::Tcp,
        port,
        node_port: None,
    };
    let endpoint = |e: u32| EndpointRecord {
        address: Ipv4Addr::from(
            u32::from(Ipv4Addr::new(10, 244, 0, 0)) + n * ENDPOINTS + e + shift,
        )
        .into(),
        hostname: None,
        node: None,
        zone: None,
        ready: true,
        serving: true,
        terminating: false,
        zone_hints: Vec::new(),
        node_hints: Vec::new(),
    };
    let slice = SliceRecord {
        name: format!("service-{n}-a").into(),
        service: key.clone(),
        ports: vec![EndpointPort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: Some(8080),
        }],
        endpoints: (0..ENDPOINTS).map(endpoint).collect(),
    };
    ServiceEntry {
        service: Some(Arc::new(ServiceRecord {
            key,
            service_type: ServiceType::ClusterIp,
            cluster_ips: if headless {
                Vec::new()
            } else {
                vec![address(n)]
            },
            external_ips: Vec::new(),
            load_balancer_ips: Vec::new(),
            source_ranges: Vec::new(),
            external_name: None,
            ports: vec![port(80)],
            affinity_s: None,
            internal_policy: TrafficPolicy::Cluster,
            external_policy: TrafficPolicy::Cluster,
            health_check_node_port: None,
            distribution: TrafficDistribution::Any,
            publish_not_ready: false,
            foreign: false,
        })),
        slices: vec![Arc::new(slice)],
    }
}

/// Builds the zone, and says what it takes.
fn zone() -> Zone {
    let settings = ZoneSettings {
        domain: "cluster.local".to_string(),
        pod_blocks: vec![(Ipv4Addr::new(10, 244, 0, 0).into(), 14)],
        service_blocks: vec![(Ipv4Addr::new(10, 96, 0, 0).into(), 16)],
        servers: Vec::new(),
    };
    for headless in [true, false] {
        let entries: Vec<_> = (0..SERVICES).map(|n| entry(n, headless, 0)).collect();
        let before = resident_kib();
        let begun = Instant::now();
        let mut zone = Zone::new(&settings).expect("a zone");
        for entry in &entries {
            let key = &entry.service.as_ref().expect("a service").key;
            zone.update(key, Some(entry), 0);
        }
        let built = begun.elapsed();
        let what = if headless { "headless" } else { "ordinary" };
        println!(
            "{SERVICES} {what} services: built in {:.1} ms, {} KiB beside the records",
            built.as_secs_f64() * 1e3,
            resident_kib().saturating_sub(before)
        );
        let mut times: Vec<f64> = (0..2000)
            .map(|n| {
                let changed = entry(n * 5, headless, 100_000);
                let snapshot = zone.clone();
                let begun = Instant::now();
                zone.update(&key(n * 5), Some(&changed), 1);
                let spent = begun.elapsed().as_secs_f64() * 1e6;
                drop(snapshot);
                spent
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!(
            "  one changes: p50 {:.1} us, p99 {:.1} us",
            times[1000], times[1980]
        );
        if !headless {
            return zone;
        }
    }
    unreachable!("the second round returns")
}

fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with("VmRSS:"));
    let number = line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok());
    number.unwrap_or(0)
}

/// What `dnsperf` asks.
fn names() -> String {
    let mut text = String::new();
    for n in 0..SERVICES {
        // Not one after the other, as no real clients would.
        let key = key(n * 7919 % SERVICES);
        let _ = writeln!(text, "{}.{}.svc.cluster.local A", key.name, key.namespace);
    }
    text
}

/// As the node's threads do; here by a program, since this crate does without unsafe code.
fn go_first() {
    let thread = std::fs::read_link("/proc/thread-self").expect("a thread");
    let thread = thread
        .file_name()
        .and_then(|t| t.to_str())
        .expect("a number");
    assert!(
        run("renice", &["-n", "-10", "-p", thread]),
        "needs bsdutils"
    );
}

struct Serving {
    _server: Server,
    _runtime: tokio::runtime::Runtime,
}

fn serve(zone: Zone, threads: usize) -> Serving {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let forwarder = Forwarder::new(ForwardConfig {
        upstreams: Upstreams::Fixed(Vec::new()),
        stubs: Vec::new(),
        own: Vec::new(),
        cache: CacheLimits {
            entries: 100,
            bytes: 1 << 20,
        },
    });
    let config = ServerConfig {
        addresses: vec![(Ipv4Addr::LOCALHOST, OWN_PORT).into()],
        threads: Some(threads),
        prepare: go_first,
        clients: Clients::default(),
    };
    let published = Published {
        zone,
        complete: true,
    };
    let server = Server::open(&config, published, forwarder).expect("a server");
    drop(_inside);
    Serving {
        _server: server,
        _runtime: runtime,
    }
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The same names in `unbound`, set up as for this: no signatures, no log, short answers.
fn unbound(dir: &std::path::Path, threads: usize) -> Option<Daemon> {
    let mut config = format!(
        "server:\n interface: 127.0.0.1@{OTHER_PORT}\n num-threads: {threads}\n so-reuseport: yes\n \
         username: \"\"\n chroot: \"\"\n directory: \"{0}\"\n pidfile: \"\"\n use-syslog: no\n \
         module-config: \"iterator\"\n minimal-responses: yes\n do-daemonize: no\n \
         msg-cache-slabs: 2\n so-rcvbuf: 4m\n so-sndbuf: 1m\n \
         local-zone: \"cluster.local.\" static\n",
        dir.display()
    );
    for n in 0..SERVICES {
        let key = key(n);
        let (name, namespace) = (&key.name, &key.namespace);
        let _ = writeln!(
            config,
            " local-data: \"{name}.{namespace}.svc.cluster.local. 5 IN A {}\"",
            address(n)
        );
    }
    config.push_str("remote-control:\n control-enable: no\n");
    let path = dir.join(format!("unbound-{threads}.conf"));
    std::fs::write(&path, config).expect("a file");
    let mut command = Command::new("unbound");
    command.arg("-c").arg(&path).arg("-d");
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let daemon = Daemon(child);
    // It answers once it has read all that.
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let wait = std::time::Duration::from_millis(100);
    socket.set_read_timeout(Some(wait)).expect("a timeout");
    let question = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x07cluster\x05local\0\0\x01\0\x01";
    for _ in 0..100 {
        let _ = socket.send_to(question, (Ipv4Addr::LOCALHOST, OTHER_PORT));
        if socket.recv(&mut [0; 512]).is_ok() {
            return Some(daemon);
        }
        std::thread::sleep(wait);
    }
    panic!("unbound does not answer")
}

struct Outcome {
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    lost: f64,
}

/// Runs `dnsperf` twice: for the rate, and, writing down every answer, for the delays.
fn load(questions: &str, port: u16, threads: usize, limit: Option<f64>) -> Outcome {
    let plain = dnsperf(questions, port, threads, limit, false);
    let detailed = dnsperf(questions, port, threads, limit, true);
    Outcome {
        p50_us: detailed.p50_us,
        p99_us: detailed.p99_us,
        ..plain
    }
}

fn dnsperf(questions: &str, port: u16, threads: usize, limit: Option<f64>, all: bool) -> Outcome {
    let seconds = std::env::var("SECONDS").unwrap_or_else(|_| "5".to_string());
    let (port, threads) = (port.to_string(), threads.to_string());
    let mut command = Command::new("dnsperf");
    command.args([
        "-s",
        "127.0.0.1",
        "-p",
        &port,
        "-d",
        questions,
        "-l",
        &seconds,
    ]);
    command.args(["-c", "16", "-T", &threads]);
    if let Some(limit) = limit {
        command.arg("-Q").arg(format!("{limit:.0}"));
    }
    if all {
        command.arg("-v");
    }
    // What it writes is kept in memory and read when it is over: a reader beside it would be
    // another busy thread, and its turns on the processors would be in the delays.
    let mut written = tempfile::tempfile_in("/dev/shm").expect("a file in memory");
    command.stdout(written.try_clone().expect("a file"));
    let status = command.stderr(Stdio::null()).status();
    assert!(
        status.is_ok_and(|s| s.success()),
        "dnsperf is not installed"
    );
    written.rewind().expect("a file");
    let output = BufReader::with_capacity(1 << 20, written);
    let mut delays: Vec<u32> = Vec::new();
    let mut outcome = Outcome {
        rate: 0.0,
        p50_us: 0.0,
        p99_us: 0.0,
        lost: 0.0,
    };
    for line in output.lines().map_while(Result::ok) {
        let mut words = line.split_whitespace();
        if line.starts_with("> ") {
            let seconds: f64 = words.last().and_then(|w| w.parse().ok()).unwrap_or(0.0);
            delays.push((seconds * 1e6) as u32);
        } else if line.contains("Queries per second:") {
            outcome.rate = words.last().and_then(|w| w.parse().ok()).unwrap_or(0.0);
        } else if line.contains("Queries lost:") {
            outcome.lost = words.nth(2).and_then(|w| w.parse().ok()).unwrap_or(0.0);
        }
    }
    delays.sort_unstable();
    let at = |share: usize| delays.get(delays.len() * share / 100).copied().unwrap_or(0);
    (outcome.p50_us, outcome.p99_us) = (f64::from(at(50)), f64::from(at(99)));
    outcome
}

fn report(what: &str, outcome: &Outcome) {
    println!(
        "{what:<28}{:>12.0}{:>10.0}{:>10.0}{:>10.0}",
        outcome.rate, outcome.p50_us, outcome.p99_us, outcome.lost
    );
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).status();
    status.is_ok_and(|s| s.success())
}
