//! Clusters of several nodes: joining, failover, partitions, replacement.

#[path = "cluster/alone.rs"]
mod alone;
#[path = "cluster/certificates.rs"]
mod certificates;
#[path = "cluster/failover.rs"]
mod failover;
#[path = "cluster/joining.rs"]
mod joining;
#[path = "cluster/load.rs"]
mod load;
#[path = "cluster/network.rs"]
mod network;
#[path = "cluster/partition.rs"]
mod partition;
#[path = "cluster/recovery.rs"]
mod recovery;
#[path = "cluster/replacement.rs"]
mod replacement;
#[path = "cluster/services.rs"]
mod services;
#[path = "cluster/storm.rs"]
mod storm;
#[path = "cluster/tiers.rs"]
mod tiers;

use kabuki_model::Resource;
use kabuki_net::{Netns, dial};
use kabuki_tests::harness::{Cluster, Daemon, Session, until};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a cluster may take to heal.
const LIMIT: Duration = Duration::from_secs(60);

/// A deployment of the demonstration, which every node has, spread over the nodes.
fn web(replicas: usize) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: \
         {replicas}\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: \
         {{labels: {{app: web}}}}\n    spec:\n      terminationGracePeriodSeconds: 0\n      \
         containers:\n      - name: web\n        image: kabuki.local/demo:v1\n        \
         imagePullPolicy: Never\n"
    )
}

/// Name, node, container id and restarts of each pod of the deployment.
fn pods(cluster: &Cluster, at: usize) -> BTreeMap<String, (String, String, String)> {
    let path = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName} \
                {.status.containerStatuses[0].containerID} \
                {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    let shown = cluster
        .node(at)
        .ok(&["get", "pods", "-l", "app=web", "-o", path]);
    let rows = shown.lines().filter_map(|line| {
        let mut words = line.split_whitespace().map(str::to_string);
        let name = words.next()?;
        Some((name, (words.next()?, words.next()?, words.next()?)))
    });
    rows.collect()
}

fn wait_web(cluster: &Cluster, replicas: usize) {
    cluster.wait_value(
        "deployment/web",
        "{.status.readyReplicas}",
        &replicas.to_string(),
    );
}

/// Creates one ConfigMap after the other through the servers that answer, until told to stop.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Vec<String>>>,
}

impl Writer {
    /// Writes through these nodes of the cluster, which must be servers.
    fn start(cluster: &Cluster, through: &[usize], prefix: &'static str) -> Self {
        let (stop, written) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let places: Vec<(PathBuf, PathBuf)> = through
            .iter()
            .map(|number| {
                let node: &Daemon = cluster.node(*number);
                let netns = format!("/run/netns/{}", node.host().name());
                (netns.into(), node.data_dir().to_path_buf())
            })
            .collect();
        let (told, count) = (stop.clone(), written.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime
                .expect("a runtime")
                .block_on(write(places, prefix, &told, &count))
        });
        Self {
            stop,
            written,
            thread: Some(thread),
        }
    }

    /// Waits until so many more writes were acknowledged.
    fn wait_more(&self, count: usize, cluster: &Cluster) {
        let goal = self.written.load(Ordering::Relaxed) + count;
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until("writes are acknowledged", LIMIT, || {
                (self.written.load(Ordering::Relaxed) >= goal).then_some(())
            });
        }));
        if seen.is_err() {
            panic!("no more writes are acknowledged\n{}", cluster.logs());
        }
    }

    /// Ends it; gives the names of what was acknowledged.
    fn stop(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it was started");
        thread.join().expect("the writer ends")
    }
}

async fn write(
    places: Vec<(PathBuf, PathBuf)>,
    prefix: &str,
    stop: &AtomicBool,
    written: &AtomicUsize,
) -> Vec<String> {
    let address = "127.0.0.1:6443".parse().expect("an address");
    let (mut acknowledged, mut number) = (Vec::new(), 0);
    for (netns, data) in places.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let netns = Netns::open(netns).expect("the host's namespace");
        let Ok(stream) = dial(&netns, address, Duration::from_secs(1)).await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let stream = stream.into_std().expect("a socket of the standard library");
        let Ok(session) = Session::over(stream, data).await else {
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let name = format!("{prefix}-{number}");
            number += 1;
            let object = json!({"metadata": {"name": name}, "data": {"n": "x".repeat(200)}});
            let created = session.create(Resource::CONFIG_MAPS, &object);
            match tokio::time::timeout(Duration::from_secs(3), created).await {
                Ok(Ok(_)) => {
                    written.fetch_add(1, Ordering::Relaxed);
                    acknowledged.push(name);
                }
                // Refused, or nothing is known of it: through another server.
                _ => break,
            }
        }
    }
    acknowledged
}

/// Every acknowledged write is there, as each of these servers tells.
fn assert_kept(cluster: &Cluster, acknowledged: &[String], at: &[usize]) {
    assert!(!acknowledged.is_empty(), "nothing was written");
    for number in at {
        let shown = cluster
            .node(*number)
            .ok(&["get", "configmaps", "-o", "name"]);
        let there: std::collections::HashSet<&str> = shown
            .lines()
            .filter_map(|line| line.strip_prefix("configmap/"))
            .collect();
        let lost: Vec<&String> = acknowledged
            .iter()
            .filter(|name| !there.contains(name.as_str()))
            .collect();
        assert!(
            lost.is_empty(),
            "n{number} lost {} of {} acknowledged writes: {lost:?}\n{}",
            lost.len(),
            acknowledged.len(),
            cluster.logs()
        );
    }
}
