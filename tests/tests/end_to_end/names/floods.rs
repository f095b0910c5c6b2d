//! Those who ask too much, too slowly or from outside: each in a network namespace of its own.

use kabuki_net::Netns;
use kabuki_tests::harness::{Daemon, Network, address, busybox_archive, process, until};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const SERVER: &str = "10.96.0.10:53";
const OWN_NAME: &str = "kubernetes.default.svc.cluster.local";

const NO_ERROR: u8 = 0;
const REFUSED: u8 = 5;

/// What a pod sleeps for, so that its process is found.
fn mark(number: u32) -> String {
    format!(
        "{}",
        1_100_000_000 + number * 10_000_000 + std::process::id()
    )
}

fn pod(name: &str, number: u32) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - {{name: main, image: busybox, \
         imagePullPolicy: IfNotPresent, command: [sleep, \"{}\"]}}\n---\n",
        mark(number)
    )
}

/// A node with two pods; gives their network namespaces.
fn node_with_pods(numbers: [u32; 2]) -> (Daemon, [Netns; 2]) {
    let node = Daemon::start();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    node.apply(&(pod("loud", numbers[0]) + &pod("calm", numbers[1])));
    for pod in ["pod/loud", "pod/calm"] {
        node.ok(&["wait", "--for=condition=Ready", pod, "--timeout=60s"]);
    }
    let spaces = numbers.map(|number| {
        let pid = process(&["sleep", &mark(number)]).expect("the pod runs");
        Netns::open(format!("/proc/{pid}/ns/net")).expect("its namespace")
    });
    until("the name server answers", LIMIT, || {
        asked(&spaces[1], SERVER, OWN_NAME).filter(|code| *code == NO_ERROR)
    });
    (node, spaces)
}

/// A question for the address of a name.
fn question(id: u16, name: &str) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).expect("a short label"));
        packet.extend(label.as_bytes());
    }
    packet.extend([0, 0, 1, 0, 1]);
    packet
}

/// The code of the answer to one question, sent up to three times as resolvers do.
fn asked(from: &Netns, server: &str, name: &str) -> Option<u8> {
    let (server, name): (SocketAddr, _) = (server.parse().expect("an address"), name.to_string());
    let asking = from.run_blocking(move || {
        let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_secs(3)))
            .expect("a timeout");
        for id in 1..=3_u16 {
            // A port that nobody listens on says so with the next call.
            let _ = socket.send_to(&question(id, &name), server);
            let mut answer = [0; 1500];
            if let Ok(length) = socket.recv(&mut answer)
                && length > 3
            {
                return Some(answer[3] & 15);
            }
        }
        None
    });
    asking.expect("the namespace is entered")
}

