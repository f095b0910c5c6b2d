//! Services and names across nodes: during a rolling update, and without any server.

use super::{LIMIT, wait_web};
use kabuki_net::Netns;
use kabuki_tests::harness::{Cluster, Daemon, until};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The demonstration behind a service. A pod that ends goes on for a while: long enough for every
/// node to have heard of it.
const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - name: web
        image: kabuki.local/demo:v1
        imagePullPolicy: Never
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {periodSeconds: 1, httpGet: {path: /, port: http}}
        lifecycle: {preStop: {sleep: {seconds: 2}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: http, nodePort: 30080}]
"#;

/// Connections one after the other, with one request each, until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<String>>,
}

impl Load {
    fn start(node: &Daemon, to: &str) -> Self {
        let netns = PathBuf::from(format!("/run/netns/{}", node.host().name()));
        let to: SocketAddr = to.parse().expect("an address");
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (told, count) = (stop.clone(), done.clone());
        let thread = std::thread::spawn(move || {
            let netns = Netns::open(netns).expect("the host's namespace");
            let asking = netns.run_blocking(move || ask_until(to, &told, &count));
            asking.expect("the namespace is entered")
        });
        Self { stop, done, thread }
    }

    fn wait_more(&self, count: usize) {
        let goal = self.done.load(Ordering::Relaxed) + count;
        until("requests are answered", LIMIT, || {
            (self.done.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }

    /// Ends it: how many were answered, and what was said of those that were not.
    fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.thread.join().expect("the load ends");
        (self.done.load(Ordering::Relaxed), failed)
    }
}

/// Asks until told to stop; gives what went wrong.
fn ask_until(to: SocketAddr, stop: &AtomicBool, done: &AtomicUsize) -> Vec<String> {
    let mut failed = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match ask(to) {
            Ok(_) => {
                done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => failed.push(format!("{to}: {error}")),
        }
    }
    failed
}

/// One request over a connection of its own; gives the name of the pod that answered.
fn ask(to: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let pod = text.split("pod ").nth(1).and_then(|t| t.split(',').next());
    pod.map(str::to_string)
        .ok_or_else(|| std::io::Error::other(format!("not an answer: {text:?}")))
}

/// What `curl` prints of an address, asked on this node's host.
fn fetched(node: &Daemon, url: &str) -> Option<String> {
    let mut curl = node.host().command("curl");
    let output = curl.args(["-s", "-m", "2", url]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success() && text.contains("pod web-")).then_some(text)
}

/// Whether this node's own name server says so.
fn resolves(node: &Daemon, name: &str, address: &str) -> bool {
    let mut nslookup = node.host().command("busybox");
    let output = nslookup.args(["nslookup", name, "10.96.0.10"]).output();
    output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains(address))
}

#[test]
fn a_rolling_update_loses_no_request() {
    let cluster = Cluster::start(1, 2);
    cluster.node(1).apply(WEB);
    wait_web(&cluster, 3);
    let address = cluster.node(1).value("service/web", "{.spec.clusterIP}");
    for node in &cluster.nodes {
        let url = format!("http://{address}/");
        until("every node routes the service", LIMIT, || {
            fetched(node, &url).map(|_| ())
        });
    }
    let loads = [
        Load::start(cluster.node(1), &format!("{address}:80")),
        Load::start(cluster.node(3), &format!("{address}:80")),
        Load::start(cluster.node(2), "10.77.0.3:30080"),
    ];
    loads.iter().for_each(|l| l.wait_more(50));
    let before = cluster.node(1).ok(&["get", "pods", "-o", "name"]);
    cluster
        .node(1)
        .ok(&["rollout", "restart", "deployment/web"]);
    cluster
        .node(1)
        .ok(&["rollout", "status", "deployment/web", "--timeout=90s"]);
    let gone = |pod: &str| cluster.node(1).cli(&["get", pod]).code != 0;
    until("the old pods are gone", LIMIT, || {
        before.lines().all(gone).then_some(())
    });
    loads.iter().for_each(|l| l.wait_more(50));
    for load in loads {
        let (done, failed) = load.stop();
        assert!(done > 100);
        assert!(failed.is_empty(), "{done} answered, but {failed:?}");
    }
}

#[test]
fn services_and_names_go_on_without_any_server() {
    let mut cluster = Cluster::start(1, 2);
    cluster.node(1).apply(WEB);
    wait_web(&cluster, 3);
    let address = cluster.node(1).value("service/web", "{.spec.clusterIP}");
    let name = "web.default.svc.cluster.local";
    let url = format!("http://{address}/");
    for worker in [2, 3] {
        until("the worker knows the service", LIMIT, || {
            let node = cluster.node(worker);
            (resolves(node, name, &address) && fetched(node, &url).is_some()).then_some(())
        });
    }
    cluster.node_mut(1).kill();
    for worker in [2, 3] {
        assert!(resolves(cluster.node(worker), name, &address));
        let mut seen = BTreeSet::new();
        until("the worker reaches more than one pod", LIMIT, || {
            let text = fetched(cluster.node(worker), &url)?;
            seen.insert(text.split(',').next().map(str::to_string));
            (seen.len() > 1).then_some(())
        });
    }
    // Not even the worker's own daemon is needed for what the kernel does.
    cluster.node_mut(2).kill();
    assert!(fetched(cluster.node(2), &url).is_some());
    cluster.node_mut(2).launch();
    cluster.node_mut(1).launch();
    cluster.node_mut(1).wait_answering();
    cluster.wait_ready();
}
