//! How long a change takes from its commit to a subscriber in the same process. Clients at the
//! other end of a TLS connection are in `cluster_watch`.
//!
//! The commit is when the new state can be read. Nothing else can tell that moment: a thread
//! reads until it can, which takes one core for the time.

use anyhow::{Context, anyhow};
use bytes::Bytes;
use kabuki_kit::Tree;
use kabuki_model::command::{Command, Expect, Op};
use kabuki_model::request::ListRequest;
use kabuki_model::view::View;
use kabuki_model::watch::{WatchRequest, WatchStart};
use kabuki_model::{ObjectKey, Resource};
use kabuki_plane::raft::RaftHandle;
use kabuki_plane::raft_group::{RaftGroup, RaftGroupArgs, start_raft_group};
use kabuki_tests::figures::Table;
use std::path::Path;
use std::sync::mpsc as blocking;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Changes that are watched.
const CHANGES: usize = 5_000;
/// Between two changes, so that each is on its own.
const PAUSE: Duration = Duration::from_micros(500);

/// When an event arrived, and which.
type Arrivals = mpsc::UnboundedReceiver<(u64, Instant)>;

fn main() -> anyhow::Result<()> {
    let directory = tempfile::Builder::new().prefix("kbt").tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(directory.path()))
}

async fn measure(directory: &Path) -> anyhow::Result<()> {
    let args = RaftGroupArgs::single(&directory.join("state"));
    let (group, state) = start_raft_group(&Tree::new(), args).await?;
    group.raft.leadership().wait_for(|l| l.leading).await?;
    let mut table = Table::new("a change, from its commit");
    let mut arrivals = local(&group).await?;
    let times = changes(&group.raft, &mut arrivals).await?;
    table.times("to a local subscriber", &times, "p99 50 us");
    table.print();
    let stopped = state.stop(Duration::from_secs(20)).await;
    stopped.map_err(|stuck| anyhow!("did not stop: {stuck:?}"))
}

/// Subscribes in process.
async fn local(group: &RaftGroup) -> anyhow::Result<Arrivals> {
    let request = WatchRequest {
        selection: ListRequest::all(Resource::CONFIG_MAPS, None),
        start: WatchStart::After(group.raft.status().revision),
        bookmarks: false,
    };
    let mut events = group.watch.subscribe(request).await?;
    let (seen, arrivals) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(event) = events.next().await {
            if seen.send((event.revision(), Instant::now())).is_err() {
                return;
            }
        }
    });
    Ok(arrivals)
}

/// Makes changes one by one; how long each took from its commit to its arrival.
async fn changes(raft: &RaftHandle, arrivals: &mut Arrivals) -> anyhow::Result<Vec<Duration>> {
    let (await_next, awaited) = blocking::channel::<u64>();
    let (tell, mut told) = mpsc::unbounded_channel();
    let reader = raft.clone();
    let spinning = std::thread::spawn(move || {
        while let Ok(before) = awaited.recv() {
            while reader.snapshot().revision() == before {
                std::hint::spin_loop();
            }
            let _ = tell.send(Instant::now());
        }
    });
    let mut times = Vec::with_capacity(CHANGES);
    for number in 0..CHANGES {
        let before = raft.status().revision;
        await_next.send(before)?;
        tokio::time::sleep(PAUSE).await;
        raft.propose(command(number)).await?;
        let (revision, arrived) = arrivals.recv().await.context("the watch ended")?;
        anyhow::ensure!(revision > before, "an old change arrived");
        let committed = told.recv().await.context("the reading thread ended")?;
        times.push(arrived.saturating_duration_since(committed));
    }
    drop(await_next);
    spinning
        .join()
        .map_err(|_| anyhow!("the reading thread failed"))?;
    Ok(times)
}

fn command(number: usize) -> Command {
    let name = format!("c{}", number % 100);
    let json = format!(
        r#"{{"apiVersion":"v1","data":{{"n":"{number}"}},"kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"default"}}}}"#
    );
    let op = Op::Put {
        key: ObjectKey::new(Resource::CONFIG_MAPS, "default", &name),
        uid: "u".into(),
        json: Bytes::from(json),
        expect: Expect::Any,
    };
    Command {
        term: 0,
        ops: vec![op],
    }
}
