//! The HTTP API of one server, over TLS: gets, lists, creations, watchers of one change, and what
//! idle watches hold. The client runs on the same machine and takes its share of it.
//!
//! Requests are written and answers read by hand, so that the client costs as little as it can;
//! watches are streams of HTTP/2 connections, as client-go's are. `KABUKI_COUNT` bounds every
//! number, for a quick look.

use anyhow::{Context, ensure};
use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use kabuki_tests::figures::{Table, count, mib, time};
use kabuki_tests::harness::{Daemon, Web, use_release};
use kabuki_tests::usage::memory;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

/// Connections that ask at the same time.
const CONNECTIONS: usize = 64;
/// Gets of all connections.
const GETS: usize = 400_000;
/// Creations of all connections.
const CREATIONS: usize = 100_000;
/// The pods of one list, and of one in pages.
const FEW_PODS: usize = 10_000;
const MANY_PODS: usize = 300_000;
/// The pods of a page, as kubectl asks for them.
const PAGE: usize = 500;
/// Lists of each kind.
const LISTS: usize = 20;
/// Watchers of one change, and changes.
const WATCHERS: usize = 1_000;
const CHANGES: usize = 200;
/// Between two changes, so that each is on its own.
const PAUSE: Duration = Duration::from_millis(20);
/// Watches that see nothing.
const IDLE: usize = 10_000;
/// Watches of one connection; servers take 250.
const STREAMS: usize = 100;
/// What a load leaves to be done is done by then.
const SETTLE: Duration = Duration::from_secs(5);

const PODS: &str = "/api/v1/namespaces/default/pods";
const SETTINGS: &str = "/api/v1/namespaces/default/configmaps";

fn main() -> anyhow::Result<()> {
    println!("{}", use_release().display());
    let daemon = Daemon::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut table = Table::new("the HTTP API of one server");
    runtime.block_on(async {
        let web = Web::admin(&daemon)?;
        idle(&daemon, &web, &mut table).await?;
        watched(&web, &mut table).await?;
        gets(&web, &mut table).await?;
        let body = |n| settings(&format!("c{n}"), 0);
        let (rate, times) = create(&web, SETTINGS, count(CREATIONS), body).await?;
        let each = format!("create, {CONNECTIONS} connections, synced: each");
        table.times(&each, &times, "");
        table.value("create: in a second", format!("{rate:.0}"), "15000");
        lists(&web, &mut table).await
    })?;
    table.print();
    Ok(())
}

/// What watches hold that see nothing. First, while nothing else has grown.
async fn idle(daemon: &Daemon, web: &Web<'_>, table: &mut Table) -> anyhow::Result<()> {
    let pid = daemon.pid().context("the daemon runs")?;
    tokio::time::sleep(SETTLE).await;
    let before = memory(pid).resident;
    let watches = watch(web, count(IDLE)).await?;
    tokio::time::sleep(SETTLE).await;
    let held = memory(pid).resident.saturating_sub(before);
    let what = format!("{} idle watches: growth of the daemon", watches.len());
    table.value(&what, mib(held), "100 MiB");
    Ok(())
}

/// From a change to the last of its watchers.
async fn watched(web: &Web<'_>, table: &mut Table) -> anyhow::Result<()> {
    let mut wire = Wire::open(web).await?;
    let body = settings("watched", 0);
    ensure!(wire.post(SETTINGS, &body).await? == 201, "not created");
    let watches = watch(web, count(WATCHERS)).await?;
    let watchers = watches.len();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let mut readers = JoinSet::new();
    for mut events in watches {
        let told = told.clone();
        readers.spawn(async move {
            let mut line = Vec::new();
            while let Some(Ok(piece)) = events.data().await {
                let _ = events.flow_control().release_capacity(piece.len());
                line.extend_from_slice(&piece);
                for _ in line.iter().filter(|b| **b == b'\n') {
                    let _ = told.send(Instant::now());
                }
                let end = line
                    .iter()
                    .rposition(|b| *b == b'\n')
                    .map_or(0, |at| at + 1);
                line.drain(..end);
            }
        });
    }
    // The object itself comes first.
    for _ in 0..watchers {
        heard.recv().await.context("a watch ended")?;
    }
    let mut times = Vec::new();
    for number in 1..=count(CHANGES) {
        tokio::time::sleep(PAUSE).await;
        let body = settings("watched", number);
        let begun = Instant::now();
        let path = format!("{SETTINGS}/watched");
        ensure!(wire.send("PUT", &path, &body).await? == 200, "not changed");
        let mut last = begun;
        for _ in 0..watchers {
            last = last.max(heard.recv().await.context("a watch ended")?);
        }
        times.push(last - begun);
    }
    let what = format!("a change, from its request to the last of {watchers} watchers");
    table.times(&what, &times, "p99 20 ms");
    Ok(())
}

