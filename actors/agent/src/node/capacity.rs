//! What the machine is and has.

use kabuki_lifecycle::hugepages;
use kabuki_lifecycle::process::NodeResources;
use std::collections::BTreeMap;
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
                hugepages: huge_pages(Path::new("/sys/kernel/mm/hugepages")),
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

/// The huge pages that are set apart, by the name of the resource: also sizes of which there are
/// none.
fn huge_pages(dir: &Path) -> BTreeMap<String, i64> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let kib: i64 = name
            .strip_prefix("hugepages-")?
            .strip_suffix("kB")?
            .parse()
            .ok()?;
        let count = std::fs::read_to_string(entry.path().join("nr_hugepages")).ok()?;
        let count: i64 = count.trim().parse().ok()?;
        let page = kib.checked_mul(1024)?;
        Some((hugepages::resource(page), count.saturating_mul(page)))
    });
    sizes.collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_counted_by_their_size() {
        let dir = tempfile::tempdir().expect("a directory");
        for (size, count) in [("2048kB", "3\n"), ("1048576kB", "0\n")] {
            let size = dir.path().join(format!("hugepages-{size}"));
            std::fs::create_dir(&size).expect("made");
            std::fs::write(size.join("nr_hugepages"), count).expect("written");
        }
        let found = huge_pages(dir.path());
        let expected = [("hugepages-1Gi", 0), ("hugepages-2Mi", 6 << 20)];
        let expected = expected.map(|(name, bytes)| (name.to_string(), bytes));
        assert_eq!(found, BTreeMap::from(expected));
        assert!(huge_pages(&dir.path().join("none")).is_empty());
    }
}
