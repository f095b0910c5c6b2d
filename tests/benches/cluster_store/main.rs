//! Writes to three servers and linearizable reads from them, through real sessions, every write
//! synced by a majority before it is answered; and the same with three etcd members, where `etcd`
//! is on the PATH.
//!
//! All run on the same disk (that of the temporary directory), on hosts of the same kind, with the
//! same load of the same process, and take turns. etcd is compared with twice: with mutual TLS
//! between members and with clients, which is what sessions have and how a cluster of Kubernetes
//! runs it, and without any. What differs still: a put is an `Update` of a whole ConfigMap, which is
//! authorized, validated and put in order, while etcd stores bytes without looking at them. And our
//! servers keep the processors from halting while they are busy, which etcd's members do not:
//! with `KEEP_AWAKE=never` ours do not either, with `always` both run on such processors.

mod credentials;
mod etcd;

use anyhow::Context;
use bytes::Bytes;
use etcd::Etcd;
use futures::stream::{self, StreamExt, TryStreamExt};
use kabuki_model::Resource;
use kabuki_tests::figures::Table;
use kabuki_tests::harness::{Cluster, Session, use_release};
use kabuki_tests::usage::used;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

/// Different objects. A multiple of every number of clients: no two write one at once.
const KEYS: usize = 4_096;
/// The size of an object.
const BYTES: usize = 1_000;
/// Connections, at most one for each client.
const CONNECTIONS: usize = 16;
/// How often both take their turn.
const ROUNDS: usize = 3;
/// One turn.
const TURN: Duration = Duration::from_secs(3);
/// The bound of objects that are created at once.
const AT_ONCE: usize = 256;

/// One connection.
#[derive(Clone)]
enum Target {
    Kabuki(Session),
    Etcd(etcd::Client),
}

#[derive(Debug, Clone, Copy)]
enum Work {
    Put,
    Get,
}

/// A kind of load.
#[derive(Debug, Clone, Copy)]
struct Load {
    work: Work,
    clients: usize,
    /// Over how many servers, of which the first leads.
    over: usize,
}

/// What one of both did.
#[derive(Default)]
struct Done {
    times: Vec<Duration>,
    took: Duration,
    processor: Duration,
}

const LOADS: [Load; 7] = [
    Load::new(Work::Put, 1, 1),
    Load::new(Work::Put, 64, 1),
    Load::new(Work::Put, 256, 1),
    Load::new(Work::Put, 64, 3),
    Load::new(Work::Put, 256, 3),
    Load::new(Work::Get, 64, 1),
    Load::new(Work::Get, 64, 3),
];

fn main() -> anyhow::Result<()> {
    println!("{}", use_release().display());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let when = std::env::var("KEEP_AWAKE").unwrap_or_else(|_| "busy".to_string());
    let (when, _kept_awake) = match &*when {
        "always" => ("never", Some(keep_awake()?)),
        when => (when, None),
    };
    let cluster = Cluster::start_with(3, 0, &["--keep-awake", when]);
    let mut servers = vec![1, 2, 3];
    let leader = cluster.leader();
    servers.swap(0, leader - 1);
    let version = etcd::version();
    match &version {
        Some(version) => println!("compared with etcd {version}"),
        None => println!("no etcd on the PATH: nothing is compared"),
    }
    runtime.block_on(async {
        let mut others = Vec::new();
        if version.is_some() {
            for (name, secured) in [("etcd", true), ("etcd without TLS", false)] {
                others.push((name, Etcd::start(secured).await?));
            }
        }
        measure(&cluster, &servers, &others).await
    })
}

/// Keeps the processors from halting for as long as the file is open.
fn keep_awake() -> anyhow::Result<File> {
    let device = "/dev/cpu_dma_latency";
    let mut request = File::create(device).context(device)?;
    request.write_all(&0_i32.to_ne_bytes()).context(device)?;
    Ok(request)
}

async fn measure(
    cluster: &Cluster,
    servers: &[usize],
    others: &[(&str, Etcd)],
) -> anyhow::Result<()> {
    fill(&open(cluster, servers, CONNECTIONS, 1).await?).await?;
    for (_, etcd) in others {
        fill(&connect(etcd, CONNECTIONS, 1).await?).await?;
    }
    let own = cluster
        .nodes
        .iter()
        .filter_map(|n| n.pid())
        .collect::<Vec<_>>();
    let mut table = Table::new("three servers, 1 KB, real syncs");
    for load in chosen() {
        let count = CONNECTIONS.min(load.clients.max(load.over));
        let ours = open(cluster, servers, count, load.over).await?;
        let mut theirs = Vec::new();
        for (name, etcd) in others {
            let targets = connect(etcd, count, load.over).await?;
            theirs.push((*name, targets, etcd.pids(), Done::default()));
        }
        let mut kabuki = Done::default();
        for _ in 0..ROUNDS {
            turn(&ours, load, &own, &mut kabuki).await?;
            for (_, targets, pids, done) in &mut theirs {
                turn(targets, load, pids, done).await?;
            }
        }
        show(&mut table, load, "", &kabuki);
        for (other, _, _, done) in &theirs {
            show(&mut table, load, other, done);
            compare(&mut table, load, &kabuki, other, done);
        }
    }
    table.print();
    Ok(())
}

