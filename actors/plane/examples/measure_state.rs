//! Measures the raft group on the disk of the directory that is given (or a temporary one):
//! single puts, puts with 64 callers, watch latency, longest write during snapshots, restart.

use bytes::Bytes;
use kabuki_kit::Tree;
use kabuki_model::command::{Command, Expect, Op};
use kabuki_model::request::ListRequest;
use kabuki_model::watch::{WatchRequest, WatchStart};
use kabuki_model::{ObjectKey, Resource};
use kabuki_plane::raft_group::{RaftGroup, RaftGroupArgs, start_raft_group};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

fn put(name: &str, json: &Bytes) -> Command {
    let key = ObjectKey::new(Resource::CONFIG_MAPS, "default", name);
    let op = Op::Put {
        key,
        uid: "u".into(),
        json: json.clone(),
        expect: Expect::Any,
    };
    Command {
        term: 0,
        ops: vec![op],
    }
}

fn json() -> Bytes {
    let pad = "x".repeat(900);
    let json = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"c\",\"namespace\":\"default\"}},\"data\":{{\"pad\":\"{pad}\"}}}}"
    );
    json.into()
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
    println!(
        "{what:36} p50 {:>10.1?}  p99 {:>10.1?}  max {:>10.1?}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

async fn start(directory: &Path) -> Result<(RaftGroup, kabuki_kit::Root), Failure> {
    let (group, root) = start_raft_group(&Tree::new(), RaftGroupArgs::single(directory)).await?;
    group.raft.leadership().wait_for(|l| l.leading).await?;
    Ok((group, root))
}

async fn callers(
    group: &RaftGroup,
    callers: usize,
    puts: usize,
    keys: usize,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for caller in 0..callers {
        let (group, json) = (group.clone(), json());
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::with_capacity(puts / callers);
            for n in 0..puts / callers {
                let name = format!("c{}", (n * callers + caller) % keys);
                let begun = Instant::now();
                group.raft.propose(put(&name, &json)).await?;
                times.push(begun.elapsed());
            }
            Ok::<_, kabuki_plane::raft::RaftError>(times)
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    show(&format!("put, {callers} callers: {rate:.0}/s"), times);
    Ok(())
}

async fn watching(group: &RaftGroup) -> Result<(), Failure> {
    let request = WatchRequest {
        selection: ListRequest::all(Resource::CONFIG_MAPS, None),
        start: WatchStart::After(group.raft.status().revision),
        bookmarks: false,
    };
    let mut events = group.watch.subscribe(request).await?;
    let (seen, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let watcher = tokio::spawn(async move {
        while let Ok(event) = events.next().await {
            if seen.send((event.revision(), Instant::now())).is_err() {
                return;
            }
        }
    });
    // The commit is when the snapshot is published: a task spins on it, as nothing else can tell.
    let mut times = Vec::new();
    for n in 0..3000 {
        let before = group.raft.status().revision;
        let raft = group.raft.clone();
        let spin = std::thread::spawn(move || {
            while raft.status().revision == before {
                std::hint::spin_loop();
            }
            Instant::now()
        });
        group.raft.propose(put(&format!("w{n}"), &json())).await?;
        let (_, arrived) = arrivals.recv().await.ok_or("the watch ended")?;
        let committed = spin.join().map_err(|_| "the spinning thread failed")?;
        times.push(arrived.saturating_duration_since(committed));
    }
    watcher.abort();
    show("commit to local subscriber", times);
    Ok(())
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), Failure> {
    let root = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = root.join(format!("measure-state-{}", std::process::id()));
    let begun = Instant::now();
    let (group, running) = start(&directory).await?;
    println!(
        "empty directory to first write possible: {:?}",
        begun.elapsed()
    );
    callers(&group, 1, 3000, 3000).await?;
    watching(&group).await?;
    callers(&group, 64, 300_000, 1000).await?;
    callers(&group, 64, 300_000, 100_000).await?;
    callers(&group, 256, 300_000, 100_000).await?;
    println!("{:?}", group.raft.status());
    let objects = group.raft.snapshot().len();
    running
        .stop(Duration::from_secs(20))
        .await
        .map_err(|e| format!("{e:?}"))?;
    let begun = Instant::now();
    let (_group, running) = start(&directory).await?;
    println!("restart with {objects} objects: {:?}", begun.elapsed());
    running
        .stop(Duration::from_secs(20))
        .await
        .map_err(|e| format!("{e:?}"))?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
