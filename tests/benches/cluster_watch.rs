//! How long a change takes from its commit to a client of a follower, in a cluster of three.
//!
//! Nobody outside can see the commit itself. It came before the leader's own client had its
//! answer, at most by what the answer's way takes; a read that asks nobody else takes that way and
//! the one there. So the answer less such a read's whole round trip counts as the commit: what is
//! shown is never too short by more than the variation of that. The time from the call of the write
//! is shown too, which is certainly too long.

use anyhow::Context;
use kabuki_model::Resource;
use kabuki_model::request::Request;
use kabuki_model::watch::WatchEvent;
use kabuki_protocol::Watch;
use kabuki_tests::figures::{Table, time};
use kabuki_tests::harness::{Cluster, Session, key, use_release};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Changes that are watched.
const CHANGES: usize = 3_000;
/// Between two changes, so that each is on its own.
const PAUSE: Duration = Duration::from_millis(1);
/// What is changed.
const NAME: &str = "watched";

/// When an event arrived, and which.
type Arrivals = mpsc::UnboundedReceiver<(u64, Instant)>;

fn main() -> anyhow::Result<()> {
    println!("{}", use_release().display());
    let cluster = Cluster::start(3, 0);
    let leader = cluster.leader();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut table = Table::new("a change, to a client of a follower");
    runtime.block_on(measure(&cluster, leader, &mut table))?;
    table.print();
    Ok(())
}

async fn measure(cluster: &Cluster, leader: usize, table: &mut Table) -> anyhow::Result<()> {
    let session = Session::open(cluster.node(leader)).await?;
    session.create(Resource::CONFIG_MAPS, &object(0)).await?;
    let follower = (1..=3).find(|n| *n != leader).context("three servers")?;
    let mut arrivals = watching(Session::open(cluster.node(follower)).await?).await?;
    let mut local = watching(Session::open(cluster.node(leader)).await?).await?;
    let (mut answered, mut whole, mut after) = (Vec::new(), Vec::new(), Vec::new());
    let (mut to_own, mut after_own, mut trips) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=CHANGES {
        tokio::time::sleep(PAUSE).await;
        trips.push(trip(&session).await?);
        let json = serde_json::to_vec(&object(number))?.into();
        let begun = Instant::now();
        session.update(Resource::CONFIG_MAPS, NAME, json).await?;
        let answer = Instant::now();
        let (revision, arrived) = arrivals.recv().await.context("the watch ended")?;
        let (own, at) = local.recv().await.context("the watch ended")?;
        anyhow::ensure!(own == revision, "the watches differ");
        answered.push(answer - begun);
        whole.push(arrived - begun);
        to_own.push(at - begun);
        after.push((arrived, answer));
        after_own.push((at, answer));
    }
    trips.sort_unstable();
    let trip = trips[trips.len() / 2];
    let from_commit = |moments: &[(Instant, Instant)]| -> Vec<Duration> {
        let since = moments
            .iter()
            .map(|(arrived, answer)| (*arrived + trip).saturating_duration_since(*answer));
        since.collect()
    };
    table.times("from the commit", &from_commit(&after), "p99 2 ms");
    let own = from_commit(&after_own);
    table.times("the same, to a client of the leader", &own, "p99 1 ms");
    table.times("from the call of the write", &whole, "");
    let what = "from the call, to a client of the leader";
    table.times(what, &to_own, "");
    table.times("the write's own answer", &answered, "");
    let what = format!("a stale read at the leader ({} is taken off)", time(trip));
    table.times(&what, &trips, "");
    Ok(())
}

/// A read that the leader answers alone, there and back.
async fn trip(session: &Session) -> anyhow::Result<Duration> {
    let request = Request::Get {
        key: key(Resource::CONFIG_MAPS, NAME),
        subresource: None,
    };
    let begun = Instant::now();
    session.client().stale_read(request, None).await?;
    Ok(begun.elapsed())
}

async fn watching(session: Session) -> anyhow::Result<Arrivals> {
    let mut events: Watch = session.changes(Resource::CONFIG_MAPS).await?;
    let (seen, arrivals) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        // The connection closes with its session.
        let _session = session;
        while let Some(Ok(event)) = events.next().await {
            let at = Instant::now();
            let changed = event.object().is_some_and(|o| &*o.key.name == NAME);
            let changed = changed && !matches!(event, WatchEvent::Bookmark { .. });
            if changed && seen.send((event.revision(), at)).is_err() {
                return;
            }
        }
    });
    Ok(arrivals)
}

fn object(number: usize) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME},
        "data": {"number": number.to_string()},
    })
}
