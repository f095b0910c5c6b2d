//! Control groups of pods and containers, alike on v1, hybrid and v2 hosts.
//!
//! A cgroup is named by its absolute path below the mounted hierarchies' roots
//! (`/kabuki/burstable/pod1`). On v1 and hybrid hosts that is one directory per controller; on
//! v2 a single one. The shim makes and removes the cgroup of its pod, the node agent those of
//! the QoS classes, and both read the same figures. Nothing is cached: any process may call
//! this for any cgroup, also to clean up after one that died.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::spec::{Resources, Warnings};
use oci_spec::runtime::LinuxDeviceCgroup;

mod devices;
mod hierarchy;
mod limits;
mod moves;
mod stats;

pub use moves::SwiftMoves;
pub use stats::CgroupStats;

#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("no cgroup hierarchy is mounted")]
    NotMounted,
    #[error("cgroup path {0:?} is not absolute or leads upwards")]
    BadPath(String),
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("cgroup {path} still has processes after being killed: {pids:?}")]
    Survivors { path: String, pids: Vec<i32> },
    #[error("{0} is not supported on a cgroup v1 host")]
    NeedsV2(String),
}

/// The hierarchies mounted on this host.
#[derive(Debug, Clone)]
pub struct Cgroups {
    mounts: Vec<hierarchy::Mounted>,
    unified: bool,
}

impl Cgroups {
    /// Finds the hierarchies from this process' mount table.
    pub fn detect() -> Result<Self, CgroupError> {
        let table = "/proc/self/mountinfo";
        let text = fs::read_to_string(table).map_err(io_error("read", Path::new(table)))?;
        let (mounts, unified) = hierarchy::parse(&text);
        if mounts.is_empty() {
            return Err(CgroupError::NotMounted);
        }
        Ok(Self { mounts, unified })
    }

    /// True on a host with only the v2 hierarchy.
    pub fn is_v2(&self) -> bool {
        self.unified
    }

    /// The directory of `path` in the hierarchy that has `controller`.
    pub fn dir(&self, controller: &str, path: &str) -> Option<PathBuf> {
        let mount = self.mounts.iter().find(|m| m.has(controller))?;
        Some(mount.root.join(path.trim_start_matches('/')))
    }

