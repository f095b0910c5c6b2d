//! A pod's life, one at a time: a start with init containers and a sidecar, a crash, a deletion, a
//! configuration that changes, a command. `KABUKI_COUNT` measures fewer.

use kabuki_agent::Layout;
use kabuki_model::Resource;
use kabuki_model::request::{DeleteOptions, Request};
use kabuki_model::watch::WatchEvent;
use kabuki_protocol::{Api, Watch};
use kabuki_tests::figures::{Table, count};
use kabuki_tests::harness::{Daemon, Session, busybox_archive, key, seen, use_release};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Pods that show one configuration.
const READERS: usize = 50;
/// What the one before left is cleared meanwhile.
const PAUSE: Duration = Duration::from_millis(200);
/// Between two looks at files.
const LOOK: Duration = Duration::from_micros(500);

fn main() -> anyhow::Result<()> {
    println!("{}", use_release().display());
    let daemon = Daemon::start();
    let elsewhere = tempfile::tempdir()?;
    let archive = busybox_archive(elsewhere.path()).display().to_string();
    daemon.ok(&["image", "load", &archive]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut table = Table::new("a pod's life, image present");
    runtime.block_on(async {
        let session = Session::open(&daemon).await?;
        let mut watch = session.changes(Resource::PODS).await?;
        let ready = starts(&session, &mut watch).await?;
        let what = "2 init containers, a sidecar, 2 containers: applied to Ready";
        table.times(what, &ready, "p50 90 ms");
        let restarts = crashes(&session, &mut watch, elsewhere.path()).await?;
        table.times(
            "crash to its restart, no back-off due",
            &restarts,
            "p50 20 ms",
        );
        let gone = deletions(&session, &mut watch).await?;
        table.times("deletion to gone, ends at SIGTERM", &gone, "p50 30 ms");
        let shown = changes(&session, &mut watch, daemon.data_dir()).await?;
        table.times(
            "ConfigMap changed to its file in 50 pods",
            &shown,
            "p99 200 ms",
        );
        anyhow::Ok(())
    })?;
    table.times("exec of true from the CLI", &execs(&daemon), "p50 20 ms");
    table.print();
    Ok(())
}

fn pod(name: &str, spec: Value) -> Value {
    let head = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}});
    let mut pod = head;
    pod["spec"] = spec;
    pod
}

fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "busybox", "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script]})
}

const IDLE: &str = "trap 'exit 0' TERM; sleep 1000 & wait";

