//! Many pods applied at once: until a watching client has seen all of them run, and until
//! nothing of them is left.

use kabuki_agent::Layout;
use kabuki_model::Resource;
use kabuki_model::watch::WatchEvent;
use kabuki_tests::figures::Table;
use kabuki_tests::harness::{Daemon, Host, Session, seen, use_release};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// As many pods.
const PODS: usize = 200;
/// As often.
const ROUNDS: usize = 5;
/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(2);
/// Between two looks whether the shims are gone.
const LOOK: Duration = Duration::from_millis(10);
/// More pods than a node takes by default, and addresses for them, however full its disk is.
const SETTINGS: &str = "maxPods: 250\npodCidr: 10.244.0.0/22\nevictionHard: {}\n";

fn main() -> anyhow::Result<()> {
    println!("{}", use_release().display());
    let mut daemon = Daemon::unstarted(Host::new());
    let settings = daemon.data_dir().join("node.yaml");
    std::fs::write(&settings, SETTINGS)?;
    daemon.set_arguments(&["--config", &settings.display().to_string()]);
    daemon.launch();
    daemon.wait_answering();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (running, gone) = runtime.block_on(measure(&daemon))?;
    let mut table = Table::new("200 pods at once, image present");
    table.times("applied to all Running, seen", &running, "3 s");
    table.times("deleted to all processes and namespaces gone", &gone, "");
    table.print();
    Ok(())
}

async fn measure(daemon: &Daemon) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let session = Session::open(daemon).await?;
    let mut watch = session.changes(Resource::PODS).await?;
    let (mut running, mut gone) = (Vec::new(), Vec::new());
    tokio::time::sleep(PAUSE).await;
    let spares = shims(daemon)?;
    for round in 0..ROUNDS {
        tokio::time::sleep(PAUSE).await;
        let names: Vec<String> = (0..PODS)
            .map(|number| format!("p{round}-{number}"))
            .collect();
        let begun = Instant::now();
        let objects: Vec<Value> = names.iter().map(|name| pod(name)).collect();
        let applying = futures::future::try_join_all(objects.iter().map(|o| session.apply(o)));
        let mut awaited: HashSet<String> = names.iter().cloned().collect();
        let watching = seen(&mut watch, |event| {
            if let WatchEvent::Modified(object) = event
                && object.to_value().unwrap_or_default()["status"]["phase"] == "Running"
            {
                awaited.remove(&*object.key.name);
            }
            awaited.is_empty()
        });
        let (applied, watched) = tokio::join!(applying, watching);
        applied?;
        watched?;
        running.push(begun.elapsed());
        let begun = Instant::now();
        let deletions = names
            .iter()
            .map(|name| session.delete(Resource::PODS, name));
        futures::future::try_join_all(deletions).await?;
        while shims(daemon)? > spares {
            tokio::time::sleep(LOOK).await;
        }
        gone.push(begun.elapsed());
    }
    Ok((running, gone))
}

/// How many shims the daemon has.
fn shims(daemon: &Daemon) -> anyhow::Result<usize> {
    Ok(std::fs::read_dir(Layout::new(daemon.data_dir()).shims())?.count())
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "web", "image": "kabuki.local/demo:v1"}]},
    })
}
