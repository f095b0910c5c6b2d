//! Writes to the store of a single replica, every one of them synced to disk before it is
//! answered: from one caller, and from many whose writes share syncs.
//!
//! The disk is that of `KABUKI_BENCH_DIR`, else of the temporary directory.

use bytes::Bytes;
use kabuki_kit::{Root, Tree};
use kabuki_model::command::{Command, Expect, Op};
use kabuki_model::{ObjectKey, Resource};
use kabuki_plane::raft::RaftError;
use kabuki_plane::raft_group::{RaftGroup, RaftGroupArgs, start_raft_group};
use kabuki_tests::figures::Table;
use std::path::Path;
use std::time::{Duration, Instant};

/// Writes of one caller.
const ALONE: usize = 3_000;
/// Writes of many callers: more than one snapshot's worth.
const TOGETHER: usize = 300_000;
/// Different objects that are written.
const KEYS: usize = 100_000;
/// The size of an object.
const BYTES: usize = 1_000;

fn main() -> anyhow::Result<()> {
    let place = std::env::var_os("KABUKI_BENCH_DIR");
    let place = place.map_or_else(std::env::temp_dir, Into::into);
    let directory = tempfile::Builder::new().prefix("kbt").tempdir_in(place)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(directory.path()))
}

async fn measure(directory: &Path) -> anyhow::Result<()> {
    let mut table = Table::new("single replica, 1 KB puts, synced");
    let (group, running) = start(directory).await?;
    let (times, _) = put(&group, 1, ALONE).await?;
    table.times("1 caller: each", &times, "");
    for callers in [64, 256] {
        let (times, took) = put(&group, callers, TOGETHER).await?;
        let rate = times.len() as f64 / took.as_secs_f64();
        let reach = if callers == 64 { "80,000/s" } else { "" };
        table.value(
            &format!("{callers} callers: all together"),
            format!("{rate:.0}/s"),
            reach,
        );
        table.times(&format!("{callers} callers: each"), &times, "");
        let longest = times.iter().max().copied().unwrap_or_default();
        table.times(
            &format!("{callers} callers: the slowest, with snapshots"),
            &[longest],
            "",
        );
    }
    let objects = group.raft.snapshot().len();
    stop(running).await?;
    let begun = Instant::now();
    let (_group, running) = start(directory).await?;
    table.times(
        &format!("opened again with {objects} objects"),
        &[begun.elapsed()],
        "",
    );
    stop(running).await?;
    table.print();
    Ok(())
}

async fn start(directory: &Path) -> anyhow::Result<(RaftGroup, Root)> {
    let args = RaftGroupArgs::single(directory);
    let (group, root) = start_raft_group(&Tree::new(), args).await?;
    group.raft.leadership().wait_for(|l| l.leading).await?;
    Ok((group, root))
}

async fn stop(running: Root) -> anyhow::Result<()> {
    let stopped = running.stop(Duration::from_secs(20)).await;
    stopped.map_err(|stuck| anyhow::anyhow!("did not stop: {stuck:?}"))
}

/// How long each write took, and all of them.
async fn put(
    group: &RaftGroup,
    callers: usize,
    writes: usize,
) -> anyhow::Result<(Vec<Duration>, Duration)> {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let raft = group.raft.clone();
            tokio::spawn(async move {
                let mut times = Vec::with_capacity(writes / callers);
                for number in 0..writes / callers {
                    let command = command((number * callers + caller) % KEYS);
                    let begun = Instant::now();
                    raft.propose(command).await?;
                    times.push(begun.elapsed());
                }
                Ok::<_, RaftError>(times)
            })
        })
        .collect();
    let mut times = Vec::with_capacity(writes);
    for task in tasks {
        times.extend(task.await??);
    }
    Ok((times, begun.elapsed()))
}

fn command(number: usize) -> Command {
    let name = format!("c{number}");
    let op = Op::Put {
        key: ObjectKey::new(Resource::CONFIG_MAPS, "default", &name),
        uid: "u".into(),
        json: json(&name),
        expect: Expect::Any,
    };
    Command {
        term: 0,
        ops: vec![op],
    }
}

/// An object of its own, in the order of fields that objects are stored in.
fn json(name: &str) -> Bytes {
    let mut json = Vec::with_capacity(BYTES);
    json.extend_from_slice(br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":""#);
    json.extend_from_slice(name.as_bytes());
    json.extend_from_slice(br#"","namespace":"default"},"data":{"text":""#);
    let tail = br#""}}"#;
    json.resize(BYTES - tail.len(), b'x');
    json.extend_from_slice(tail);
    json.into()
}
