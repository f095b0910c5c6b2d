//! From applying a pod to the moment at which a watching client sees it run, one pod at a time,
//! and where the time goes.

use anyhow::Context;
use kabuki_model::Resource;
use kabuki_model::watch::WatchEvent;
use kabuki_protocol::Watch;
use kabuki_tests::figures::Table;
use kabuki_tests::harness::{Daemon, Session, seen, use_release};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Enough for a 99th percentile that is not the maximum.
const PODS: usize = 120;
/// One pod at a time, as a person would: what the one before left is cleared meanwhile.
const PAUSE: Duration = Duration::from_millis(200);

/// What the agent's trace tells, in the order of its stages.
const STAGES: [(&str, &str); 6] = [
    ("trace.image_us", "  agent: image there"),
    ("trace.network_us", "  agent: sandbox and network there"),
    ("trace.volumes_us", "  agent: volumes there"),
    ("trace.create_us", "  agent: container created"),
    ("trace.start_us", "  agent: container started"),
    ("trace.report_us", "  agent: status committed"),
];

#[derive(Default)]
struct Times {
    committed: Vec<Duration>,
    bound: Vec<Duration>,
    running: Vec<Duration>,
}

fn main() -> anyhow::Result<()> {
    println!("{}", use_release().display());
    let daemon = Daemon::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let times = runtime.block_on(measure(&daemon))?;
    let mut table = Table::new("one pod, image present");
    table.times("applied, seen by a watching client", &times.committed, "");
    table.times("applied, seen bound", &times.bound, "");
    table.times(
        "applied to Running, seen",
        &times.running,
        "p50 25 ms, p99 80 ms",
    );
    for (field, name) in STAGES {
        table.times(name, &stage(&daemon.log(), field), "");
    }
    table.print();
    Ok(())
}

async fn measure(daemon: &Daemon) -> anyhow::Result<Times> {
    let session = Session::open(daemon).await?;
    let mut watch = session.changes(Resource::PODS).await?;
    let mut times = Times::default();
    for number in 0..PODS {
        let name = format!("p{number}");
        tokio::time::sleep(PAUSE).await;
        let begun = Instant::now();
        let applying = async { session.apply(&pod(&name)).await };
        let watching = follow(&mut watch, &name, begun, &mut times);
        let (applied, watched) = tokio::join!(applying, watching);
        applied?;
        watched?;
        session.delete(Resource::PODS, &name).await?;
        seen(&mut watch, |event| matches!(event, WatchEvent::Deleted(_))).await?;
    }
    Ok(times)
}

async fn follow(
    watch: &mut Watch,
    name: &str,
    begun: Instant,
    times: &mut Times,
) -> anyhow::Result<()> {
    let (mut committed, mut bound) = (None, None);
    seen(watch, |event| {
        let Some(object) = event.object().filter(|object| &*object.key.name == name) else {
            return false;
        };
        let value = object.to_value().unwrap_or_default();
        let at = begun.elapsed();
        committed.get_or_insert(at);
        if value["spec"]["nodeName"].is_string() {
            bound.get_or_insert(at);
        }
        value["status"]["phase"] == "Running"
    })
    .await?;
    times.running.push(begun.elapsed());
    times
        .committed
        .push(committed.context("it was never seen")?);
    times.bound.push(bound.context("it was never seen bound")?);
    Ok(())
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "web", "image": "kabuki.local/demo:v1"}]},
    })
}

/// A stage in every trace of the daemon's log.
fn stage(log: &str, field: &str) -> Vec<Duration> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told = lines.filter_map(|line| {
        let fields = line.get("fields").unwrap_or(&line);
        fields.get(field).and_then(Value::as_u64)
    });
    told.map(Duration::from_micros).collect()
}
