//! A node's figures in the forms of a kubelet: Prometheus' text (`metrics/resource`,
//! `metrics/cadvisor`) and the summary (`stats/v1alpha1`).

use crate::metrics::Exposition;
use jiff::Timestamp;
use kabuki_protocol::node::{FileSystem, NodeMetrics, Usage};
use serde_json::{Value, json};

/// A metric, whether it only grows, what it counts, and where it comes from.
type Metric = (&'static str, bool, &'static str, fn(&Usage) -> f64);

/// What containers, pods and nodes have alike in `metrics/resource`.
const RESOURCES: [Metric; 2] = [
    (
        "cpu_usage_seconds_total",
        true,
        "Cumulative cpu time consumed, in core-seconds.",
        |used| seconds(used.cpu_ns),
    ),
    (
        "memory_working_set_bytes",
        false,
        "Current working set, in bytes.",
        |used| used.memory_working_set_bytes as f64,
    ),
];
/// What `metrics/cadvisor` has of containers.
const CONTAINERS: [Metric; 5] = [
    (
        "container_cpu_usage_seconds_total",
        true,
        "Cumulative cpu time consumed, in core-seconds.",
        |used| seconds(used.cpu_ns),
    ),
    (
        "container_memory_rss",
        false,
        "Memory that belongs to no file, in bytes.",
        |used| used.memory_rss_bytes as f64,
    ),
    (
        "container_memory_usage_bytes",
        false,
        "Memory, in bytes.",
        |used| used.memory_usage_bytes as f64,
    ),
    (
        "container_memory_working_set_bytes",
        false,
        "Current working set, in bytes.",
        |used| used.memory_working_set_bytes as f64,
    ),
    (
        "container_threads",
        false,
        "Processes and threads.",
        |used| used.pids as f64,
    ),
];
/// What it has of pods: their containers share a network.
const NETWORK: [Metric; 2] = [
    (
        "container_network_receive_bytes_total",
        true,
        "Bytes received.",
        |used| used.received_bytes as f64,
    ),
    (
        "container_network_transmit_bytes_total",
        true,
        "Bytes sent.",
        |used| used.sent_bytes as f64,
    ),
];

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn kind(counter: bool) -> &'static str {
    match counter {
        true => "counter",
        false => "gauge",
    }
}

/// `metrics/resource`
pub(super) fn resource(of: &NodeMetrics) -> String {
    let mut text = Exposition::default();
    for (name, counter, help, get) in RESOURCES {
        let container = format!("container_{name}");
        text.begin(&container, help, kind(counter));
        for pod in &of.pods {
            for own in &pod.containers {
                let labels = [
                    ("container", &*own.name),
                    ("namespace", &*pod.namespace),
                    ("pod", &*pod.name),
                ];
                text.value(&container, &labels, get(&own.usage));
            }
        }
        text.one(&format!("node_{name}"), help, counter, &[], get(&of.usage));
        let whole = format!("pod_{name}");
        text.begin(&whole, help, kind(counter));
        for pod in &of.pods {
            let labels = [("namespace", &*pod.namespace), ("pod", &*pod.name)];
            text.value(&whole, &labels, get(&pod.usage));
        }
    }
    text.into_text()
}

/// `metrics/cadvisor`
pub(super) fn cadvisor(of: &NodeMetrics) -> String {
    let mut text = Exposition::default();
    for (name, counter, help, get) in CONTAINERS {
        text.begin(name, help, kind(counter));
        for pod in &of.pods {
            for own in &pod.containers {
                let labels = [
                    ("container", &*own.name),
                    ("namespace", &*pod.namespace),
                    ("pod", &*pod.name),
                ];
                text.value(name, &labels, get(&own.usage));
            }
        }
    }
    for (name, counter, help, get) in NETWORK {
        text.begin(name, help, kind(counter));
        for pod in &of.pods {
            let labels = [("namespace", &*pod.namespace), ("pod", &*pod.name)];
            text.value(name, &labels, get(&pod.usage));
        }
    }
    text.into_text()
}

/// `metrics`: what the node says of itself, and `metrics/resource`.
pub(super) fn own(of: &NodeMetrics) -> String {
    let mut text = Exposition::default();
    let containers: usize = of.pods.iter().map(|pod| pod.containers.len()).sum();
    let counts = [
        ("kubelet_running_pods", "Pods that run.", of.pods.len()),
        (
            "kubelet_running_containers",
            "Containers that run.",
            containers,
        ),
    ];
    for (name, help, count) in counts {
        text.one(name, help, false, &[], count as f64);
    }
    format!("{}{}", text.into_text(), resource(of))
}

