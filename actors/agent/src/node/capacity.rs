//! What the machine is and has.

use kabuki_lifecycle::process::NodeResources;
use std::path::Path;

/// The machine as `status.nodeInfo` and `status.capacity` tell it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    pub resources: NodeResources,
    pub machine_id: String,
    pub boot_id: String,
    pub system_uuid: String,
    pub kernel: String,
    pub os_image: String,
    pub architecture: &'static str,
}

impl Machine {
    /// Reads it from the kernel. What cannot be read is empty.
    pub fn read(data_dir: &Path) -> Self {
        let line = |path: &str| {
            std::fs::read_to_string(path)
                .unwrap_or_default()
                .trim()
                .to_string()
        };
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let disk = disk(data_dir);
        Self {
            resources: NodeResources {
                cpu_milli: i64::try_from(cpus).unwrap_or(1).saturating_mul(1000),
                memory: meminfo("MemTotal"),
                ephemeral_storage: disk.map_or(0, |d| d.total_bytes),
            },
            machine_id: line("/etc/machine-id"),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            system_uuid: line("/sys/class/dmi/id/product_uuid"),
            kernel: line("/proc/sys/kernel/osrelease"),
            os_image: os_name(),
            architecture: architecture(),
        }
    }
}

/// A line of `/proc/meminfo`, in bytes.
pub(crate) fn meminfo(name: &str) -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    let kib: i64 = line
        .and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    kib.saturating_mul(1024)
}

/// What a file system has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disk {
    pub total_bytes: i64,
    pub free_bytes: i64,
    pub total_inodes: i64,
    pub free_inodes: i64,
}

/// The file system that `path` is on.
pub(crate) fn disk(path: &Path) -> Option<Disk> {
    let found = rustix::fs::statvfs(path).ok()?;
    let bytes =
        |blocks: u64| i64::try_from(blocks.saturating_mul(found.f_frsize)).unwrap_or(i64::MAX);
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    Some(Disk {
        total_bytes: bytes(found.f_blocks),
        free_bytes: bytes(found.f_bavail),
        total_inodes: count(found.f_files),
        free_inodes: count(found.f_favail),
    })
}

fn os_name() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    name.map(|n| n.trim_matches('"').to_string())
        .unwrap_or_else(|| "Linux".to_string())
}

/// The architecture in Go's words, which labels and images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}
