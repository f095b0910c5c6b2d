//! Unmodified Prometheus: its Kubernetes discovery finds what there is by a service account's
//! token, follows what changes, and scrapes the node and pods.

use kabuki_tests::harness::{Cluster, Daemon, Ended, address, busybox_archive, prometheus, until};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// How long anything may take that is not under test itself.
const LIMIT: Duration = Duration::from_secs(90);
const LISTEN: &str = "127.0.0.1:9090";

const SHOP: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: shop, labels: {app: shop}}
spec:
  selector: {app: shop}
  ports: [{name: metrics, port: 80, targetPort: 8080}]
"#;

fn shop_pod(name: &str, orders: u32) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: shop}}, annotations: {{prometheus.io/scrape: "true"}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: shop
    image: busybox
    imagePullPolicy: IfNotPresent
    command:
    - sh
    - -c
    - mkdir /www && echo shop_orders_total {orders} >/www/metrics && exec httpd -f -p 8080 -h /www
    ports: [{{name: metrics, containerPort: 8080}}]
"#
    )
}

/// Prometheus' configuration: a job for each role, named as the role. The node and the control
/// plane speak TLS and want the token.
const CONFIG: &str = r#"
global: {scrape_interval: 2s, scrape_timeout: 2s}
scrape_configs:
- job_name: node
  scheme: https
  tls_config: {ca_file: DIR/ca.crt}
  authorization: {credentials_file: DIR/token}
  kubernetes_sd_configs: [{role: node, kubeconfig_file: DIR/kubeconfig}]
- job_name: pod
  kubernetes_sd_configs:
  - {role: pod, kubeconfig_file: DIR/kubeconfig, attach_metadata: {node: true}}
  relabel_configs:
  - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: "true", action: keep}
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
- job_name: service
  kubernetes_sd_configs: [{role: service, kubeconfig_file: DIR/kubeconfig}]
  relabel_configs:
  - {source_labels: [__meta_kubernetes_service_label_app], regex: shop, action: keep}
  - {source_labels: [__meta_kubernetes_service_cluster_ip], replacement: "$1:80", target_label: __address__}
- job_name: endpoints
  tls_config: {ca_file: DIR/ca.crt}
  authorization: {credentials_file: DIR/token}
  kubernetes_sd_configs: [{role: endpoints, kubeconfig_file: DIR/kubeconfig}]
  relabel_configs:
  - {source_labels: [__meta_kubernetes_service_name], regex: kubernetes|shop, action: keep}
  - {source_labels: [__meta_kubernetes_endpoint_port_name], regex: https, replacement: https, target_label: __scheme__}
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
- job_name: endpointslice
  tls_config: {ca_file: DIR/ca.crt}
  authorization: {credentials_file: DIR/token}
  kubernetes_sd_configs: [{role: endpointslice, kubeconfig_file: DIR/kubeconfig}]
  relabel_configs:
  - {source_labels: [__meta_kubernetes_endpointslice_name], regex: kubernetes|shop-.*, action: keep}
  - {source_labels: [__meta_kubernetes_endpointslice_port_name], regex: https, replacement: https, target_label: __scheme__}
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
"#;

/// A kubeconfig of the service account `prometheus`, and what its scrapes need, in `dir`.
fn credentials(node: &Daemon, dir: &Path) {
    node.ok(&["create", "serviceaccount", "prometheus"]);
    let token = node.ok(&["create", "token", "prometheus"]);
    let token = token.trim();
    let admin = node.data_dir().join("admin.kubeconfig");
    let mut config: Value =
        serde_yaml_ng::from_str(&std::fs::read_to_string(admin).expect("reads")).expect("YAML");
    config["users"][0]["user"] = serde_json::json!({"token": token});
    let authority = &config["clusters"][0]["cluster"]["certificate-authority-data"];
    let authority = authority.as_str().expect("a certificate");
    let engine = base64::engine::general_purpose::STANDARD;
    let authority = base64::Engine::decode(&engine, authority).expect("base64");
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).expect("writes");
    write("kubeconfig", config.to_string().as_bytes());
    write("token", token.as_bytes());
    write("ca.crt", &authority);
    let config = CONFIG
        .trim_start()
        .replace("DIR", dir.to_str().expect("a path"));
    write("prometheus.yaml", config.as_bytes());
}

