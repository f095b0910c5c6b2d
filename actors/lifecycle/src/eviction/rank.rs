//! Which pod goes first, and what it is told: those that use more than they asked for, the less
//! important first, and of those the one that exceeds its request by most.

use super::monitor::Reclaim;
use super::threshold::Signal;
use k8s_openapi::api::core::v1::{Container, Pod};
use kabuki_model::Quantity;
use std::cmp::Reverse;
use std::fmt::Write;

/// Pods of at least this priority belong to the system.
const SYSTEM_CRITICAL: i32 = 2_000_000_000;
/// Pods from a folder of the node, and their images in the API.
const STATIC: [&str; 2] = ["kubernetes.io/config.source", "kubernetes.io/config.mirror"];

/// What one container uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUse {
    /// Its name.
    pub name: String,
    /// Bytes of memory, without what could be dropped at once.
    pub memory: i64,
    /// Bytes on the node's disk: its own files and its log.
    pub disk: i64,
}

/// What a pod uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodUse {
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes on the node's disk, with its volumes and logs.
    pub disk: i64,
    /// Files on the node's disk.
    pub inodes: i64,
    /// Processes.
    pub pids: i64,
    /// Its containers.
    pub containers: Vec<ContainerUse>,
}

/// Whether the node never evicts the pod.
pub fn is_critical(pod: &Pod) -> bool {
    let annotations = pod.metadata.annotations.iter().flatten();
    let mut annotations = annotations.filter(|(_, value)| *value != "api");
    let priority = pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0);
    priority >= SYSTEM_CRITICAL || annotations.any(|(key, _)| STATIC.contains(&key.as_str()))
}

/// The pods that may be evicted for want of `signal`, by their place in `pods`, in the order in
/// which they go.
pub fn rank(signal: Signal, pods: &[(&Pod, PodUse)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pods.len())
        .filter(|i| !is_critical(pods[*i].0))
        .collect();
    order.sort_by_key(|index| {
        let (pod, used) = &pods[*index];
        let priority = pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0);
        let over = match signal {
            Signal::MemoryAvailable => used.memory.saturating_sub(requested(pod, "memory")),
            Signal::NodeFsInodesFree => used.inodes,
            Signal::NodeFsAvailable | Signal::ImageFsAvailable => used
                .disk
                .saturating_sub(requested(pod, "ephemeral-storage")),
            Signal::PidAvailable => used.pids,
        };
        // Numbers of processes and files are not asked for, so nobody exceeds a request.
        let exceeds =
            over > 0 && !matches!(signal, Signal::PidAvailable | Signal::NodeFsInodesFree);
        (Reverse(exceeds), priority, Reverse(over))
    });
    order
}

fn requested(pod: &Pod, resource: &str) -> i64 {
    let containers = pod.spec.iter().flat_map(|s| &s.containers);
    let sum: Quantity = containers.filter_map(|c| request(c, resource)).sum();
    sum.value_ceil()
}

fn request(container: &Container, resource: &str) -> Option<Quantity> {
    let resources = container.resources.as_ref()?;
    let of = |list: &Option<std::collections::BTreeMap<_, _>>| {
        let written: &k8s_openapi::apimachinery::pkg::api::resource::Quantity =
            list.as_ref()?.get(resource)?;
        Quantity::try_from(written).ok()
    };
    of(&resources.requests).or_else(|| of(&resources.limits))
}

/// What the pod's status says.
pub fn message(reclaim: &Reclaim, pod: &Pod, used: &PodUse) -> String {
    let resource = reclaim.observed.signal.resource();
    let amount = |n: i64| match reclaim.observed.signal {
        Signal::NodeFsInodesFree | Signal::PidAvailable => n.to_string(),
        _ => Quantity::from_bytes(n / 1024 * 1024).to_string(),
    };
    let mut text = format!("The node was low on resource: {resource}. ");
    let (threshold, left) = (
        amount(reclaim.threshold),
        amount(reclaim.observed.available),
    );
    // Writing to a text cannot fail.
    let _ = write!(text, "Threshold quantity: {threshold}, available: {left}. ");
    if matches!(resource, "inodes" | "pids") {
        return text;
    }
    for container in pod.spec.iter().flat_map(|s| &s.containers) {
        let Some(found) = used.containers.iter().find(|c| c.name == container.name) else {
            continue;
        };
        let uses = match resource {
            "memory" => found.memory,
            _ => found.disk,
        };
        let asked = request(container, resource).unwrap_or(Quantity::ZERO);
        if uses > asked.value_ceil() {
            let _ = write!(
                text,
                "Container {} was using {}, request is {asked}, has larger consumption of \
                 {resource}. ",
                container.name,
                amount(uses)
            );
        }
    }
    text
}