/// `stats/summary`
pub(super) fn summary(of: &NodeMetrics) -> Value {
    let at = Timestamp::from_millisecond(of.at_ms).unwrap_or_default();
    let at = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let pods: Vec<Value> = of
        .pods
        .iter()
        .map(|pod| {
            let containers = pod.containers.iter().map(|own| {
                let mut value = used(&at, &own.usage);
                value["name"] = own.name.as_str().into();
                value
            });
            let mut value = used(&at, &pod.usage);
            value["podRef"] = json!({
                "name": pod.name, "namespace": pod.namespace, "uid": pod.uid,
            });
            value["containers"] = containers.collect();
            value["network"] = network(&at, &pod.usage);
            value["process_stats"] = json!({"process_count": pod.usage.pids});
            value["ephemeral-storage"] = json!({
                "time": at, "usedBytes": pod.disk_bytes, "inodesUsed": pod.disk_inodes,
            });
            value
        })
        .collect();
    let mut node = used(&at, &of.usage);
    node["nodeName"] = of.node.as_str().into();
    node["network"] = network(&at, &of.usage);
    node["fs"] = file_system(&at, &of.file_system);
    node["runtime"] = json!({"imageFs": file_system(&at, &of.image_file_system)});
    json!({"node": node, "pods": pods})
}

fn used(at: &str, usage: &Usage) -> Value {
    json!({
        "cpu": {
            "time": at, "usageNanoCores": usage.cpu_nanocores,
            "usageCoreNanoSeconds": usage.cpu_ns,
        },
        "memory": {
            "time": at, "usageBytes": usage.memory_usage_bytes,
            "workingSetBytes": usage.memory_working_set_bytes,
            "rssBytes": usage.memory_rss_bytes,
        },
    })
}

fn network(at: &str, usage: &Usage) -> Value {
    json!({"time": at, "rxBytes": usage.received_bytes, "txBytes": usage.sent_bytes})
}

fn file_system(at: &str, of: &FileSystem) -> Value {
    json!({
        "time": at, "capacityBytes": of.capacity_bytes, "availableBytes": of.available_bytes,
        "usedBytes": of.capacity_bytes.saturating_sub(of.available_bytes),
        "inodes": of.inodes, "inodesFree": of.inodes_free,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kabuki_protocol::node::{ContainerMetrics, PodMetrics};

    fn node() -> NodeMetrics {
        let usage = Usage {
            cpu_ns: 1_500_000_000,
            memory_working_set_bytes: 20,
            received_bytes: 7,
            ..Usage::default()
        };
        NodeMetrics {
            node: "a".to_string(),
            usage,
            pods: vec![PodMetrics {
                namespace: "shop".to_string(),
                name: "web".to_string(),
                usage,
                containers: vec![ContainerMetrics {
                    name: "main".to_string(),
                    usage,
                }],
                ..PodMetrics::default()
            }],
            ..NodeMetrics::default()
        }
    }

    #[test]
    fn figures_are_named_as_a_kubelet_names_them() {
        let text = resource(&node());
        for line in [
            "node_cpu_usage_seconds_total 1.5",
            "pod_memory_working_set_bytes{namespace=\"shop\",pod=\"web\"} 20",
            "container_cpu_usage_seconds_total{container=\"main\",namespace=\"shop\",pod=\"web\"} 1.5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        let text = cadvisor(&node());
        let line = "container_network_receive_bytes_total{namespace=\"shop\",pod=\"web\"} 7";
        assert!(text.lines().any(|l| l == line), "{text}");
        assert!(own(&node()).contains("\nkubelet_running_pods 1\n"));
        // Every metric is described once.
        for text in [own(&node()), cadvisor(&node())] {
            let mut begun: Vec<&str> = text.lines().filter(|l| l.starts_with("# TYPE")).collect();
            let all = begun.len();
            begun.dedup();
            assert_eq!(begun.len(), all);
        }
    }

    #[test]
    fn the_summary_has_the_node_and_its_pods() {
        let summary = summary(&node());
        assert_eq!(summary["node"]["nodeName"], "a");
        assert_eq!(
            summary["node"]["cpu"]["usageCoreNanoSeconds"],
            1_500_000_000
        );
        assert_eq!(summary["pods"][0]["podRef"]["name"], "web");
        assert_eq!(
            summary["pods"][0]["containers"][0]["memory"]["workingSetBytes"],
            20
        );
    }
}
