//! The cgroup of one container.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oci_spec::runtime::LinuxResources;

use crate::devices;
use crate::hierarchy::{Layout, Mounted};

pub const DEFAULT_CGROUP_ROOT: &str = "/sys/fs/cgroup";
/// A directory stays busy for a moment after its last process died: attempts, 1 ms apart.
const REMOVE_ATTEMPTS: u32 = 500;

#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("no cgroup hierarchy is mounted below {DEFAULT_CGROUP_ROOT}")]
    NotMounted,
    #[error("cgroup path {0:?} is not absolute or leads upwards")]
    BadPath(PathBuf),
    #[error("cannot {action} {path:?}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} is not done here but by the shim")]
    Unsupported(&'static str),
}

// libcontainer tells its own errors apart by these three types.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct AnyManagerError(#[from] CgroupError);

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct CreateCgroupSetupError(#[from] CgroupError);

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct GetCgroupSetupError(#[from] CgroupError);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupSetup {
    Hybrid,
    Legacy,
    Unified,
}

#[derive(Debug, Clone)]
pub struct CgroupConfig {
    pub cgroup_path: PathBuf,
    pub systemd_cgroup: bool,
    pub container_name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreezerState {
    Undefined,
    Frozen,
    Thawed,
}

#[derive(Debug, Clone)]
pub struct ControllerOpt<'a> {
    pub resources: &'a LinuxResources,
    pub disable_oom_killer: bool,
    pub oom_score_adj: Option<i32>,
    pub freezer_state: Option<FreezerState>,
}

/// Figures are read by the shim.
#[derive(Debug, serde::Serialize)]
pub enum Stats {}

pub trait CgroupManager {
    type Error;

    fn add_task(&self, pid: Pid) -> Result<(), Self::Error>;
    fn apply(&self, options: &ControllerOpt<'_>) -> Result<(), Self::Error>;
    fn remove(&self) -> Result<(), Self::Error>;
    fn freeze(&self, state: FreezerState) -> Result<(), Self::Error>;
    fn stats(&self) -> Result<Stats, Self::Error>;
    fn get_all_pids(&self) -> Result<Vec<Pid>, Self::Error>;
}

/// Reads the mount table, for all that are forked from here.
pub fn prepare() -> Result<(), CgroupError> {
    Layout::get().map(drop)
}

pub fn get_cgroup_setup() -> Result<CgroupSetup, GetCgroupSetupError> {
    Ok(Layout::get()?.setup)
}

pub fn create_cgroup_manager(
    config: CgroupConfig,
) -> Result<AnyCgroupManager, CreateCgroupSetupError> {
    let layout = Layout::get()?;
    if config.systemd_cgroup {
        return Err(CgroupError::Unsupported("a cgroup by systemd").into());
    }
    let parts = config.cgroup_path.components().skip(1);
    let sound = parts
        .clone()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if !config.cgroup_path.is_absolute() || !sound || parts.count() == 0 {
        return Err(CgroupError::BadPath(config.cgroup_path).into());
    }
    let relative = config
        .cgroup_path
        .strip_prefix("/")
        .unwrap_or(Path::new(""));
    let mut dirs = Vec::new();
    match (layout.setup, &layout.v2) {
        (CgroupSetup::Unified, Some(root)) => dirs.push((root.join(relative), None)),
        _ => {
            let controls = layout.v1.iter().filter(|mount| mount.controls);
            dirs.extend(controls.map(|mount| (mount.root.join(relative), Some(mount))));
        }
    }
    Ok(AnyCgroupManager { dirs })
}

/// The container's directories, on v1 one for each hierarchy.
pub struct AnyCgroupManager {
    dirs: Vec<(PathBuf, Option<&'static Mounted>)>,
}

impl AnyCgroupManager {
    /// The shim is root, or nothing of this would be permitted.
    #[must_use]
    pub fn with_rootless(self, _rootless: bool) -> Self {
        self
    }
}

impl CgroupManager for AnyCgroupManager {
    type Error = AnyManagerError;

    fn add_task(&self, pid: Pid) -> Result<(), AnyManagerError> {
        // Called by a process for itself, which has a single thread.
        let own = pid == Pid::this();
        for (dir, v1) in &self.dirs {
            match fs::create_dir_all(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(io_error("create", dir)(error).into());
                }
                _ => {}
            }
            if v1.is_some_and(|mount| mount.cpuset) {
                inherit_cpuset(dir)?;
            }
            match (v1, own) {
                (Some(_), true) => write(&dir.join("tasks"), "0")?,
                _ => write(&dir.join("cgroup.procs"), &pid.to_string())?,
            }
        }
        Ok(())
    }

    fn apply(&self, options: &ControllerOpt<'_>) -> Result<(), AnyManagerError> {
        let rules = options.resources.devices().as_deref().unwrap_or_default();
        for (dir, v1) in &self.dirs {
            if v1.is_some_and(|mount| mount.devices) {
                devices::apply(dir, rules)?;
            }
        }
        Ok(())
    }

    fn remove(&self) -> Result<(), AnyManagerError> {
        self.dirs.iter().try_for_each(|(dir, _)| remove(dir))?;
        Ok(())
    }

    fn freeze(&self, state: FreezerState) -> Result<(), AnyManagerError> {
        for (dir, v1) in &self.dirs {
            let (file, frozen, thawed) = match v1 {
                None => ("cgroup.freeze", "1", "0"),
                Some(mount) if mount.freezer => ("freezer.state", "FROZEN", "THAWED"),
                Some(_) => continue,
            };
            match state {
                FreezerState::Undefined => {}
                FreezerState::Frozen => write(&dir.join(file), frozen)?,
                FreezerState::Thawed => write(&dir.join(file), thawed)?,
            }
        }
        Ok(())
    }

    fn stats(&self) -> Result<Stats, AnyManagerError> {
        Err(CgroupError::Unsupported("the reading of figures").into())
    }

    fn get_all_pids(&self) -> Result<Vec<Pid>, AnyManagerError> {
        let Some((dir, _)) = self.dirs.first() else {
            return Ok(Vec::new());
        };
        let mut pids = Vec::new();
        collect_pids(dir, &mut pids)?;
        Ok(pids)
    }
}

/// A v1 cpuset takes no process before it has processors and memory nodes.
fn inherit_cpuset(dir: &Path) -> Result<(), CgroupError> {
    let Some(parent) = dir.parent() else {
        return Ok(());
    };
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let file = dir.join(name);
        let own = fs::read_to_string(&file).map_err(io_error("read", &file))?;
        if own.trim().is_empty() {
            let above = parent.join(name);
            let value = fs::read_to_string(&above).map_err(io_error("read", &above))?;
            write(&file, value.trim())?;
        }
    }
    Ok(())
}

fn remove(dir: &Path) -> Result<(), CgroupError> {
    for _ in 0..REMOVE_ATTEMPTS {
        match fs::remove_dir(dir) {
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EBUSY as i32) => {
                let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
                for pid in procs.lines().filter_map(|line| line.parse().ok()) {
                    // A process that is gone by now needs no signal.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", dir)(error));
            }
            _ => return Ok(()),
        }
    }
    let busy = io::Error::from(nix::errno::Errno::EBUSY);
    Err(io_error("remove", dir)(busy))
}

/// The processes of a cgroup and of those below it.
fn collect_pids(dir: &Path, pids: &mut Vec<Pid>) -> Result<(), CgroupError> {
    let file = dir.join("cgroup.procs");
    let text = fs::read_to_string(&file).map_err(io_error("read", &file))?;
    let own = text.lines().filter_map(|line| line.parse().ok());
    pids.extend(own.map(Pid::from_raw));
    let entries = fs::read_dir(dir).map_err(io_error("list", dir))?;
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_pids(&entry.path(), pids)?;
        }
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<(), CgroupError> {
    fs::write(file, text).map_err(io_error("write", file))
}

pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |source| CgroupError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(path: &str) -> bool {
        let config = CgroupConfig {
            cgroup_path: path.into(),
            systemd_cgroup: false,
            container_name: "c".to_owned(),
        };
        create_cgroup_manager(config).is_ok()
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        assert!(made("/kabuki/pod1/web"));
        for path in ["kabuki", "/", "", "/kabuki/../../etc"] {
            assert!(!made(path), "{path:?}");
        }
    }
}
