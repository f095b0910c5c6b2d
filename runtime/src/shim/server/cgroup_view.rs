//! What a container on a v1 host sees at `/sys/fs/cgroup`: its own cgroup in each hierarchy.
//!
//! libcontainer can make the same view, in a hundred system calls for each hierarchy. Here it
//! takes three, because the paths are the shim's own and nobody can lead it astray. The view is
//! in the bundle and goes away with it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::{Attempt, Outcome, Shim};

impl Shim {
    /// Makes the container's cgroup and the view of it. None on v2, where one mount is enough.
    pub(super) fn cgroup_view(
        &self,
        cgroup_path: &str,
        bundle: &Path,
        writable: bool,
    ) -> Outcome<Option<String>> {
        if self.cgroups.is_v2() {
            return Ok(None);
        }
        self.cgroups.create_leaf(cgroup_path)?;
        let view = bundle.join("cgroup");
        fs::create_dir(&view)?;
        let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(
            Some("tmpfs"),
            &view,
            Some("tmpfs"),
            safe,
            Some("mode=755,size=64k"),
        )
        .attempt(|| "mount the container's view of its cgroup".to_owned())?;
        for (name, dir) in self.cgroups.named_dirs(cgroup_path) {
            bind(&dir, &view.join(name), safe, writable)
                .attempt(|| format!("show the container its cgroup {name}"))?;
            // Controllers that share a hierarchy are also found each by its own name.
            for controller in name.split(',').filter(|_| name.contains(',')) {
                symlink(name, view.join(controller))?;
            }
        }
        Ok(Some(view.display().to_string()))
    }
}

fn bind(source: &Path, target: &Path, flags: MsFlags, writable: bool) -> Outcome<()> {
    fs::create_dir(target)?;
    let none = None::<&str>;
    mount(Some(source), target, none, MsFlags::MS_BIND, none)?;
    let mut flags = flags | MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RELATIME;
    flags.set(MsFlags::MS_RDONLY, !writable);
    mount(none, target, none, flags, none)?;
    Ok(())
}
