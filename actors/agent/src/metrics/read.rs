//! Reading the figures from the kernel. What is not there counts as nothing. All of it blocks.

use crate::node::{disk, meminfo};
use crate::services::{PodEntry, Services};
use kabuki_lifecycle::resources::{cgroup_parent, qos_class};
use kabuki_protocol::node::{ContainerMetrics, FileSystem, NodeMetrics, PodMetrics, Usage};
use kabuki_runtime::CgroupStats;
use kabuki_runtime::image::disk_usage;
use std::collections::HashMap;
use std::path::Path;

/// The unit of `/proc/stat`: user-visible, and the same on every Linux.
const TICKS_PER_S: u64 = 100;

/// What was read, and the cgroups of the pods in the same order.
pub(super) struct Reading {
    pub node: NodeMetrics,
    pub paths: Vec<Paths>,
}

/// The cgroups of a pod and of its containers.
pub(super) struct Paths {
    pub pod: String,
    pub containers: Vec<String>,
}

pub(super) fn all(services: &Services) -> Reading {
    let mut node = NodeMetrics {
        node: services.config.node_name.clone(),
        at_ms: jiff::Timestamp::now().as_millisecond(),
        usage: of_node(),
        cpu_milli: services.allocatable.cpu_milli,
        memory_bytes: services.allocatable.memory,
        file_system: file_system(&services.layout.data),
        image_file_system: file_system(&services.layout.images()),
        pods: Vec::new(),
    };
    let mut paths = Vec::new();
    for entry in services.pods.all() {
        let (pod, at) = of_pod(services, &entry);
        if services.cgroups.exists(&at.pod) {
            node.pods.push(pod);
            paths.push(at);
        }
    }
    Reading { node, paths }
}

fn of_pod(services: &Services, entry: &PodEntry) -> (PodMetrics, Paths) {
    let pod = entry.pod();
    let parent = cgroup_parent(&services.layout.cgroup, qos_class(&pod));
    let path = format!("{parent}/pod{}", entry.uid);
    let mut usage = usage(&services.cgroups.stats(&path));
    let own_network = pod
        .spec
        .as_ref()
        .is_none_or(|s| s.host_network != Some(true));
    if let Some(shim) = entry.shim().filter(|_| own_network) {
        let table = std::fs::read_to_string(format!("/proc/{}/net/dev", shim.pid()));
        let traffic = table.map(|t| traffic(&t, |name| name == "eth0"));
        (usage.received_bytes, usage.sent_bytes) = traffic.unwrap_or_default();
    }
    let mut found = Vec::new();
    if let Some(dir) = services.cgroups.dir("memory", &path) {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        for below in entries {
            // A container's cgroup is named by its instance: NAME.ATTEMPT
            let name = below.file_name().to_string_lossy().into_owned();
            let is_instance = name
                .rsplit_once('.')
                .is_some_and(|(_, n)| n.bytes().all(|b| b.is_ascii_digit()));
            if is_instance && below.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.push(name);
            }
        }
    }
    found.sort();
    let (mut containers, mut paths) = (Vec::new(), Vec::new());
    for instance in found {
        let path = format!("{path}/{instance}");
        let name = instance.rsplit_once('.').map_or(&*instance, |(n, _)| n);
        containers.push(ContainerMetrics {
            name: name.to_string(),
            usage: self::usage(&services.cgroups.stats(&path)),
        });
        paths.push(path);
    }
    let metrics = PodMetrics {
        namespace: entry.namespace.clone(),
        name: entry.name.clone(),
        uid: entry.uid.clone(),
        usage,
        containers,
        ..PodMetrics::default()
    };
    let paths = Paths {
        pod: path,
        containers: paths,
    };
    (metrics, paths)
}

fn usage(stats: &CgroupStats) -> Usage {
    Usage {
        cpu_ns: stats.cpu_usage_ns,
        memory_working_set_bytes: stats.memory_working_set_bytes,
        memory_usage_bytes: stats.memory_usage_bytes,
        memory_rss_bytes: stats.memory_rss_bytes,
        pids: stats.pids,
        ..Usage::default()
    }
}

