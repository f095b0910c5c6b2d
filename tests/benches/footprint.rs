//! What a node costs that does nothing, and what each pod adds: memory and processor time.

use kabuki_agent::Layout;
use kabuki_model::Resource;
use kabuki_tests::figures::{Table, mib};
use kabuki_tests::harness::{Daemon, Session, seen, use_release};
use kabuki_tests::usage::{Memory, memory, processor};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;

/// Pods over which the cost of one is averaged.
const PODS: usize = 50;
/// What a start leaves to be done is done by then.
const SETTLE: Duration = Duration::from_secs(5);
/// Long enough that a tenth of a percent shows.
const IDLE: Duration = Duration::from_secs(30);

fn main() -> anyhow::Result<()> {
    println!("{}", use_release().display());
    let daemon = Daemon::start();
    let pid = daemon.pid().expect("it runs");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut table = Table::new("cost of a node");
    std::thread::sleep(SETTLE);
    let (idle, spares) = (memory(pid), shims(&daemon));
    let busy = processor(pid, IDLE);
    table.value("idle: the daemon, resident", mib(idle.resident), "48 MiB");
    let whole = idle.proportional + spares.iter().map(|m| m.proportional).sum::<u64>();
    table.value(
        "idle: the daemon and its spare shims, PSS",
        mib(whole),
        "48 MiB",
    );
    table.value(
        "idle: processor time",
        format!("{:.3} % of a core", busy * 100.0),
        "0.2 %",
    );
    runtime.block_on(run_pods(&daemon))?;
    std::thread::sleep(SETTLE);
    let (loaded, held) = (memory(pid), shims(&daemon));
    let sum = |of: fn(&Memory) -> u64| held.iter().map(of).sum::<u64>();
    // The spares are among them before and after.
    let spare = spares.iter().map(|m| m.proportional).sum::<u64>();
    let shim = sum(|m| m.proportional).saturating_sub(spare) / PODS as u64;
    let growth = loaded.proportional.saturating_sub(idle.proportional) / PODS as u64;
    table.value("each further pod: PSS of its shim", mib(shim), "");
    table.value("each further pod: growth of the daemon", mib(growth), "");
    table.value("each further pod, both", mib(shim + growth), "1.5 MiB");
    let private = sum(|m| m.private) / held.len().max(1) as u64;
    table.value("a shim's private memory, on average", mib(private), "");
    let busy = processor(pid, IDLE);
    table.value(
        "50 idle pods: processor time",
        format!("{:.3} % of a core", busy * 100.0),
        "",
    );
    table.print();
    Ok(())
}

async fn run_pods(daemon: &Daemon) -> anyhow::Result<()> {
    let session = Session::open(daemon).await?;
    let mut watch = session.changes(Resource::PODS).await?;
    let names: Vec<String> = (0..PODS).map(|number| format!("p{number}")).collect();
    for name in &names {
        session.apply(&pod(name)).await?;
    }
    let mut awaited: HashSet<&str> = names.iter().map(String::as_str).collect();
    seen(&mut watch, |event| {
        if let Some(object) = event.object()
            && object.to_value().unwrap_or_default()["status"]["phase"] == "Running"
        {
            awaited.remove(&*object.key.name);
        }
        awaited.is_empty()
    })
    .await?;
    Ok(())
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "web", "image": "kabuki.local/demo:v1"}]},
    })
}

/// The memory of every shim of the daemon.
fn shims(daemon: &Daemon) -> Vec<Memory> {
    let run = Layout::new(daemon.data_dir()).shims().display().to_string();
    let processes = std::fs::read_dir("/proc")
        .expect("processes are listed")
        .flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "kabuki-shim" && line.contains(&run)
    })
    .map(memory)
    .collect()
}