fn start(node: &Daemon, dir: &Path) -> Ended {
    let log = std::fs::File::create(dir.join("prometheus.log")).expect("a log");
    let mut command = node.host().command(prometheus());
    command
        .arg(format!(
            "--config.file={}",
            dir.join("prometheus.yaml").display()
        ))
        .arg(format!(
            "--storage.tsdb.path={}",
            dir.join("series").display()
        ))
        .arg(format!("--web.listen-address={LISTEN}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    Ended(command.spawn().expect("prometheus is installed"))
}

/// What Prometheus' own API answers; null as long as it does not.
fn ask(node: &Daemon, path: &str) -> Value {
    let url = format!("http://{LISTEN}/api/v1/{path}");
    let output = node.host().command("curl").args(["-sg", &url]).output();
    let answer: Value =
        serde_json::from_slice(&output.expect("curl runs").stdout).unwrap_or_default();
    answer["data"].clone()
}

/// The targets of a job that are up: the URL of each, and the labels that were discovered.
fn up(node: &Daemon, job: &str) -> Vec<(String, Value)> {
    let answer = ask(node, "targets?state=active");
    let targets = answer["activeTargets"].as_array().cloned();
    let mine = targets.into_iter().flatten().filter(|t| {
        t["scrapePool"] == job && t["health"] == "up" && t["lastError"].as_str() == Some("")
    });
    mine.map(|t| {
        let url = t["scrapeUrl"].as_str().unwrap_or_default().to_string();
        (url, t["discoveredLabels"].clone())
    })
    .collect()
}

/// Waits until a job has exactly these targets, all of them up.
fn wait_up(node: &Daemon, dir: &Path, job: &str, wanted: &[String]) -> Vec<Value> {
    let mut wanted = wanted.to_vec();
    wanted.sort();
    let mut last = Value::Null;
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("the targets are up", LIMIT, || {
            let mut have = up(node, job);
            have.sort_by(|a, b| a.0.cmp(&b.0));
            last = ask(node, "targets?state=active");
            let urls: Vec<&String> = have.iter().map(|(url, _)| url).collect();
            (urls == wanted.iter().collect::<Vec<_>>())
                .then(|| have.into_iter().map(|(_, labels)| labels).collect())
        })
    }));
    seen.unwrap_or_else(|_| {
        let log = std::fs::read_to_string(dir.join("prometheus.log")).unwrap_or_default();
        panic!("{job}: wanted {wanted:?}, but: {last:#}\n{log}")
    })
}

/// The values that a query finds, sorted.
fn query(node: &Daemon, text: &str) -> Vec<String> {
    let answer = ask(node, &format!("query?query={text}"));
    let found = answer["result"].as_array().cloned().unwrap_or_default();
    let value = |v: &Value| v["value"][1].as_str().unwrap_or_default().to_string();
    let mut values: Vec<String> = found.iter().map(value).collect();
    values.sort();
    values
}

#[test]
fn prometheus_finds_and_scrapes_nodes_pods_services_and_endpoints() {
    let cluster = Cluster::found();
    let node = cluster.node(1);
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    node.apply(SHOP);
    node.apply(&shop_pod("one", 40));
    node.ok(&["wait", "--for=condition=Ready", "pod/one", "--timeout=60s"]);
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    credentials(node, dir);
    let _prometheus = start(node, dir);

    let own = format!("https://{}:6443/metrics", address(1));
    let pod = |name: &str| {
        let ip = node.value(&format!("pod/{name}"), "{.status.podIP}");
        format!("http://{ip}:8080/metrics")
    };
    let nodes = wait_up(node, dir, "node", std::slice::from_ref(&own));
    assert_eq!(nodes[0]["__meta_kubernetes_node_name"], "n1");
    let pods = wait_up(node, dir, "pod", &[pod("one")]);
    assert_eq!(pods[0]["__meta_kubernetes_pod_ready"], "true");
    assert_eq!(
        pods[0]["__meta_kubernetes_node_label_kubernetes_io_os"],
        "linux"
    );
    let service = node.value("service/shop", "{.spec.clusterIP}");
    let service = format!("http://{service}:80/metrics");
    wait_up(node, dir, "service", std::slice::from_ref(&service));
    for role in ["endpoints", "endpointslice"] {
        let found = wait_up(node, dir, role, &[pod("one"), own.clone()]);
        let of_pod = found
            .iter()
            .find(|l| l["__meta_kubernetes_pod_name"] == "one");
        let of_pod = of_pod.unwrap_or_else(|| panic!("{role}: {found:#?}"));
        assert_eq!(of_pod["__meta_kubernetes_pod_node_name"], "n1", "{role}");
    }

    // What comes and goes is heard of.
    node.apply(&shop_pod("two", 2));
    node.ok(&["wait", "--for=condition=Ready", "pod/two", "--timeout=60s"]);
    for role in ["endpoints", "endpointslice"] {
        wait_up(node, dir, role, &[pod("one"), pod("two"), own.clone()]);
    }
    wait_up(node, dir, "pod", &[pod("one"), pod("two")]);
    assert_eq!(query(node, "sum(shop_orders_total{job=\"pod\"})"), ["42"]);
    let requests = "sum(apiserver_request_total{job=\"node\",resource=\"pods\"})>0";
    let counted = query(node, requests);
    assert_eq!(counted.len(), 1, "{counted:?}");
    node.ok(&["delete", "pod", "one"]);
    wait_up(node, dir, "pod", &[pod("two")]);
    wait_up(node, dir, "endpointslice", &[pod("two"), own.clone()]);
}
