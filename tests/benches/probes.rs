//! 200 pods with a probe every second: what that costs the daemon, how late probes are, and what
//! one that hangs does to others. `KABUKI_COUNT` takes fewer pods.

use kabuki_net::Netns;
use kabuki_tests::figures::{Table, count, time};
use kabuki_tests::harness::{Daemon, Host, busybox_archive, until, use_release};
use kabuki_tests::usage::{processor, used};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const PODS: usize = 200;
const PERIOD: Duration = Duration::from_secs(1);
const WATCHED: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_secs(300);
const SETTINGS: &str = "maxPods: 250\npodCidr: 10.244.0.0/22\nevictionHard: {}\n";
/// The pod whose probe is never answered.
const HANGING: &str = "p0";

/// When each pod was asked.
type Asked = Arc<Mutex<HashMap<String, Vec<Instant>>>>;

fn main() -> anyhow::Result<()> {
    println!("{}", use_release().display());
    let mut daemon = Daemon::unstarted(Host::new());
    let settings = daemon.data_dir().join("node.yaml");
    std::fs::write(&settings, SETTINGS)?;
    daemon.set_arguments(&["--config", &settings.display().to_string()]);
    daemon.launch();
    daemon.wait_answering();
    let elsewhere = tempfile::tempdir()?;
    let archive = busybox_archive(elsewhere.path()).display().to_string();
    daemon.ok(&["image", "load", &archive]);
    let asked = Asked::default();
    let port = serve(&daemon, &asked)?;
    let pods = count(PODS);
    for number in 0..pods {
        daemon.apply(&pod(&format!("p{number}"), &probe(number, port)));
    }
    let probed = || asked.lock().unwrap_or_else(PoisonError::into_inner).len();
    until("every pod is probed", LIMIT, || {
        (probed() == pods).then_some(())
    });
    let pid = daemon.pid().unwrap_or_default();
    std::thread::sleep(PERIOD * 3);
    asked.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let (begun, own) = (Instant::now(), used(std::process::id()));
    let core = processor(pid, WATCHED);
    let servers = used(std::process::id()).saturating_sub(own).as_secs_f64();
    let servers = servers / begun.elapsed().as_secs_f64();
    let late = lateness(&asked);
    let mut table = Table::new("probes over HTTP, one a second for each pod");
    table.value("pods", pods.to_string(), "200");
    table.value(
        "the daemon, of a core",
        format!("{:.1} %", core * 100.0),
        "5 %",
    );
    table.value(
        "what answers, of a core",
        format!("{:.1} %", servers * 100.0),
        "",
    );
    table.times("a probe is late by", &late, "at most 100 ms");
    let most = late.iter().max().copied().unwrap_or_default();
    table.value("the latest by", time(most), "100 ms");
    let ready = daemon.ok(&["get", "pods", "--no-headers"]);
    let ready = ready.lines().filter(|line| line.contains("1/1")).count();
    table.value("ready, while one hangs", ready.to_string(), "all but one");
    daemon.ok(&["delete", "pods", "--all"]);
    for number in 0..pods {
        daemon.apply(&pod(&format!("q{number}"), ""));
    }
    until("every pod runs", LIMIT, || {
        let shown = daemon.ok(&["get", "pods", "--no-headers"]);
        (shown.matches("1/1").count() == pods).then_some(())
    });
    std::thread::sleep(PERIOD * 3);
    let bare = processor(pid, WATCHED);
    let bare = format!("{:.1} %", bare * 100.0);
    table.value("the daemon with pods that have no probe", bare, "");
    table.print();
    Ok(())
}

/// Answers everybody but one, on the daemon's host.
fn serve(daemon: &Daemon, asked: &Asked) -> anyhow::Result<u16> {
    let host = Netns::open(format!("/run/netns/{}", daemon.host().name()))?;
    let listener = host.run_blocking(|| TcpListener::bind("127.0.0.1:0"))??;
    let port = listener.local_addr()?.port();
    let asked = asked.clone();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            held.extend(answer(stream, &asked));
        }
    });
    Ok(port)
}

/// Gives the connection back that is to hang.
fn answer(mut stream: TcpStream, asked: &Asked) -> Option<TcpStream> {
    let mut request = [0; 1024];
    let length = stream.read(&mut request).ok()?;
    let text = String::from_utf8_lossy(&request[..length]).into_owned();
    let name = text.split(['/', ' ']).nth(2)?.to_string();
    let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    asked.entry(name.clone()).or_default().push(Instant::now());
    drop(asked);
    if name == HANGING {
        return Some(stream);
    }
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    // Who does not wait for the answer asks again.
    let _ = stream.write_all(ok);
    None
}

/// By how much more than the period each came after the one before.
fn lateness(asked: &Asked) -> Vec<Duration> {
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    let pairs = asked.values().flat_map(|times| times.windows(2));
    pairs
        .map(|pair| (pair[1] - pair[0]).saturating_sub(PERIOD))
        .collect()
}

fn probe(number: usize, port: u16) -> String {
    format!(
        "    readinessProbe:\n      periodSeconds: 1\n      timeoutSeconds: 1\n      \
         httpGet: {{host: 127.0.0.1, port: {port}, path: /p{number}}}\n"
    )
}

fn pod(name: &str, probe: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - name: main\n    image: busybox\n    \
         imagePullPolicy: IfNotPresent\n    command: [sleep, '100000']\n{probe}"
    )
}
