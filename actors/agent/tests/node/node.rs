//! A node under test: its directory, its tree, and what tests ask of it.

use crate::api::FakeApi;
use kabuki_agent::{AgentConfig, NodeAgent, OpenError, reset};
use kabuki_kit::{Root, Strategy, SupervisorSpec, Tree};
use kabuki_model::Resource;
use kabuki_net::plan::Cidr;
use kabuki_protocol::NodeHandle;
use kabuki_protocol::node::{FromNode, LogRequest, LogStream, NodeRequest, Outcome, PodRef};
use kabuki_runtime::image::pack::{Entry, ImageBuilder};
use kabuki_runtime::image::{ImageConfig, LoadOptions};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(30);
pub const IMAGE: &str = "localhost/demo:v1";

/// The directories of all nodes so far.
static STARTED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

pub struct TestNode {
    pub api: Arc<FakeApi>,
    pub tree: Tree,
    pub agent: NodeAgent,
    pub dir: PathBuf,
    root: Option<Root>,
}

/// Opens a node. The tasks of a predecessor in this process let go of its images a moment after
/// its actors have ended; a daemon's end with its process.
async fn open(config: AgentConfig, tree: &Tree) -> NodeAgent {
    let until = Instant::now() + LIMIT;
    loop {
        match NodeAgent::open(config.clone(), tree).await {
            Ok(agent) => return agent,
            Err(OpenError::Images(_)) if Instant::now() < until => tokio::task::yield_now().await,
            Err(error) => panic!("a node: {error}"),
        }
    }
}

impl TestNode {
    pub async fn start() -> Self {
        Self::start_in(Self::dir(), FakeApi::new()).await
    }

    /// A new directory for a node.
    pub fn dir() -> PathBuf {
        let dir = tempfile::Builder::new()
            .prefix("kabuki-node")
            .tempdir()
            .expect("a directory");
        let dir = dir.keep();
        STARTED
            .lock()
            .expect("no panic while locked")
            .push(dir.clone());
        dir
    }

    /// Removes what failed cases left.
    pub async fn sweep() {
        let started = std::mem::take(&mut *STARTED.lock().expect("no panic while locked"));
        for dir in started.iter().filter(|dir| dir.exists()) {
            if let Err(errors) = reset(dir).await {
                println!("left behind: {errors:?}");
            }
        }
    }

    pub async fn start_in(dir: PathBuf, api: Arc<FakeApi>) -> Self {
        Self::start_with(dir, api, |_| {}).await
    }

    /// Starts a node whose settings are changed before.
    pub async fn start_with(
        dir: PathBuf,
        api: Arc<FakeApi>,
        settle: impl FnOnce(&mut AgentConfig),
    ) -> Self {
        let v4 = |a, b, c, d| IpAddr::V4(Ipv4Addr::new(a, b, c, d));
        let pods = Cidr::containing(v4(10, 244, 7, 0), 24).expect("a block");
        let cluster = Cidr::containing(v4(10, 244, 0, 0), 16).expect("a block");
        let ip = v4(192, 0, 2, 1);
        let mut config = AgentConfig::new("n1", dir.clone(), ip, pods, cluster, api.clone());
        let program = std::env::current_exe().expect("its own path");
        config.shim = Some((program, vec!["shim".into()]));
        // The disk of the machine that runs the tests may be as full as it likes.
        config.eviction.hard.clear();
        settle(&mut config);
        let tree = Tree::new();
        let agent = open(config, &tree).await;
        if agent.images().list().is_empty() {
            let options = LoadOptions::default();
            agent
                .images()
                .load_bytes(image().into(), options)
                .await
                .expect("an image");
        }
        let spec = SupervisorSpec::new(Strategy::OneForOne).child(agent.child());
        let root = Root::start(&tree, "node", spec).await.expect("a tree");
        Self {
            api,
            tree,
            agent,
            dir,
            root: Some(root),
        }
    }

    /// Ends the actors; containers run on.
    pub async fn stop(&mut self) {
        if let Some(root) = self.root.take() {
            root.stop(LIMIT).await.expect("all actors end");
        }
    }

