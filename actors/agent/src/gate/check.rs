//! What the host offers and what each lack costs: `kabuki check`.

use super::stream;
use crate::node::OwnUsers;
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::{FromNode, HostCheck, Outcome};
use kabuki_runtime::Cgroups;
use std::path::{Path, PathBuf};

/// Capabilities without which containers cannot be run, by their bits (`capability.h`).
const NEEDED: &[(&str, u32)] = &[
    ("CAP_CHOWN", 0),
    ("CAP_DAC_OVERRIDE", 1),
    ("CAP_FOWNER", 3),
    ("CAP_KILL", 5),
    ("CAP_SETGID", 6),
    ("CAP_SETUID", 7),
    ("CAP_SETPCAP", 8),
    ("CAP_NET_ADMIN", 12),
    ("CAP_SYS_CHROOT", 18),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_MKNOD", 27),
];
const SYS_RESOURCE: u32 = 24;
/// Each pod takes a few descriptors; fewer than this is not enough for a full node.
const FILES_WANTED: u64 = 65_536;

/// As a stream.
pub(super) fn open(data_dir: &Path) -> NodeStream {
    let (caller, ends) = stream();
    let data_dir = data_dir.to_path_buf();
    tokio::spawn(async move {
        let checks = host_checks(&data_dir).await;
        if ends.send(FromNode::Checks(checks)).await {
            ends.send(FromNode::Done(Ok(Outcome::Complete))).await;
        }
    });
    caller
}

/// Everything that a node needs of its host, tried or read. `data_dir` is where images would be.
pub async fn host_checks(data_dir: &Path) -> Vec<HostCheck> {
    let dir = data_dir.to_path_buf();
    let local = tokio::task::spawn_blocking(move || {
        let mut checks = vec![kernel(), cgroups()];
        checks.extend(controllers());
        checks.extend(device_rules());
        checks.extend([
            seccomp(),
            overlay(&dir),
            capabilities(),
            resource_capability(),
            files(),
        ]);
        checks.push(user_namespaces());
        checks
    });
    let mut checks = local.await.unwrap_or_default();
    for probe in kabuki_net::check().await {
        let required = !matches!(probe.name, "vxlan" | "bpf" | "ipv6");
        checks.push(check(
            probe.name,
            probe.ok,
            required,
            probe.detail,
            probe.cost,
        ));
    }
    checks
}

fn check(name: &str, ok: bool, required: bool, found: String, cost: &str) -> HostCheck {
    let cost = if ok { String::new() } else { cost.to_string() };
    HostCheck {
        name: name.to_string(),
        ok,
        required,
        found,
        cost,
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_string()
}

fn kernel() -> HostCheck {
    let release = read("/proc/sys/kernel/osrelease");
    let version = crate::node::version(&release);
    let cost = "5.10 is the oldest kernel that is known to work";
    check("kernel", version >= (5, 10), true, release, cost)
}

fn cgroups() -> HostCheck {
    let cost = "nothing can be limited, and nothing that a pod leaves can be found";
    match Cgroups::detect() {
        Ok(found) if found.is_v2() => check("cgroup", true, true, "version 2".to_string(), cost),
        Ok(_) => check(
            "cgroup",
            true,
            true,
            "version 1 or hybrid".to_string(),
            cost,
        ),
        Err(error) => check("cgroup", false, true, error.to_string(), cost),
    }
}

fn controllers() -> Vec<HostCheck> {
    let Ok(found) = Cgroups::detect() else {
        return Vec::new();
    };
    let unified = read("/sys/fs/cgroup/cgroup.controllers");
    [
        ("cpu", "requests and limits of CPU have no effect"),
        (
            "memory",
            "limits of memory have no effect; one pod can take it all",
        ),
        ("pids", "a pod can use up all process numbers"),
        ("cpuset", "pods cannot be bound to processors"),
    ]
    .into_iter()
    .map(|(name, cost)| {
        let there = match found.is_v2() {
            true => unified.split(' ').any(|c| c == name),
            false => found.dir(name, "/").is_some_and(|dir| dir.exists()),
        };
        let text = if there { "mounted" } else { "missing" };
        check(
            &format!("cgroup {name}"),
            there,
            false,
            text.to_string(),
            cost,
        )
    })
    .collect()
}

/// On v2 the rules are a program in the kernel, which not every kernel takes.
fn device_rules() -> Option<HostCheck> {
    let cgroups = Cgroups::detect().ok()?;
    let tried = cgroups.probe_devices();
    let cost = "containers cannot be kept from the host's devices, so none is started";
    let found = match &tried {
        Ok(()) => "can be applied".to_string(),
        Err(error) => error.to_string(),
    };
    let required = cgroups.is_v2();
    Some(check("device rules", tried.is_ok(), required, found, cost))
}

fn seccomp() -> HostCheck {
    let actions = read("/proc/sys/kernel/seccomp/actions_avail");
    let cost = "seccomp profiles are refused: containers can call everything";
    match actions.contains("errno") {
        true => check("seccomp", true, false, actions, cost),
        false => check("seccomp", false, false, "no filters".to_string(), cost),
    }
}

fn overlay(data_dir: &Path) -> HostCheck {
    let cost = "images cannot be stacked: no container can start";
    let known = read("/proc/filesystems")
        .lines()
        .any(|l| l.trim_start_matches("nodev").trim() == "overlay");
    let mut place: PathBuf = data_dir.to_path_buf();
    while !place.exists() && place.pop() {}
    let on = filesystem_of(&place);
    let found = format!(
        "kernel {}, data on {on}",
        if known { "has it" } else { "lacks it" }
    );
    // An overlay cannot be the upper layer of another one.
    check("overlayfs", known && on != "overlay", true, found, cost)
}

/// The type of the file system that a path is on, by the longest mount point.
fn filesystem_of(path: &Path) -> String {
    let mounts = read("/proc/self/mounts");
    let found = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (at, kind) = (words.nth(1)?, words.next()?);
        path.starts_with(at).then(|| (at.len(), kind.to_string()))
    });
    found
        .max_by_key(|(length, _)| *length)
        .map_or_else(String::new, |(_, kind)| kind)
}

fn effective() -> u64 {
    let status = read("/proc/self/status");
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

fn capabilities() -> HostCheck {
    let held = effective();
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(_, bit)| held & (1 << bit) == 0)
        .map(|(name, _)| *name)
        .collect();
    let found = match missing.is_empty() {
        true => "all that are needed".to_string(),
        false => format!("missing: {}", missing.join(" ")),
    };
    let cost = "containers cannot be set up: run it as root";
    check("capabilities", missing.is_empty(), true, found, cost)
}

fn resource_capability() -> HostCheck {
    let there = effective() & (1 << SYS_RESOURCE) != 0;
    let found = if there { "held" } else { "missing" };
    let cost = "scores for running out of memory cannot be lowered, limits of files not raised";
    check("CAP_SYS_RESOURCE", there, false, found.to_string(), cost)
}

fn files() -> HostCheck {
    let limits = read("/proc/self/limits");
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"));
    let hard = line
        .and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    let cost = "a node with hundreds of pods runs out of file descriptors";
    check(
        "open files",
        hard >= FILES_WANTED,
        false,
        format!("at most {hard}"),
        cost,
    )
}

fn user_namespaces() -> HostCheck {
    let users = OwnUsers::read();
    let found = match users.maps_ids {
        true => format!("at most {}", users.limit),
        false => "the kernel does not map the ids of all files".to_string(),
    };
    let cost = "hostUsers: false is not possible";
    check("user namespaces", users.are_possible(), false, found, cost)
}
