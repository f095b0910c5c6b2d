//! `wrk` through a rolling update of real nginx: connections that are kept and connections of one
//! request, through the service's address, its name and a node's port.
//!
//! What the server does when it is to end: its preStop hook leaves a mark, and from then on every
//! answer says `Connection: close`; connections that were kept move to other pods with their next
//! request. After four seconds, when nobody is left, it is told to quit. A server that just closed
//! kept connections could close one on which a request is under way, which no network can mend.

use super::LIMIT;
use kabuki_runtime::image::ImageConfig;
use kabuki_runtime::image::pack::Entry;
use kabuki_tests::harness::{Cluster, Daemon, image_archive, program, until};
use std::process::{Child, Command, Stdio};

const NGINX: &str = r#"
daemon off;
user root;
worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr;
events { worker_connections 512; }
http {
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 100000000;
  client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
  server {
    listen 80;
    error_page 418 = @last;
    location / {
      if (-f /tmp/draining) { return 418; }
      return 200 "kept\n";
    }
    location @last { keepalive_timeout 0; return 200 "last\n"; }
  }
}
"#;

/// A pause of each connection before its next request: steady, and not all that the machine has.
const PACE: &str = "function delay() return 10 end\n";

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
      terminationGracePeriodSeconds: 30
      containers:
      - name: nginx
        image: web
        imagePullPolicy: IfNotPresent
        ports: [{name: http, containerPort: 80}]
        readinessProbe: {periodSeconds: 1, httpGet: {path: /, port: http}}
        lifecycle:
          preStop:
            exec:
              command: [sh, -c, "touch /tmp/draining; sleep 4; /usr/sbin/nginx -e stderr -c /etc/nginx.conf -s quit"]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  clusterIP: 10.96.0.80
  selector: {app: web}
  ports: [{port: 80, targetPort: http, nodePort: 30080}]
"#;

const CLOSE: &str = "Connection: close";
const KEEP: &str = "Connection: keep-alive";

/// The arguments of `wrk` after its script.
fn wrk(script: &str, header: &str, url: &str) -> Vec<String> {
    let fixed = ["-t1", "-c4", "-d3600s", "--timeout", "30s", "-s", script];
    let own = ["-H", header, url];
    fixed.iter().chain(&own).map(ToString::to_string).collect()
}

/// A pod on `node` that loads `url` until its `wrk` is interrupted.
fn load_pod(name: &str, node: &str, header: &str, url: &str) -> String {
    let arguments = wrk("/etc/pace.lua", header, url);
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  nodeName: {node}\n  \
         restartPolicy: Never\n  terminationGracePeriodSeconds: 0\n  containers:\n  - name: wrk\n    \
         image: load\n    imagePullPolicy: IfNotPresent\n    command: {command}\n",
        command = serde_json::json!([&["/usr/bin/wrk".to_string()][..], &arguments].concat())
    )
}

fn images(cluster: &Cluster) {
    let config = |entrypoint: &[&str]| ImageConfig {
        entrypoint: entrypoint.iter().map(ToString::to_string).collect(),
        env: vec!["PATH=/bin:/sbin:/usr/bin:/usr/sbin".to_string()],
        ..ImageConfig::default()
    };
    let dir = cluster.node(1).data_dir();
    let mut web = program("/usr/sbin/nginx");
    web.push(Entry::file("etc/nginx.conf", 0o644, NGINX));
    let nginx = ["/usr/sbin/nginx", "-e", "stderr", "-c", "/etc/nginx.conf"];
    let mut load = program("/usr/bin/wrk");
    load.push(Entry::file("etc/pace.lua", 0o644, PACE));
    let archives = [
        image_archive(dir, "docker.io/library/web:latest", web, config(&nginx)),
        image_archive(
            dir,
            "docker.io/library/load:latest",
            load,
            config(&["/usr/bin/wrk"]),
        ),
    ];
    for archive in &archives {
        let archive = archive.to_str().expect("a path");
        for node in ["n1", "n2", "n3"] {
            cluster
                .node(1)
                .ok(&["image", "load", archive, "--node", node]);
        }
    }
}