fn of_node() -> Usage {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let bytes = |name: &str| u64::try_from(meminfo(name)).unwrap_or(0);
    let used = |free: &str| bytes("MemTotal").saturating_sub(bytes(free));
    let is_real = |name: &str| {
        let inner = ["lo", "kb-", "kv-", "veth", "kp"];
        !inner.iter().any(|prefix| name.starts_with(prefix))
    };
    let (received, sent) = traffic(&text("/proc/net/dev"), is_real);
    Usage {
        cpu_ns: busy_ns(&text("/proc/stat")),
        memory_working_set_bytes: used("MemAvailable"),
        memory_usage_bytes: used("MemFree"),
        memory_rss_bytes: bytes("AnonPages"),
        received_bytes: received,
        sent_bytes: sent,
        ..Usage::default()
    }
}

/// The time that all processors were busy: all but idle and waiting for disks.
fn busy_ns(stat: &str) -> u64 {
    let line = stat.lines().find_map(|l| l.strip_prefix("cpu "));
    let fields: Vec<u64> = line
        .into_iter()
        .flat_map(str::split_whitespace)
        .filter_map(|f| f.parse().ok())
        .collect();
    // user, nice, system, (idle, iowait,) irq, softirq, steal
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|i| fields.get(*i));
    busy.sum::<u64>() * (1_000_000_000 / TICKS_PER_S)
}

/// Bytes received and sent by the interfaces of a `/proc/net/dev` that are meant.
fn traffic(table: &str, is_meant: impl Fn(&str) -> bool) -> (u64, u64) {
    let lines = table.lines().filter_map(|l| l.split_once(':'));
    let meant = lines.filter(|(name, _)| is_meant(name.trim()));
    meant.fold((0, 0), |(received, sent), (_, figures)| {
        let figures: Vec<u64> = figures
            .split_whitespace()
            .filter_map(|f| f.parse().ok())
            .collect();
        let figure = |i: usize| figures.get(i).copied().unwrap_or(0);
        (received + figure(0), sent + figure(8))
    })
}

fn file_system(path: &Path) -> FileSystem {
    let positive = |n: i64| u64::try_from(n).unwrap_or(0);
    disk(path).map_or_else(FileSystem::default, |found| FileSystem {
        capacity_bytes: positive(found.total_bytes),
        available_bytes: positive(found.free_bytes),
        inodes: positive(found.total_inodes),
        inodes_free: positive(found.free_inodes),
    })
}

/// What the pods' files take on disk, by uid: their writable layers, volumes and logs.
pub(super) fn files(services: &Services) -> HashMap<String, (u64, u64)> {
    let entries = services.pods.all();
    let counted = entries.iter().map(|entry| {
        let dirs = [
            services.layout.pod(&entry.uid),
            services.layout.pod_logs().join(entry.log_dir()),
        ];
        let used = dirs.iter().filter_map(|dir| disk_usage(dir).ok());
        let sum = used.fold((0, 0), |sum, u| (sum.0 + u.bytes, sum.1 + u.inodes));
        (entry.uid.clone(), sum)
    });
    counted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_the_kernels_tables() {
        let stat = "cpu  10 1 4 100 50 2 3 0 0 0\ncpu0 1 1 1 1\nintr 5\n";
        assert_eq!(busy_ns(stat), 200_000_000);
        assert_eq!(busy_ns(""), 0);
        let table = "Inter-|   Receive  |  Transmit\n face |bytes packets\n    lo:  7 1 0 0 0 0 0 0 7 1\n  \
            eth0: 1000 2 0 0 0 0 0 0 300 4 0 0 0 0 0 0\n";
        assert_eq!(traffic(table, |name| name == "eth0"), (1000, 300));
        assert_eq!(traffic("", |_| true), (0, 0));
    }
}
