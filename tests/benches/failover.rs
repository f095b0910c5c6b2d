//! The leader of three servers dies while a client of another server writes in a loop: how long
//! until that client's next write is acknowledged.

use anyhow::Context;
use kabuki_model::Resource;
use kabuki_tests::figures::Table;
use kabuki_tests::harness::{Cluster, Session, use_release};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Leaders that are killed.
const ROUNDS: usize = 20;
/// Writes go on for so long before the leader dies.
const BEFORE: Duration = Duration::from_millis(500);
/// Until then the cluster must be whole again, or write again.
const LIMIT: Duration = Duration::from_secs(60);

/// A write that was acknowledged.
#[derive(Debug, Clone, Copy)]
struct Written {
    begun: Instant,
    acknowledged: Instant,
}

fn main() -> anyhow::Result<()> {
    println!("{}", use_release().display());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut cluster = Cluster::start(3, 0);
    let (mut gaps, mut failed) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        let leader = cluster.leader();
        let client = (1..=3).filter(|n| *n != leader).nth(round % 2);
        let client = client.context("three servers")?;
        let (gap, refused) = runtime.block_on(one(&mut cluster, leader, client))?;
        println!("round {round}: n{leader} killed, n{client} wrote after {gap:?}");
        gaps.push(gap);
        failed += refused;
        let node = cluster.node_mut(leader);
        node.launch();
        node.wait_answering();
        runtime.block_on(whole(cluster.node(client)))?;
    }
    let mut table = Table::new("leader killed, default settings");
    let reach = "p50 300 ms, p99 500 ms";
    table.times("to the next write of another server's client", &gaps, reach);
    table.value("writes that failed meanwhile", failed.to_string(), "");
    table.print();
    Ok(())
}

/// Kills the leader while a client writes. How long until it had written again, and how many of its
/// writes failed.
async fn one(
    cluster: &mut Cluster,
    leader: usize,
    client: usize,
) -> anyhow::Result<(Duration, usize)> {
    let session = Session::open(cluster.node(client)).await?;
    let (tell, mut told) = watch::channel(None);
    let writer = tokio::spawn(async move {
        let mut failed = 0;
        for number in 0_u64.. {
            let begun = Instant::now();
            match write(&session, number).await {
                Ok(()) => {
                    let acknowledged = Instant::now();
                    let written = Written {
                        begun,
                        acknowledged,
                    };
                    if tell.send(Some(written)).is_err() {
                        break;
                    }
                }
                Err(_) => {
                    failed += 1;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
        failed
    });
    tokio::time::sleep(BEFORE).await;
    let killed = Instant::now();
    cluster.node_mut(leader).kill();
    let dead = Instant::now();
    // One that began earlier may have been acknowledged by the leader that is dead.
    let again = told.wait_for(|last: &Option<Written>| last.is_some_and(|w| w.begun > dead));
    let again = tokio::time::timeout(LIMIT, again)
        .await
        .context("no write is acknowledged")??
        .context("a write")?;
    drop(told);
    Ok((again.acknowledged - killed, writer.await?))
}

async fn write(session: &Session, number: u64) -> anyhow::Result<()> {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "written"},
        "data": {"number": number.to_string()},
    });
    let json = serde_json::to_vec(&object)?.into();
    match session.update(Resource::CONFIG_MAPS, "written", json).await {
        Ok(()) => Ok(()),
        Err(_) if number == 0 => session
            .create(Resource::CONFIG_MAPS, &object)
            .await
            .map(drop),
        Err(error) => Err(error),
    }
}

/// Waits until all three vote, are connected and have the whole log.
async fn whole(node: &kabuki_tests::harness::Daemon) -> anyhow::Result<()> {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        let session = Session::open(node).await?;
        let members = session.client().members().await.unwrap_or_default();
        let fine = members.iter().filter(|m| {
            matches!(m.vote.as_str(), "leader" | "voter")
                && matches!(m.session.as_str(), "self" | "connected")
                && m.lag.is_some_and(|lag| lag < 100)
        });
        if fine.count() == 3 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("the cluster is not whole again")
}