fn is_ready(value: &Value) -> bool {
    let conditions = value["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Waits until the pod is as wanted.
async fn until(
    watch: &mut Watch,
    name: &str,
    wanted: impl Fn(&Value) -> bool,
) -> anyhow::Result<()> {
    seen(watch, |event| {
        let object = event.object().filter(|o| &*o.key.name == name);
        object.is_some_and(|o| wanted(&o.to_value().unwrap_or_default()))
    })
    .await?;
    Ok(())
}

async fn is_gone(watch: &mut Watch, name: &str) -> anyhow::Result<()> {
    let deleted = |e: &WatchEvent| matches!(e, WatchEvent::Deleted(o) if &*o.key.name == name);
    seen(watch, deleted).await?;
    Ok(())
}

async fn starts(session: &Session, watch: &mut Watch) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for number in 0..count(60) {
        tokio::time::sleep(PAUSE).await;
        let name = format!("whole{number}");
        let mut sidecar = container("side", IDLE);
        sidecar["restartPolicy"] = "Always".into();
        let spec = json!({
            "initContainers": [container("first", "true"), sidecar, container("second", "true")],
            "containers": [container("one", IDLE), container("two", IDLE)],
        });
        let begun = Instant::now();
        session.apply(&pod(&name, spec)).await?;
        until(watch, &name, is_ready).await?;
        times.push(begun.elapsed());
        session.delete(Resource::PODS, &name).await?;
        is_gone(watch, &name).await?;
    }
    Ok(times)
}

/// Each pod crashes once, because only the first crash is followed at once.
async fn crashes(
    session: &Session,
    watch: &mut Watch,
    folder: &Path,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for number in 0..count(60) {
        tokio::time::sleep(PAUSE).await;
        let name = format!("crash{number}");
        let place = folder.join(&name);
        std::fs::create_dir(&place)?;
        let word = place.join("word");
        nix::unistd::mkfifo(&word, nix::sys::stat::Mode::S_IRWXU)?;
        let mut main = container("main", "read x < /talk/word; exit 1");
        main["volumeMounts"] = json!([{"name": "talk", "mountPath": "/talk"}]);
        let spec = json!({"containers": [main],
            "volumes": [{"name": "talk", "hostPath": {"path": place}}]});
        session.apply(&pod(&name, spec)).await?;
        until(watch, &name, is_ready).await?;
        // Opens when the container reads.
        tokio::task::spawn_blocking(move || std::fs::write(word, "now\n")).await??;
        let begun = Instant::now();
        until(watch, &name, |value| {
            let status = &value["status"]["containerStatuses"][0];
            status["restartCount"] == 1 && status["state"]["running"].is_object()
        })
        .await?;
        times.push(begun.elapsed());
        session.delete(Resource::PODS, &name).await?;
        is_gone(watch, &name).await?;
    }
    Ok(times)
}

async fn deletions(session: &Session, watch: &mut Watch) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for number in 0..count(60) {
        tokio::time::sleep(PAUSE).await;
        let name = format!("gone{number}");
        let spec = json!({"containers": [container("main", IDLE)]});
        session.apply(&pod(&name, spec)).await?;
        until(watch, &name, is_ready).await?;
        // The shell has set its trap by then.
        tokio::time::sleep(PAUSE).await;
        let begun = Instant::now();
        let request = Request::Delete {
            key: key(Resource::PODS, &name),
            options: DeleteOptions::default(),
        };
        session.client().request(request).await?;
        is_gone(watch, &name).await?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

async fn changes(
    session: &Session,
    watch: &mut Watch,
    data_dir: &Path,
) -> anyhow::Result<Vec<Duration>> {
    let readers = count(READERS);
    let settings = |turn: usize| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
            "data": {"turn": turn.to_string()}})
    };
    session.apply(&settings(0)).await?;
    let mut files: Vec<PathBuf> = Vec::new();
    for number in 0..readers {
        let name = format!("reader{number}");
        let mut main = container("main", IDLE);
        main["volumeMounts"] = json!([{"name": "conf", "mountPath": "/conf"}]);
        let spec = json!({"containers": [main],
            "volumes": [{"name": "conf", "configMap": {"name": "settings"}}]});
        let made = session.apply(&pod(&name, spec)).await?;
        let uid = made.to_value()?["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_string();
        until(watch, &name, is_ready).await?;
        let volume = Layout::new(data_dir).pod(&uid).join("volumes/conf/turn");
        files.push(volume);
    }
    let mut times = Vec::new();
    for turn in 1..=count(20) {
        tokio::time::sleep(PAUSE).await;
        let wanted = turn.to_string();
        let begun = Instant::now();
        let object = serde_json::to_vec(&settings(turn))?.into();
        session
            .update(Resource::CONFIG_MAPS, "settings", object)
            .await?;
        let mut open: Vec<&PathBuf> = files.iter().collect();
        while !open.is_empty() {
            open.retain(|file| {
                let is_new = std::fs::read_to_string(file).is_ok_and(|text| text == wanted);
                if is_new {
                    times.push(begun.elapsed());
                }
                !is_new
            });
            tokio::time::sleep(LOOK).await;
        }
    }
    for number in 1..readers {
        session
            .delete(Resource::PODS, &format!("reader{number}"))
            .await?;
    }
    Ok(times)
}

fn execs(daemon: &Daemon) -> Vec<Duration> {
    let one = || {
        let begun = Instant::now();
        daemon.ok(&["exec", "reader0", "--", "true"]);
        begun.elapsed()
    };
    (0..count(100)).map(|_| one()).collect()
}