    /// The directories of `path`, each with the name of its hierarchy.
    pub(crate) fn named_dirs<'a>(
        &'a self,
        path: &'a str,
    ) -> impl Iterator<Item = (&'a str, PathBuf)> {
        let name = |mount: &'a hierarchy::Mounted| mount.root.file_name()?.to_str();
        let named = self.mounts.iter().map(name).zip(self.dirs(path));
        named.filter_map(|(name, dir)| Some((name?, dir)))
    }

    fn dirs(&self, path: &str) -> impl Iterator<Item = PathBuf> {
        let relative = path.trim_start_matches('/').to_owned();
        self.mounts.iter().map(move |m| m.root.join(&relative))
    }

    /// Makes a cgroup that is to hold processes; on v2 it cannot hold limited cgroups as well.
    pub fn create_leaf(&self, path: &str) -> Result<(), CgroupError> {
        check(path)?;
        let parent = path
            .trim_end_matches('/')
            .rsplit_once('/')
            .map_or("", |(parent, _)| parent);
        if !parent.is_empty() && self.unified {
            self.create(parent)?;
        }
        self.mounts
            .iter()
            .try_for_each(|mount| mount.create(path, false, self.unified))
    }

    /// Makes the cgroup and its parents, ready to hold further cgroups.
    pub fn create(&self, path: &str) -> Result<(), CgroupError> {
        check(path)?;
        self.mounts
            .iter()
            .try_for_each(|mount| mount.create(path, self.unified, self.unified))
    }

    /// Writes the limits that are set; what the kernel lacks becomes a warning.
    pub fn apply(&self, path: &str, resources: &Resources) -> Result<Warnings, CgroupError> {
        check(path)?;
        limits::apply(self, path, resources)
    }

    /// Applies the rules for device nodes on v2; on v1 libcontainer does.
    pub(crate) fn restrict_devices(
        &self,
        path: &str,
        rules: &[LinuxDeviceCgroup],
    ) -> Result<(), CgroupError> {
        check(path)?;
        match self.mounts.first() {
            Some(mount) if self.unified => {
                devices::restrict(&mount.root.join(path.trim_start_matches('/')), rules)
            }
            _ => Ok(()),
        }
    }

    /// Whether rules for device nodes can be applied, and if not, why.
    pub fn probe_devices(&self) -> io::Result<()> {
        if self.unified {
            return devices::probe();
        }
        match self.dir("devices", "/") {
            Some(_) => Ok(()),
            None => Err(io::Error::other("no devices controller is mounted")),
        }
    }

    /// Moves a process into the cgroup in every hierarchy.
    pub fn add(&self, path: &str, pid: i32) -> Result<(), CgroupError> {
        check(path)?;
        for dir in self.dirs(path) {
            let file = dir.join("cgroup.procs");
            fs::write(&file, pid.to_string()).map_err(io_error("write", &file))?;
        }
        Ok(())
    }

    /// Moves the calling process, which must have a single thread, into the cgroup. On v1 the
    /// kernel waits for nothing when a thread moves itself, but for a whole grace period, which
    /// holds up everybody's cgroups, when a process is moved.
    pub fn join(&self, path: &str) -> Result<(), CgroupError> {
        check(path)?;
        let name = if self.unified {
            "cgroup.procs"
        } else {
            "tasks"
        };
        for dir in self.dirs(path) {
            let file = dir.join(name);
            fs::write(&file, "0").map_err(io_error("write", &file))?;
        }
        Ok(())
    }

    pub fn exists(&self, path: &str) -> bool {
        self.dirs(path).any(|dir| dir.exists())
    }

    /// Every live process of the cgroup and those below it.
    pub fn pids(&self, path: &str) -> Vec<i32> {
        let mut pids = Vec::new();
        for dir in self.dirs(path) {
            hierarchy::walk(&dir, &mut |dir| {
                let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
                pids.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()));
            });
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    pub fn signal(&self, path: &str, signal: Signal) {
        for pid in self.pids(path) {
            // A process that is gone by now needs no signal.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Kills everything in the cgroup, and what it forks meanwhile, until nothing is left.
    /// Blocks for at most `limit`.
    pub fn kill(&self, path: &str, limit: Duration) -> Result<(), CgroupError> {
        check(path)?;
        let started = std::time::Instant::now();
        loop {
            for dir in self.dirs(path).filter(|_| self.unified) {
                // Since 5.14; the loop below does without.
                let _ = fs::write(dir.join("cgroup.kill"), "1");
            }
            self.signal(path, Signal::SIGKILL);
            let pids = self.pids(path);
            if pids.is_empty() {
                return Ok(());
            }
            if started.elapsed() > limit {
                return Err(CgroupError::Survivors {
                    path: path.to_owned(),
                    pids,
                });
            }
            // The kernel tells of a cgroup's emptiness only on v2: look again shortly.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Removes the empty cgroup with those below it. One that is gone already is fine.
    pub fn remove(&self, path: &str) -> Result<(), CgroupError> {
        check(path)?;
        let mut failed = None;
        for dir in self.dirs(path) {
            if let Err(error) = hierarchy::remove(&dir) {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// How often the out-of-memory killer took a process of this cgroup.
    pub fn oom_kills(&self, path: &str) -> u64 {
        stats::oom_kills(self, path)
    }

    /// The limit of memory; `None` when there is none.
    pub fn memory_limit(&self, path: &str) -> Option<u64> {
        stats::memory_limit(self, path)
    }

    pub fn stats(&self, path: &str) -> CgroupStats {
        stats::read(self, path)
    }
}

fn check(path: &str) -> Result<(), CgroupError> {
    let sound = path.starts_with('/') && !path.split('/').any(|part| part == "..");
    if sound && !path.trim_matches('/').is_empty() {
        return Ok(());
    }
    Err(CgroupError::BadPath(path.to_owned()))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.display().to_string();
    move |source| CgroupError::Io {
        action,
        path,
        source,
    }
}