async fn gets(web: &Web<'_>, table: &mut Table) -> anyhow::Result<()> {
    let mut wire = Wire::open(web).await?;
    ensure!(wire.post(PODS, &pod(0)).await? == 201, "no pod");
    let path = format!("{PODS}/p0");
    let get = move |_| ("GET", path.clone(), String::new());
    let (rate, times) = load(web, count(GETS), 200, get).await?;
    let each = format!("get of a pod, {CONNECTIONS} connections: each");
    table.times(&each, &times, "p99 4 ms");
    table.value("get: in a second", format!("{rate:.0}"), "40000");
    Ok(())
}

async fn lists(web: &Web<'_>, table: &mut Table) -> anyhow::Result<()> {
    let few = count(FEW_PODS);
    // One is there already.
    create(web, PODS, few, |n| pod(n + 1)).await?;
    let mut wire = Wire::open(web).await?;
    let (mut first, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..count(LISTS) {
        let (begun, all, bytes) = wire.list(PODS).await?;
        ensure!(bytes > few * 100, "a list of {bytes} bytes");
        first.push(begun);
        whole.push(all);
    }
    table.times(
        &format!("list of {few} pods: to the first byte"),
        &first,
        "60 ms",
    );
    table.times(&format!("list of {few} pods: whole"), &whole, "");
    let many = count(MANY_PODS).max(few);
    create(web, PODS, many - few, move |n| pod(n + few + 1)).await?;
    let (mut first, mut pages) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    let mut token = String::new();
    loop {
        let path = format!("{PODS}?limit={PAGE}&continue={token}");
        let (at, whole, _) = wire.list(&path).await?;
        first.push(at);
        pages.push(whole);
        match wire.token() {
            Some(next) => token = next.replace('/', "%2F"),
            None => break,
        }
    }
    let all = begun.elapsed();
    let what = format!("list of {many} pods in pages: to the first byte of each");
    table.times(&what, &first, "650 ms");
    table.times("list in pages: each page", &pages, "");
    table.value("list in pages: all", time(all), "");
    let (begun, whole, _) = wire.list(PODS).await?;
    let what = format!("list of {many} pods at once: to the first byte");
    table.value(&what, time(begun), "");
    table.value("list at once: whole", time(whole), "");
    Ok(())
}

/// Creates objects; how many in a second, and how long each took.
async fn create(
    web: &Web<'_>,
    path: &'static str,
    number: usize,
    body: impl Fn(usize) -> String + Send + Sync + 'static,
) -> anyhow::Result<(f64, Vec<Duration>)> {
    load(web, number, 201, move |n| {
        ("POST", path.to_string(), body(n))
    })
    .await
}

/// Sends requests over all connections; how many in a second, and how long each took.
async fn load(
    web: &Web<'_>,
    number: usize,
    expected: u16,
    request: impl Fn(usize) -> (&'static str, String, String) + Send + Sync + 'static,
) -> anyhow::Result<(f64, Vec<Duration>)> {
    let mut wires = Vec::new();
    for _ in 0..CONNECTIONS.min(number) {
        wires.push(Wire::open(web).await?);
    }
    let (next, request) = (Arc::new(AtomicUsize::new(0)), Arc::new(request));
    let mut running = JoinSet::new();
    let begun = Instant::now();
    for mut wire in wires {
        let (next, request) = (next.clone(), request.clone());
        running.spawn(async move {
            let mut times = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= number {
                    return anyhow::Ok(times);
                }
                let (method, path, body) = request(n);
                let at = Instant::now();
                let code = wire.send(method, &path, &body).await?;
                ensure!(code == expected, "{method} {path}: {code}");
                times.push(at.elapsed());
            }
        });
    }
    let mut times = Vec::new();
    while let Some(done) = running.join_next().await {
        times.extend(done??);
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    Ok((rate, times))
}

/// Opens watches of all config maps named `watched`, and waits until each has begun.
async fn watch(web: &Web<'_>, number: usize) -> anyhow::Result<Vec<RecvStream>> {
    let mut watches = Vec::new();
    let mut sender: Option<SendRequest<Bytes>> = None;
    for n in 0..number {
        if n % STREAMS == 0 {
            let tls = web.connection(b"h2").await?;
            let (fresh, connection) = h2::client::handshake(tls).await?;
            tokio::spawn(connection);
            sender = Some(fresh);
        }
        let path = format!("{SETTINGS}?watch=1&fieldSelector=metadata.name%3Dwatched");
        let request = http::Request::get(format!("https://kabuki{path}")).body(())?;
        let mut ready = sender.take().context("a connection")?.ready().await?;
        let (answer, _) = ready.send_request(request, true)?;
        sender = Some(ready);
        let answer = answer.await?;
        ensure!(answer.status() == 200, "a watch: {}", answer.status());
        watches.push(answer.into_body());
    }
    // The last connection lives as long as its streams.
    Ok(watches)
}

/// One HTTP/1.1 connection.
struct Wire {
    stream: TlsStream<TcpStream>,
    /// The answer, or as much of it as has come.
    answer: Vec<u8>,
}

impl Wire {
    async fn open(web: &Web<'_>) -> anyhow::Result<Self> {
        let stream = web.connection(b"http/1.1").await?;
        let answer = Vec::new();
        Ok(Self { stream, answer })
    }

    async fn post(&mut self, path: &str, body: &str) -> anyhow::Result<u16> {
        self.send("POST", path, body).await
    }

    async fn ask(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<()> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: kabuki\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.answer.clear();
        self.stream.write_all(request.as_bytes()).await?;
        Ok(self.stream.flush().await?)
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        let read = self.stream.read_buf(&mut self.answer).await?;
        ensure!(read > 0, "the server ended the connection");
        Ok(())
    }

    /// Sends a request whose answer tells its length; gives the code.
    async fn send(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<u16> {
        self.ask(method, path, body).await?;
        loop {
            self.more().await?;
            let Some(end) = find(&self.answer, b"\r\n\r\n") else {
                continue;
            };
            let (code, length) = head(&self.answer[..end])?;
            let length = length.context("an answer without its length")?;
            if self.answer.len() >= end + 4 + length {
                return Ok(code);
            }
        }
    }

    /// Lists: how long until the first byte of the body and the last, and how many there were.
    async fn list(&mut self, path: &str) -> anyhow::Result<(Duration, Duration, usize)> {
        let begun = Instant::now();
        self.ask("GET", path, "").await?;
        let mut first = None;
        loop {
            self.more().await?;
            let Some(end) = find(&self.answer, b"\r\n\r\n") else {
                continue;
            };
            let body = self.answer.len() - end - 4;
            if body > 0 && first.is_none() {
                first = Some(begun.elapsed());
            }
            let (code, length) = head(&self.answer[..end])?;
            ensure!(code == 200, "{path}: {code}");
            let done = match length {
                Some(length) => body >= length,
                None => self.answer.ends_with(b"\r\n0\r\n\r\n"),
            };
            if done {
                let whole = begun.elapsed();
                return Ok((first.unwrap_or(whole), whole, body));
            }
        }
    }

    /// Where the list goes on that was read last.
    fn token(&self) -> Option<String> {
        const FIELD: &[u8] = b"\"continue\":\"";
        let at = find(&self.answer, FIELD)? + FIELD.len();
        let end = self.answer[at..].iter().position(|b| *b == b'"')?;
        let token = std::str::from_utf8(&self.answer[at..at + end]).ok()?;
        Some(token.to_string()).filter(|t| !t.is_empty())
    }
}

/// The code and the length of the body; `None` for one in pieces.
fn head(head: &[u8]) -> anyhow::Result<(u16, Option<usize>)> {
    let text = std::str::from_utf8(head)?;
    let mut lines = text.split("\r\n");
    let code = lines.next().and_then(|l| l.split(' ').nth(1));
    let code = code.context("no status line")?.parse()?;
    let mut fields = lines.filter_map(|l| l.split_once(": "));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    Ok((code, length.map(|(_, value)| value.parse()).transpose()?))
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|w| w == wanted)
}

fn settings(name: &str, number: usize) -> String {
    let value: Value = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"number": number.to_string(), "text": "x".repeat(700)},
    });
    value.to_string()
}

/// A pod that no scheduler places.
fn pod(number: usize) -> String {
    let value = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("p{number}"), "labels": {"app": "bench"}},
        "spec": {
            "schedulerName": "nobody",
            "containers": [{"name": "web", "image": "kabuki.local/demo:v1"}],
        },
    });
    value.to_string()
}
