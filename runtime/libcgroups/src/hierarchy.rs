//! The mounted hierarchies, read from the mount table once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::common::{CgroupError, CgroupSetup, DEFAULT_CGROUP_ROOT, io_error};

/// Kept by the shim and, since they are its forks, by the processes that become containers.
static LAYOUT: OnceLock<Layout> = OnceLock::new();

pub(crate) struct Layout {
    pub setup: CgroupSetup,
    pub v1: Vec<Mounted>,
    pub v2: Option<PathBuf>,
}

/// A v1 hierarchy.
pub(crate) struct Mounted {
    pub root: PathBuf,
    /// False for a hierarchy that only has a name, which is its manager's and not ours.
    pub controls: bool,
    pub cpuset: bool,
    pub devices: bool,
    pub freezer: bool,
}

impl Layout {
    pub fn get() -> Result<&'static Self, CgroupError> {
        if let Some(layout) = LAYOUT.get() {
            return Ok(layout);
        }
        let table = Path::new("/proc/self/mountinfo");
        let text = fs::read_to_string(table).map_err(io_error("read", table))?;
        let layout = parse(&text).ok_or(CgroupError::NotMounted)?;
        Ok(LAYOUT.get_or_init(|| layout))
    }
}

fn parse(table: &str) -> Option<Layout> {
    let (mut v1, mut v2): (Vec<(String, Mounted)>, Option<PathBuf>) = (Vec::new(), None);
    for line in table.lines() {
        let Some((mount, file_system)) = line.split_once(" - ") else {
            continue;
        };
        let (mut mount, mut file_system) = (mount.split(' '), file_system.split(' '));
        let (Some(device), Some(point)) = (mount.nth(2), mount.nth(1)) else {
            continue;
        };
        let below = Path::new(point).starts_with(DEFAULT_CGROUP_ROOT);
        match file_system.next() {
            Some("cgroup2") if below && v2.is_none() => v2 = Some(point.into()),
            // The first mount of a hierarchy counts; containers bind it elsewhere again.
            Some("cgroup") if below && !v1.iter().any(|(known, _)| known == device) => {
                let options = file_system.nth(1).unwrap_or_default();
                v1.push((device.to_owned(), mounted(point, options)));
            }
            _ => {}
        }
    }
    let v1: Vec<Mounted> = v1.into_iter().map(|(_, mounted)| mounted).collect();
    let setup = match (&v2, v1.is_empty()) {
        (Some(point), _) if point == Path::new(DEFAULT_CGROUP_ROOT) => CgroupSetup::Unified,
        (Some(_), false) => CgroupSetup::Hybrid,
        (None, false) => CgroupSetup::Legacy,
        (_, true) => return None,
    };
    Some(Layout { setup, v1, v2 })
}

fn mounted(point: &str, options: &str) -> Mounted {
    let has = |wanted: &str| options.split(',').any(|option| option == wanted);
    Mounted {
        root: point.into(),
        controls: !options.split(',').any(|option| option.starts_with("name=")),
        cpuset: has("cpuset"),
        devices: has("devices"),
        freezer: has("freezer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpuset rw,nosuid shared:9 - cgroup cgroup rw,cpuset
32 30 0:28 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
35 30 0:28 / /sys/fs/cgroup/again rw - cgroup cgroup rw,devices
36 30 0:31 / /elsewhere/memory rw - cgroup cgroup rw,memory";

    #[test]
    fn a_hybrid_host_has_each_hierarchy_of_the_usual_place_once() {
        let layout = parse(HYBRID).unwrap();
        assert!(layout.setup == CgroupSetup::Hybrid && layout.v2.is_some());
        let names: Vec<_> = layout
            .v1
            .iter()
            .map(|mount| mount.root.to_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "/sys/fs/cgroup/cpuset",
                "/sys/fs/cgroup/devices",
                "/sys/fs/cgroup/systemd"
            ]
        );
        assert!(layout.v1[0].cpuset && layout.v1[1].devices && !layout.v1[2].controls);
    }

    #[test]
    fn a_host_with_v2_in_the_usual_place_is_unified() {
        let layout = parse("30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw").unwrap();
        assert!(layout.setup == CgroupSetup::Unified && layout.v1.is_empty());
    }

    #[test]
    fn a_host_without_cgroups_is_told_so() {
        assert!(parse("30 20 0:26 / / rw - ext4 /dev/vda rw").is_none());
    }
}
