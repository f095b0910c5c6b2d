//! Three servers with empty disks become a cluster: the first founds it, the two others join with
//! a token of it, as the README says.

use anyhow::Context;
use kabuki_model::Resource;
use kabuki_tests::figures::Table;
use kabuki_tests::harness::{Daemon, Network, Session, address, use_release};
use std::time::{Duration, Instant};

/// Clusters that are started.
const STARTS: usize = 10;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);
/// Until then something must have happened.
const LIMIT: Duration = Duration::from_secs(120);

/// The moments of one start.
#[derive(Default)]
struct Moments {
    answering: Vec<Duration>,
    voting: Vec<Duration>,
    healthy: Vec<Duration>,
}

fn main() -> anyhow::Result<()> {
    println!("{}", use_release().display());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut moments = Moments::default();
    for _ in 0..STARTS {
        runtime.block_on(start(&mut moments))?;
    }
    let mut table = Table::new("three servers, from empty disks");
    table.times("the first answers", &moments.answering, "");
    table.times("three voters, one of them leads", &moments.voting, "");
    table.times("and all three nodes are Ready", &moments.healthy, "3 s");
    table.print();
    Ok(())
}

async fn start(moments: &mut Moments) -> anyhow::Result<()> {
    let network = Network::new();
    let mut nodes: Vec<Daemon> = (1..=3).map(|n| host(&network, n)).collect();
    let begun = Instant::now();
    nodes[0].launch();
    let session = answers(&nodes[0]).await?;
    moments.answering.push(begun.elapsed());
    let shown = nodes[0].ok(&["token", "create", "--role", "any"]);
    let token = shown.split_whitespace().find(|w| w.starts_with("K1-"));
    let token = token.context("no token")?;
    let first = address(1);
    for node in &mut nodes[1..] {
        node.set_arguments(&["--join", &first, "--token", token, "--role", "server"]);
        node.launch();
    }
    wait(begun, async || three_vote(&session).await).await?;
    moments.voting.push(begun.elapsed());
    for node in &nodes {
        wait(begun, async || ready(&session, node.name()).await).await?;
    }
    moments.healthy.push(begun.elapsed());
    Ok(())
}

fn host(network: &Network, number: usize) -> Daemon {
    let mut node = Daemon::unstarted(network.host(number));
    node.set_name(&format!("n{number}"));
    node.listen_to_all();
    node
}

/// A session, as soon as one can be opened and a namespace be read.
async fn answers(node: &Daemon) -> anyhow::Result<Session> {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        if let Ok(session) = Session::open(node).await
            && let Ok(Some(_)) = session.get(Resource::NAMESPACES, "default").await
        {
            return Ok(session);
        }
        tokio::time::sleep(LOOK).await;
    }
    anyhow::bail!("the first server does not answer:\n{}", node.log())
}

async fn wait(begun: Instant, mut seen: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    while !seen().await {
        anyhow::ensure!(begun.elapsed() < LIMIT, "the cluster does not come up");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

async fn three_vote(session: &Session) -> bool {
    let members = session.client().members().await.unwrap_or_default();
    let with = |vote: &str| members.iter().filter(|m| m.vote == vote).count();
    with("leader") == 1 && with("voter") == 2
}

async fn ready(session: &Session, name: &str) -> bool {
    let Ok(Some(node)) = session.get(Resource::NODES, name).await else {
        return false;
    };
    let node = node.to_value().unwrap_or_default();
    let conditions = node["status"]["conditions"].as_array();
    conditions.is_some_and(|all| {
        all.iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    })
}
