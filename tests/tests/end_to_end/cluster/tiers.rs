//! An application in two tiers on three nodes, from the programs of Debian's packages: nginx, which
//! hands each request on to a script that asks redis by its name.

use super::LIMIT;
use kabuki_runtime::image::ImageConfig;
use kabuki_runtime::image::pack::Entry;
use kabuki_tests::harness::{Cluster, Daemon, busybox_archive, image_archive, program, until};
use std::path::{Path, PathBuf};

/// In front, as outside clients know it.
const NGINX: &str = r#"
daemon off;
user root;
worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
  server {
    listen 80;
    location / { proxy_pass http://127.0.0.1:8000/cgi-bin/greeting; }
  }
}
"#;

/// Behind it in the same pod: reads the greeting from redis and counts visits there. Redis speaks
/// lines, so that busybox's `nc` is a client.
const SCRIPT: &str = "#!/bin/sh\n\
    answer=$(printf 'GET greeting\\r\\nINCR visits\\r\\nQUIT\\r\\n' | nc -w 5 redis 6379 | tr -d '\\r')\n\
    printf 'Content-Type: text/plain\\r\\n\\r\\n%s\\nserved by %s\\n' \"$answer\" \"$(hostname)\"\n";

const SHOP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: redis}
spec:
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}}
    spec:
      nodeSelector: {kubernetes.io/hostname: n2}
      terminationGracePeriodSeconds: 0
      containers:
      - name: redis
        image: redis
        imagePullPolicy: IfNotPresent
        args: [--save, "", --protected-mode, "no"]
        ports: [{name: redis, containerPort: 6379}]
        readinessProbe: {periodSeconds: 1, tcpSocket: {port: redis}}
---
apiVersion: v1
kind: Service
metadata: {name: redis}
spec:
  selector: {app: redis}
  ports: [{port: 6379, targetPort: redis}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {kubernetes.io/hostname: n3}
      terminationGracePeriodSeconds: 0
      containers:
      - name: nginx
        image: web
        imagePullPolicy: IfNotPresent
        ports: [{name: http, containerPort: 80}]
        readinessProbe: {periodSeconds: 1, httpGet: {path: /, port: http}}
      - name: script
        image: web
        imagePullPolicy: IfNotPresent
        command: [httpd, -f, -p, "127.0.0.1:8000", -h, /srv]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: http, nodePort: 30080}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  nodeName: n1
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "10000"]}
"#;

fn archives(dir: &Path) -> [PathBuf; 3] {
    let config = |entrypoint: &[&str]| ImageConfig {
        entrypoint: entrypoint.iter().map(ToString::to_string).collect(),
        env: vec!["PATH=/bin:/sbin:/usr/bin:/usr/sbin".to_string()],
        ..ImageConfig::default()
    };
    let mut web = program("/usr/sbin/nginx");
    web.push(Entry::file("etc/nginx.conf", 0o644, NGINX));
    web.push(Entry::directory("srv", 0o755));
    web.push(Entry::directory("srv/cgi-bin", 0o755));
    web.push(Entry::file("srv/cgi-bin/greeting", 0o755, SCRIPT));
    let redis = program("/usr/bin/redis-server");
    let nginx = ["/usr/sbin/nginx", "-e", "stderr", "-c", "/etc/nginx.conf"];
    let server = config(&["/usr/bin/redis-server"]);
    [
        image_archive(dir, "docker.io/library/web:latest", web, config(&nginx)),
        image_archive(dir, "docker.io/library/redis:latest", redis, server),
        busybox_archive(dir),
    ]
}

fn exec(node: &Daemon, words: &[&str]) -> String {
    node.ok(&[&["exec", "client", "--"], words].concat())
}

/// What the application says to somebody outside of the cluster, by a node's port.
fn outside(node: &Daemon) -> Option<String> {
    let mut curl = node.host().command("curl");
    let output = curl
        .args(["-s", "-m", "5", "http://10.77.0.2:30080/"])
        .output();
    output
        .ok()
        .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
}

#[test]
fn an_application_in_two_tiers_finds_its_parts_by_name_also_without_the_control_plane() {
    let mut cluster = Cluster::start(1, 2);
    let server = cluster.node(1);
    for archive in archives(server.data_dir()) {
        let archive = archive.to_str().expect("a path");
        for node in ["n1", "n2", "n3"] {
            server.ok(&["image", "load", archive, "--node", node]);
        }
    }
    server.apply(SHOP);
    super::wait_web(&cluster, 2);
    cluster.wait_value("deployment/redis", "{.status.readyReplicas}", "1");
    cluster.wait_value("pod/client", "{.status.phase}", "Running");
    let server = cluster.node(1);
    let address = server.value("service/redis", "{.spec.clusterIP}");
    until("the name is there", LIMIT, || {
        let asked = server.cli(&["exec", "client", "--", "nslookup", "redis"]);
        asked.out.contains(&address).then_some(())
    });
    let set = "printf 'SET greeting hello-from-redis\\r\\nQUIT\\r\\n' | nc -w 5 redis 6379";
    assert!(exec(server, &["sh", "-c", set]).contains("+OK"));
    let said = exec(server, &["wget", "-q", "-O", "-", "http://web/"]);
    assert!(
        said.contains("hello-from-redis") && said.contains("served by web-"),
        "{said}"
    );
    let full = "http://web.default.svc.cluster.local/";
    let said = exec(server, &["wget", "-q", "-O", "-", full]);
    assert!(said.contains("hello-from-redis"), "{said}");
    let said = outside(cluster.node(1)).unwrap_or_default();
    assert!(said.contains("hello-from-redis"), "{said}");
    // No control plane: the name server of n3 still finds redis for the script, and the packet
    // filters still lead there.
    cluster.node_mut(1).kill();
    for _ in 0..3 {
        let said = outside(cluster.node(1)).unwrap_or_default();
        assert!(said.contains("hello-from-redis"), "{said}");
    }
    let mut nslookup = cluster.node(3).host().command("busybox");
    let asked = nslookup
        .args(["nslookup", "redis.default.svc.cluster.local", "10.96.0.10"])
        .output()
        .expect("busybox runs");
    let asked = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.contains(&address), "{asked}");
}