    /// Ends everything and removes it.
    pub async fn remove(mut self) {
        self.stop().await;
        let Self { agent, dir, .. } = self;
        drop(agent);
        reset(&dir).await.expect("all is removed");
        assert!(!dir.exists());
    }

    /// Ends the pods as before the machine goes down.
    pub async fn end_pods(&self) {
        self.agent.end_pods().await;
    }

    pub fn node(&self) -> NodeHandle {
        self.agent.node()
    }

    /// A pod that is bound here, with one container that runs `script`.
    pub fn pod(&self, name: &str, script: &str, more: Value) -> Value {
        let mut container = json!({"name": "main", "image": IMAGE,
            "imagePullPolicy": "IfNotPresent", "command": ["/bin/sh", "-c", script]});
        overlay(&mut container, &more["container"]);
        let mut spec = json!({"nodeName": "n1", "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 5, "containers": [container]});
        overlay(&mut spec, &more["spec"]);
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "generation": 1},
            "spec": spec})
    }

    pub fn run(&self, name: &str, script: &str, more: Value) {
        self.api
            .put(Resource::PODS, "default", self.pod(name, script, more));
    }

    pub fn get(&self, name: &str) -> Option<Value> {
        self.api.get(Resource::PODS, "default", name)
    }

    /// Waits until the pod is as wanted.
    pub async fn until(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut revision = self.api.revision.subscribe();
        let wait = async {
            loop {
                let _ = *revision.borrow_and_update();
                if let Some(pod) = self.get(name)
                    && wanted(&pod)
                {
                    return pod;
                }
                revision.changed().await.expect("the API lives");
            }
        };
        match tokio::time::timeout(LIMIT, wait).await {
            Ok(pod) => pod,
            Err(_) => panic!(
                "{name} is not as wanted: {:#}",
                self.get(name).unwrap_or_default()
            ),
        }
    }

    pub async fn until_running(&self, name: &str) -> Value {
        self.until(name, |pod| {
            pod["status"]["phase"] == "Running" && ready(pod)
        })
        .await
    }

    /// Waits until the node's own object is as wanted.
    pub async fn until_node(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut revision = self.api.revision.subscribe();
        let wait = async {
            loop {
                let _ = *revision.borrow_and_update();
                let node = self.api.get(Resource::NODES, "", "n1");
                if let Some(node) = node.filter(|node| wanted(node)) {
                    return node;
                }
                revision.changed().await.expect("the API lives");
            }
        };
        let node = tokio::time::timeout(LIMIT, wait).await;
        node.unwrap_or_else(|_| {
            panic!(
                "the node is not as wanted: {:#?}",
                self.api.get(Resource::NODES, "", "n1")
            )
        })
    }

    pub async fn until_gone(&self, name: &str) {
        let mut revision = self.api.revision.subscribe();
        let wait = async {
            while self.get(name).is_some() {
                revision.changed().await.expect("the API lives");
            }
        };
        let gone = tokio::time::timeout(LIMIT, wait).await;
        assert!(
            gone.is_ok(),
            "{name} is still there: {:#}",
            self.get(name).unwrap_or_default()
        );
    }

    /// Waits for something that no event tells of.
    pub async fn eventually(&self, what: &str, is: impl Fn() -> bool) {
        let begun = std::time::Instant::now();
        while !is() {
            assert!(begun.elapsed() < LIMIT, "{what} does not come");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn until_event(&self, name: &str, wanted: &str) {
        self.eventually(wanted, || self.events(name).iter().any(|e| e == wanted))
            .await;
    }

    /// Output reaches the log a moment after it was written.
    pub async fn until_log(&self, name: &str, wanted: &str) {
        let begun = std::time::Instant::now();
        let mut log = self.log(name).await;
        while log != wanted {
            assert!(begun.elapsed() < LIMIT, "the log is {log:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
            log = self.log(name).await;
        }
    }

    fn has_actor(&self, name: &str) -> bool {
        let mark = format!("/default_{name}_");
        self.tree.snapshot().iter().any(|a| a.path.contains(&mark))
    }

    pub async fn until_actor(&self, name: &str) {
        self.eventually("the pod's actor", || self.has_actor(name))
            .await;
    }

    pub async fn until_no_actor(&self, name: &str) {
        self.eventually("the end of the pod's actor", || !self.has_actor(name))
            .await;
    }

    /// Deletes a pod that may be gone already.
    pub async fn delete_quietly(&self, name: &str) {
        if self.get(name).is_some() {
            self.delete(name, 0).await;
        }
    }

    /// What tells this node's shims from others'.
    pub fn run_mark(&self) -> String {
        kabuki_agent::Layout::new(&self.dir)
            .run
            .to_string_lossy()
            .into_owned()
    }

    pub async fn delete(&self, name: &str, grace_s: i64) {
        use kabuki_protocol::Api;
        let key = kabuki_model::ObjectKey::new(Resource::PODS, "default", name);
        let options = kabuki_model::request::DeleteOptions {
            grace_period_s: Some(grace_s),
            ..Default::default()
        };
        let request = kabuki_model::request::Request::Delete { key, options };
        self.api.request(request).await.expect("deleted");
    }

    /// The messages of the events about a pod.
    pub fn events(&self, name: &str) -> Vec<String> {
        let all = self.api.all(Resource::EVENTS);
        let of = all.iter().filter(|e| e["involvedObject"]["name"] == name);
        of.map(|e| {
            let text = |field: &str| e[field].as_str().unwrap_or_default().to_string();
            format!("{}: {}", text("reason"), text("message"))
        })
        .collect()
    }

    /// The whole output of a stream and how it ended.
    pub async fn stream(&self, request: NodeRequest) -> (String, Result<Outcome, String>) {
        let opened = self.node().open(request).await;
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(error) => return (String::new(), Err(error.message)),
        };
        let mut text = Vec::new();
        let read = async {
            while let Some(chunk) = stream.output.recv().await {
                match chunk {
                    FromNode::Output(bytes) | FromNode::Error(bytes) => text.extend(bytes),
                    FromNode::Done(outcome) => return outcome.map_err(|e| e.message),
                    _ => {}
                }
            }
            Err("it ended without an outcome".to_string())
        };
        let outcome = tokio::time::timeout(LIMIT, read).await.expect("it ends");
        (String::from_utf8_lossy(&text).into_owned(), outcome)
    }

    pub async fn log(&self, name: &str) -> String {
        self.stream(NodeRequest::Logs(log_of(name))).await.0
    }
}

pub fn pod_ref(name: &str) -> PodRef {
    PodRef {
        namespace: "default".to_string(),
        name: name.to_string(),
    }
}

pub fn log_of(name: &str) -> LogRequest {
    LogRequest {
        pod: pod_ref(name),
        container: String::new(),
        follow: false,
        previous: false,
        tail_lines: None,
        since_ns: None,
        timestamps: false,
        limit_bytes: None,
        stream: LogStream::All,
    }
}

pub fn ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn overlay(target: &mut Value, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        target[name.as_str()] = value.clone();
    }
}

/// An image with nothing but busybox.
fn image() -> Vec<u8> {
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let mut entries = vec![
        Entry::directory("bin", 0o755),
        Entry::directory("etc", 0o755),
        Entry::directory("tmp", 0o1777),
        Entry::file("bin/busybox", 0o755, busybox),
        Entry::file(
            "etc/passwd",
            0o644,
            &b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home:/bin/sh\n"[..],
        ),
        Entry::file("etc/group", 0o644, &b"root:x:0:\napp:x:1000:\n"[..]),
    ];
    for applet in [
        "sh", "sleep", "cat", "echo", "id", "ls", "wc", "nc", "stat", "env", "touch", "kill",
    ] {
        entries.push(Entry::symlink(&format!("bin/{applet}"), "busybox"));
    }
    let config = ImageConfig {
        env: vec!["PATH=/bin".to_string(), "FROM_IMAGE=yes".to_string()],
        cmd: vec!["/bin/sleep".to_string(), "1000".to_string()],
        ..ImageConfig::default()
    };
    let mut archive = Vec::new();
    ImageBuilder::new(config)
        .layer(entries)
        .write(&[IMAGE], &mut archive)
        .expect("an archive");
    archive
}