/// Sends questions without reading answers, until dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn start(from: &Netns) -> Self {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (told, count, from) = (stop.clone(), sent.clone(), from.clone());
        let thread = std::thread::spawn(move || {
            let flooding = from.run_blocking(move || {
                let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("a socket");
                for n in (0..=u16::MAX).cycle() {
                    if told.load(Ordering::Relaxed) {
                        return;
                    }
                    // The cluster's, what is not there, and what others would have to be asked.
                    let name = match n % 3 {
                        0 => OWN_NAME.to_string(),
                        1 => format!("n{n}.default.svc.cluster.local"),
                        _ => format!("n{n}.example.com"),
                    };
                    if socket.send_to(&question(n, &name), SERVER).is_ok() {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            flooding.expect("the namespace is entered");
        });
        Self {
            stop,
            sent,
            thread: Some(thread),
        }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Memory that the daemon holds, in MiB.
fn held_mib(node: &Daemon) -> u64 {
    let pid = node.pid().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find(|l| l.starts_with("VmRSS:"));
    let kib: Option<u64> = line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok());
    kib.expect("a number") / 1024
}

#[test]
fn a_pod_that_floods_the_name_server_costs_bounded_memory_and_nobody_elses_answers() {
    let (node, [loud, calm]) = node_with_pods([1, 2]);
    let before = held_mib(&node);
    let flood = Flood::start(&loud);
    until("the flood runs", LIMIT, || {
        (flood.sent() > 5000).then_some(())
    });
    for round in 0..50 {
        let code = asked(&calm, SERVER, OWN_NAME);
        assert_eq!(
            code,
            Some(NO_ERROR),
            "question {round} during {}",
            flood.sent()
        );
    }
    until("many questions were sent", LIMIT, || {
        (flood.sent() > 50_000).then_some(())
    });
    let during = held_mib(&node);
    println!(
        "{} questions sent, {before} MiB before, {during} MiB during",
        flood.sent()
    );
    assert!(
        during < before + 64,
        "{before} MiB before, {during} MiB during"
    );
    drop(flood);
    // What it asks while its own flood still waits to be read may be lost, and is asked again.
    until("who flooded is answered again", LIMIT, || {
        (asked(&loud, SERVER, OWN_NAME) == Some(NO_ERROR)).then_some(())
    });
}

/// How many of these connections the server has not closed.
fn open(connections: &mut [TcpStream]) -> usize {
    let is_open = |stream: &mut &mut TcpStream| match stream.read(&mut [0; 64]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    };
    connections
        .iter_mut()
        .filter_map(|mut s| is_open(&mut s).then_some(()))
        .count()
}

#[test]
fn slow_clients_over_tcp_are_held_in_bounded_number_and_not_for_long() {
    let (_node, [loud, calm]) = node_with_pods([3, 4]);
    let server: SocketAddr = SERVER.parse().expect("an address");
    let connect = move || TcpStream::connect_timeout(&server, Duration::from_secs(10));
    let mut slow: Vec<TcpStream> = loud
        .run_blocking(move || {
            let begun = (0..600).map(|n| {
                let mut stream = connect().expect("a connection");
                if n % 2 == 0 {
                    // Half of a question, of which the rest never comes.
                    let _ = stream.write_all(&[0, 40, 1, 2]);
                }
                stream.set_nonblocking(true).expect("a socket");
                stream
            });
            begun.collect()
        })
        .expect("the namespace is entered");
    // One client gets half of the 512 that there are.
    until("the rest is closed", LIMIT, || {
        (open(&mut slow) <= 256).then_some(())
    });
    let answered = calm.run_blocking(move || {
        let mut stream = connect()?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let packet = question(7, OWN_NAME);
        let length = u16::try_from(packet.len()).map_err(std::io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &packet].concat())?;
        let mut head = [0; 6];
        stream.read_exact(&mut head).map(|()| head)
    });
    let head = answered
        .expect("the namespace is entered")
        .expect("an answer");
    assert_eq!(
        (&head[2..4], head[5] & 15),
        (&7_u16.to_be_bytes()[..], NO_ERROR)
    );
    until("who says nothing is closed", LIMIT, || {
        (open(&mut slow) == 0).then_some(())
    });
}

/// A name server on a host that has the same address for every name.
fn upstream(at: &Netns) {
    let socket = at.run_blocking(|| UdpSocket::bind("127.0.0.1:5355").expect("a socket"));
    let socket = socket.expect("the namespace is entered");
    std::thread::spawn(move || {
        let mut packet = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            let mut answer = packet[..length].to_vec();
            (answer[2], answer[3]) = (0x81, 0x80);
            // Whatever else the question carried is not answered.
            let end = 12 + packet[12..length].iter().position(|b| *b == 0).unwrap_or(0) + 5;
            answer.truncate(end);
            answer[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
            let _ = socket.send_to(&answer, from);
        }
    });
}

#[test]
fn outsiders_are_answered_outside_names_only_when_the_configuration_says_so() {
    let network = Network::new();
    let (inside, outside) = (network.host(1), network.host(9));
    outside.run("ip", &["route", "add", "10.96.0.10", "via", &address(1)]);
    let space = |name: &str| Netns::open(format!("/run/netns/{name}")).expect("a namespace");
    let (stranger, host) = (space(outside.name()), space(inside.name()));
    upstream(&host);
    let mut node = Daemon::unstarted(inside);
    node.listen_to_all();
    let file = node.data_dir().join("node.yaml");
    let write = |clients: &str| {
        let text = format!(
            "evictionHard: {{}}\ndns:\n  upstreams: [\"127.0.0.1:5355\"]\n  clients: [{clients}]\n"
        );
        std::fs::write(&file, text).expect("a file");
    };
    write("");
    node.set_arguments(&["--config", file.to_str().expect("a path")]);
    node.launch();
    node.wait_answering();
    until("the node itself is answered", LIMIT, || {
        asked(&host, SERVER, "www.example.com").filter(|code| *code == NO_ERROR)
    });
    assert_eq!(asked(&stranger, SERVER, "www.example.com"), Some(REFUSED));
    assert_eq!(asked(&stranger, SERVER, "example.com"), Some(REFUSED));
    write("10.77.0.0/24");
    node.restart();
    until("the stranger is answered", LIMIT, || {
        asked(&stranger, SERVER, "www.example.com").filter(|code| *code == NO_ERROR)
    });
}