/// How many segments the pod's network has received: grows while it is answered.
fn received(node: &Daemon, pod: &str) -> u64 {
    let shown = node.cli(&["exec", pod, "--", "cat", "/proc/net/snmp"]).out;
    let values = shown.lines().filter(|l| l.starts_with("Tcp:")).nth(1);
    let value = values.and_then(|l| l.split_whitespace().nth(10)?.parse().ok());
    value.unwrap_or(0)
}

fn wait_more(node: &Daemon, pods: &[&str], more: u64) {
    for pod in pods {
        let goal = received(node, pod) + more;
        until("the load is answered", LIMIT, || {
            (received(node, pod) >= goal).then_some(())
        });
    }
}

/// A `wrk` on a host, ended when dropped.
struct HostLoad(Option<Child>);

impl HostLoad {
    fn start(node: &Daemon, script: &str, header: &str, url: &str) -> Self {
        let mut command = node.host().command("wrk");
        command.args(wrk(script, header, url));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(command.spawn().expect("wrk is installed")))
    }

    fn stop(mut self) -> String {
        let child = self.0.take().expect("it was started");
        let told = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(told.is_ok_and(|s| s.success()), "wrk ended by itself");
        let output = child.wait_with_output().expect("wrk ends");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for HostLoad {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Not one failed request, as `wrk` tells: it is silent about what did not happen.
fn assert_clean(what: &str, shown: &str) {
    let count = shown.lines().find_map(|line| {
        let (count, _) = line.trim().split_once(" requests in ")?;
        count.parse::<u64>().ok()
    });
    println!("{what}: {} requests", count.unwrap_or(0));
    assert!(count.is_some_and(|c| c > 200), "{what}: {shown}");
    for failure in ["Socket errors", "Non-2xx"] {
        assert!(!shown.contains(failure), "{what}: {shown}");
    }
}

#[test]
fn wrk_loses_no_request_in_a_rolling_update_with_connections_kept_or_not() {
    let cluster = Cluster::start(1, 2);
    images(&cluster);
    let server = cluster.node(1);
    server.apply(WEB);
    super::wait_web(&cluster, 3);
    // With the port: the image has no list of services.
    let (address, name) = (
        "http://10.96.0.80:80/",
        "http://web.default.svc.cluster.local:80/",
    );
    let pods = [
        ("address-kept", "n2", KEEP, address),
        ("address-closed", "n3", CLOSE, address),
        ("name-kept", "n3", KEEP, name),
        ("name-closed", "n2", CLOSE, name),
    ];
    for (pod, node, header, url) in pods {
        server.apply(&load_pod(pod, node, header, url));
        cluster.wait_value(&format!("pod/{pod}"), "{.status.phase}", "Running");
    }
    let script = server.data_dir().join("pace.lua");
    std::fs::write(&script, PACE).expect("a script");
    let script = script.to_str().expect("a path");
    let outside = [
        HostLoad::start(cluster.node(2), script, KEEP, "http://10.77.0.3:30080/"),
        HostLoad::start(cluster.node(3), script, CLOSE, "http://10.77.0.2:30080/"),
    ];
    let names = pods.map(|(pod, ..)| pod);
    wait_more(server, &names, 200);
    let before = server.ok(&["get", "pods", "-l", "app=web", "-o", "name"]);
    server.ok(&["rollout", "restart", "deployment/web"]);
    server.ok(&["rollout", "status", "deployment/web", "--timeout=150s"]);
    until("the old pods are gone", LIMIT, || {
        let gone = |pod: &str| server.cli(&["get", pod]).code != 0;
        before.lines().all(gone).then_some(())
    });
    wait_more(server, &names, 200);
    for pod in names {
        server.ok(&["exec", pod, "--", "kill", "-INT", "1"]);
        cluster.wait_value(&format!("pod/{pod}"), "{.status.phase}", "Succeeded");
        assert_clean(pod, &server.ok(&["logs", pod]));
    }
    for (load, what) in outside.into_iter().zip(["port-kept", "port-closed"]) {
        assert_clean(what, &load.stop());
    }
}
