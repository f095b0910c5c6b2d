//! How long a node takes from the start of its process: with an empty disk until its API answers
//! and until a first pod runs, and with many objects in its store.

use anyhow::Context;
use futures::stream::{self, StreamExt, TryStreamExt};
use kabuki_model::Resource;
use kabuki_tests::figures::Table;
use kabuki_tests::harness::{Daemon, Host, Session, seen, use_release};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Starts with an empty disk.
const STARTS: usize = 10;
/// Restarts with a full store.
const RESTARTS: usize = 5;
/// Objects in the full store.
const OBJECTS: usize = 100_000;
/// Creations that are under way at once while the store is filled.
const AT_ONCE: usize = 512;
/// Between two looks whether the API answers.
const LOOK: Duration = Duration::from_millis(1);
/// Until then something must have happened.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> anyhow::Result<()> {
    println!("{}", use_release().display());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut table = Table::new("start of a node");
    let (mut answering, mut running) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let mut daemon = Daemon::unstarted(Host::new());
        let begun = Instant::now();
        daemon.launch();
        runtime.block_on(async {
            let session = answers(&daemon, "default").await?;
            answering.push(begun.elapsed());
            first_pod(&session).await?;
            running.push(begun.elapsed());
            anyhow::Ok(())
        })?;
    }
    table.times("empty disk to API answering", &answering, "0.5 s");
    table.times("empty disk to first pod Running", &running, "1 s");
    let mut daemon = Daemon::start();
    let filled = runtime.block_on(fill(&daemon))?;
    table.times("100,000 objects created, 512 at once", &[filled], "");
    let mut restarts = Vec::new();
    for _ in 0..RESTARTS {
        daemon.kill();
        let begun = Instant::now();
        daemon.launch();
        runtime.block_on(async {
            let session = answers(&daemon, "default").await?;
            let last = session
                .get(Resource::CONFIG_MAPS, &name(OBJECTS - 1))
                .await?;
            last.context("an object is lost")?;
            anyhow::Ok(())
        })?;
        restarts.push(begun.elapsed());
    }
    table.times(
        "restart with 100,000 objects, to API answering",
        &restarts,
        "2 s",
    );
    table.print();
    Ok(())
}

/// A session, as soon as one can be opened and a namespace be read.
async fn answers(daemon: &Daemon, namespace: &str) -> anyhow::Result<Session> {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        if let Ok(session) = Session::open(daemon).await
            && let Ok(Some(_)) = session.get(Resource::NAMESPACES, namespace).await
        {
            return Ok(session);
        }
        tokio::time::sleep(LOOK).await;
    }
    anyhow::bail!("the daemon does not answer:\n{}", daemon.log())
}

async fn first_pod(session: &Session) -> anyhow::Result<()> {
    let mut watch = session.changes(Resource::PODS).await?;
    session
        .apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "first"},
            "spec": {"containers": [{"name": "web", "image": "kabuki.local/demo:v1"}]},
        }))
        .await?;
    let running = seen(&mut watch, |event| {
        let value = event.object().and_then(|object| object.to_value().ok());
        value.is_some_and(|value| value["status"]["phase"] == "Running")
    });
    tokio::time::timeout(LIMIT, running)
        .await
        .context("the first pod does not run")??;
    Ok(())
}

async fn fill(daemon: &Daemon) -> anyhow::Result<Duration> {
    let session = Session::open(daemon).await?;
    let begun = Instant::now();
    stream::iter(0..OBJECTS)
        .map(|number| {
            let session = session.clone();
            async move { session.create(Resource::CONFIG_MAPS, &object(number)).await }
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(begun.elapsed())
}

fn name(number: usize) -> String {
    format!("c{number}")
}

/// About 1 KB.
fn object(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name(number)},
        "data": {"text": "x".repeat(700)},
    })
}