/// The loads whose names contain the first argument that is not cargo's, else all.
fn chosen() -> impl Iterator<Item = Load> {
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    let wanted = wanted.unwrap_or_default();
    LOADS
        .into_iter()
        .filter(move |l| l.name().contains(&wanted))
}

/// The figures of one.
fn show(table: &mut Table, load: Load, whose: &str, done: &Done) {
    let name = |what: &str| match whose {
        "" => format!("{}: {what}", load.name()),
        whose => format!("{}: {what}, {whose}", load.name()),
    };
    table.times(&name("each"), &done.times, "");
    let each = done.processor.as_secs_f64() * 1e6 / done.times.len().max(1) as f64;
    let shown = format!("{:.0}/s, {each:.0} us of processor", done.rate());
    table.value(&name("together"), shown, "");
}

fn compare(table: &mut Table, load: Load, kabuki: &Done, other: &str, done: &Done) {
    let name = load.name();
    let times = |a: f64, b: f64| format!("{:.2}", a / b.max(f64::MIN_POSITIVE));
    let more = times(kabuki.rate(), done.rate());
    let what = format!("{name}: throughput, of that of {other}");
    table.value(&what, more, "2.00");
    let p99 = |done: &Done| Table::p99(&done.times).as_secs_f64();
    let less = times(p99(kabuki), p99(done));
    let reach = match load.work {
        Work::Put => "0.50",
        Work::Get => "",
    };
    table.value(&format!("{name}: p99, of that of {other}"), less, reach);
}

impl Done {
    /// Each second.
    fn rate(&self) -> f64 {
        self.times.len() as f64 / self.took.as_secs_f64()
    }
}

impl Load {
    const fn new(work: Work, clients: usize, over: usize) -> Self {
        Self {
            work,
            clients,
            over,
        }
    }

    fn name(&self) -> String {
        let work = match self.work {
            Work::Put => "puts",
            Work::Get => "reads",
        };
        let over = match self.over {
            1 => "leader",
            _ => "all servers",
        };
        let clients = self.clients;
        format!("{work}, {clients} clients, {over}")
    }
}

/// Sessions, spread over so many of the servers.
async fn open(
    cluster: &Cluster,
    servers: &[usize],
    count: usize,
    over: usize,
) -> anyhow::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for number in servers.iter().take(over).cycle().take(count) {
        targets.push(Target::Kabuki(Session::open(cluster.node(*number)).await?));
    }
    Ok(targets)
}

/// Connections to etcd, in the same way.
async fn connect(etcd: &Etcd, count: usize, over: usize) -> anyhow::Result<Vec<Target>> {
    let clients = etcd.clients(count, over).await?;
    Ok(clients.into_iter().map(Target::Etcd).collect())
}

/// Creates every object.
async fn fill(targets: &[Target]) -> anyhow::Result<()> {
    stream::iter(0..KEYS)
        .map(|number| async move {
            let target = &targets[number % targets.len()];
            match target {
                Target::Kabuki(session) => {
                    let object = serde_json::from_slice(&json(&name(number)))?;
                    session.create(Resource::CONFIG_MAPS, &object).await?;
                    Ok(())
                }
                Target::Etcd(_) => target.perform(Work::Put, number).await,
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|()| async { Ok(()) })
        .await
}

/// All clients work for one turn.
async fn turn(targets: &[Target], load: Load, pids: &[u32], done: &mut Done) -> anyhow::Result<()> {
    let spent = || pids.iter().map(|pid| used(*pid)).sum::<Duration>();
    let (begun, before) = (Instant::now(), spent());
    let clients: Vec<_> = (0..load.clients)
        .map(|client| {
            let target = targets[client % targets.len()].clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut number = client;
                while begun.elapsed() < TURN {
                    let called = Instant::now();
                    target.perform(load.work, number % KEYS).await?;
                    times.push(called.elapsed());
                    number += load.clients;
                }
                anyhow::Ok(times)
            })
        })
        .collect();
    for client in clients {
        done.times.extend(client.await??);
    }
    done.took += begun.elapsed();
    done.processor += spent().saturating_sub(before);
    Ok(())
}

impl Target {
    async fn perform(&self, work: Work, number: usize) -> anyhow::Result<()> {
        let name = name(number);
        match (self, work) {
            (Self::Kabuki(session), Work::Put) => {
                session
                    .update(Resource::CONFIG_MAPS, &name, json(&name))
                    .await
            }
            (Self::Kabuki(session), Work::Get) => {
                let read = session.get(Resource::CONFIG_MAPS, &name).await?;
                read.context("an object is lost").map(drop)
            }
            (Self::Etcd(client), Work::Put) => client.put(&name, json(&name)).await,
            (Self::Etcd(client), Work::Get) => client.get(&name).await.map(drop),
        }
    }
}

fn name(number: usize) -> String {
    format!("c{number}")
}

/// An object of its own, never like the one before.
fn json(name: &str) -> Bytes {
    let mut json = Vec::with_capacity(BYTES);
    json.extend_from_slice(br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":""#);
    json.extend_from_slice(name.as_bytes());
    json.extend_from_slice(br#"","namespace":"default"},"data":{"text":""#);
    json.extend_from_slice(format!("{:016x}", rand::random::<u64>()).as_bytes());
    let tail = br#""}}"#;
    json.resize(BYTES - tail.len(), b'x');
    json.extend_from_slice(tail);
    json.into()
}
