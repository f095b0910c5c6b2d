//! One mounted hierarchy: finding it, and making and removing directories in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CgroupError, io_error};

/// Where the v2 hierarchy is mounted on a host that has nothing else.
const UNIFIED_ROOT: &str = "/sys/fs/cgroup";
/// What a pod's cgroup hands on to its containers on v2, as far as the kernel has it.
const DELEGATED: [&str; 6] = ["cpu", "cpuset", "hugetlb", "io", "memory", "pids"];
/// A directory stays busy for a moment after its last process died: attempts, 1 ms apart.
const REMOVE_ATTEMPTS: u32 = 500;

#[derive(Debug, Clone)]
pub(super) struct Mounted {
    pub root: PathBuf,
    controllers: Vec<String>,
}

/// The hierarchies in a mount table, and whether it is v2 alone.
pub(super) fn parse(mountinfo: &str) -> (Vec<Mounted>, bool) {
    let mut mounts: Vec<Mounted> = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, fs)) = line.split_once(" - ") else {
            continue;
        };
        let Some(point) = mount.split(' ').nth(4) else {
            continue;
        };
        let mut fs = fs.split(' ');
        let (kind, options) = (fs.next().unwrap_or_default(), fs.nth(1).unwrap_or_default());
        if kind == "cgroup2" && point == UNIFIED_ROOT {
            let mounted = Mounted {
                root: point.into(),
                controllers: Vec::new(),
            };
            return (vec![mounted], true);
        }
        let controllers: Vec<String> = options
            .split(',')
            .filter(|o| is_controller(o))
            .map(str::to_owned)
            .collect();
        // The first mount of a hierarchy counts; containers bind it elsewhere again.
        let known = controllers
            .first()
            .is_some_and(|c| mounts.iter().any(|m| m.has(c)));
        if kind == "cgroup" && !controllers.is_empty() && !known {
            mounts.push(Mounted {
                root: point.into(),
                controllers,
            });
        }
    }
    (mounts, false)
}

fn is_controller(option: &str) -> bool {
    const V1: [&str; 12] = [
        "cpu",
        "cpuacct",
        "cpuset",
        "devices",
        "freezer",
        "hugetlb",
        "memory",
        "net_cls",
        "net_prio",
        "perf_event",
        "pids",
        "blkio",
    ];
    V1.contains(&option)
}

impl Mounted {
    /// The single v2 hierarchy has every controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.is_empty() || self.controllers.iter().any(|c| c == controller)
    }

    /// With `delegated`, every cgroup on the way and the last one hand on their controllers.
    pub fn create(&self, path: &str, delegated: bool, unified: bool) -> Result<(), CgroupError> {
        if !unified && self.create_last(path)? {
            return Ok(());
        }
        let mut dir = self.root.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if delegated {
                delegate(&dir);
            }
            let parent = dir.clone();
            dir.push(part);
            match fs::create_dir(&dir) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io_error("create", &dir)(error)),
            }
            if !unified && self.has("cpuset") {
                inherit_cpuset(&parent, &dir)?;
            }
        }
        if delegated {
            delegate(&dir);
        }
        Ok(())
    }

    /// Makes the last part of a path on v1. False if what is above it is missing too.
    fn create_last(&self, path: &str) -> Result<bool, CgroupError> {
        let dir = self.root.join(path.trim_matches('/'));
        match fs::create_dir(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(io_error("create", &dir)(error)),
        }
        if let Some(parent) = dir.parent().filter(|_| self.has("cpuset")) {
            inherit_cpuset(parent, &dir)?;
        }
        Ok(true)
    }
}

/// Lets the children of `dir` have their own limits. One write each, since the kernel refuses a
/// whole line for one controller that it lacks; a missing one shows when its limit is written.
fn delegate(dir: &Path) {
    for controller in DELEGATED {
        let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// A v1 cpuset takes no process before it has processors and memory nodes.
fn inherit_cpuset(parent: &Path, dir: &Path) -> Result<(), CgroupError> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let file = dir.join(name);
        let own = fs::read_to_string(&file).map_err(io_error("read", &file))?;
        if own.trim().is_empty() {
            let above = parent.join(name);
            let value = fs::read_to_string(&above).map_err(io_error("read", &above))?;
            fs::write(&file, value.trim()).map_err(io_error("write", &file))?;
        }
    }
    Ok(())
}

/// Calls `visit` for `dir` and every cgroup below it.
pub(super) fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) {
    visit(dir);
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), visit);
        }
    }
}

pub(super) fn remove(dir: &Path) -> Result<(), CgroupError> {
    let mut dirs = Vec::new();
    walk(dir, &mut |dir| dirs.push(dir.to_owned()));
    for dir in dirs.into_iter().rev() {
        remove_one(&dir)?;
    }
    Ok(())
}

fn remove_one(dir: &Path) -> Result<(), CgroupError> {
    let mut attempt = 0;
    loop {
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error)
                if error.raw_os_error() == Some(libc::EBUSY) && attempt < REMOVE_ATTEMPTS =>
            {
                attempt += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(io_error("remove", dir)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
35 30 0:28 / /elsewhere/memory rw - cgroup cgroup rw,memory";

    #[test]
    fn a_hybrid_host_counts_as_v1_with_each_hierarchy_once() {
        let (mounts, unified) = parse(HYBRID);
        assert!(!unified);
        let roots: Vec<_> = mounts.iter().map(|m| m.root.to_str().unwrap()).collect();
        assert_eq!(
            roots,
            ["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory"]
        );
        assert!(mounts[0].has("cpuacct") && !mounts[0].has("memory"));
    }

    #[test]
    fn a_v2_host_has_one_hierarchy_with_everything() {
        let (mounts, unified) =
            parse("30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate");
        assert!(unified && mounts.len() == 1 && mounts[0].has("memory"));
    }
}
