//! The Node object as JSON.

use super::capacity::Machine;
use super::features::{self, OwnUsers};
use crate::services::Services;
use kabuki_lifecycle::process::NodeResources;
use kabuki_model::Quantity;
use serde_json::{Value, json};

/// Images that the status lists, as kubelet does.
const IMAGES_SHOWN: usize = 50;

/// The object to register: its name, labels, taints and address block.
pub(super) fn node(services: &Services) -> Value {
    let name = &services.config.node_name;
    let machine = Machine::read(&services.layout.data);
    let cidr = services.config.pod_cidr.to_string();
    let mut labels = json!(services.config.labels);
    for (key, value) in [
        ("kubernetes.io/hostname", name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", machine.architecture),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", machine.architecture),
    ] {
        labels[key] = value.into();
    }
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {
            crate::peers::MODE_ANNOTATION: services.config.network_mode.to_string(),
        }},
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr], "taints": services.config.taints},
    })
}

/// The status without its conditions.
pub(super) fn status(services: &Services, machine: &Machine) -> Value {
    let amounts = |resources: &NodeResources| {
        let kibibytes = |n: i64| Quantity::from_bytes(n / 1024 * 1024).to_string();
        let mut amounts = json!({
            "cpu": Quantity::from_milli(resources.cpu_milli).to_string(),
            "memory": kibibytes(resources.memory),
            "ephemeral-storage": kibibytes(resources.ephemeral_storage),
            "pods": services.config.max_pods.to_string(),
        });
        for (name, bytes) in &resources.hugepages {
            amounts[name] = Quantity::from_bytes(*bytes).to_string().into();
        }
        amounts
    };
    let version = format!("kabuki://{}", env!("CARGO_PKG_VERSION"));
    let mut status = json!({
        "capacity": amounts(&services.capacity), "allocatable": amounts(&services.allocatable),
        "addresses": [
            {"type": "InternalIP", "address": services.config.node_ip.to_string()},
            {"type": "Hostname", "address": services.config.node_name},
        ],
        "nodeInfo": {
            "machineID": machine.machine_id, "systemUUID": machine.system_uuid,
            "bootID": machine.boot_id, "kernelVersion": machine.kernel,
            "osImage": machine.os_image, "operatingSystem": "linux",
            "architecture": machine.architecture, "containerRuntimeVersion": version,
            "kubeletVersion": format!("v{}", env!("CARGO_PKG_VERSION")), "kubeProxyVersion": "",
        },
        "images": images(services),
        "runtimeHandlers": features::handlers(&OwnUsers::read()),
        "features": features::features(),
    });
    // Who looks for a node's kubelet (Prometheus, for one) finds the node's one port.
    if let Some(port) = services.config.node_port {
        status["daemonEndpoints"] = json!({"kubeletEndpoint": {"Port": port}});
    }
    status
}

/// The largest images, as the scheduler wants to know them.
fn images(services: &Services) -> Value {
    let mut held = services.images.store().list();
    held.sort_by_key(|image| std::cmp::Reverse(image.size_bytes));
    held.truncate(IMAGES_SHOWN);
    let shown = held.iter().map(|image| {
        let names: Vec<&String> = image.repo_digests.iter().chain(&image.repo_tags).collect();
        json!({"names": names, "sizeBytes": image.size_bytes})
    });
    Value::Array(shown.collect())
}
