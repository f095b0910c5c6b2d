//! A directory that never reaches a disk and does not outlive a boot.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

/// Sees to it that an existing directory is in memory: where its file system is on a disk, as
/// `/run` is on some hosts, it gets one of its own. What is in use already stays as it is.
///
/// # Errors
/// When it cannot be looked at or mounted on.
pub fn keep_in_memory(dir: &Path) -> io::Result<()> {
    let in_memory = statfs(dir)?.filesystem_type() == TMPFS_MAGIC;
    if in_memory || fs::read_dir(dir)?.next().is_some() {
        return Ok(());
    }
    mount(
        Some("kabuki"),
        dir,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=0711"),
    )?;
    Ok(())
}

/// Takes away what [`keep_in_memory`] mounted on a directory, with all that it holds. One that is
/// no mount point, or is not there, is fine.
///
/// # Errors
/// When it resists.
pub fn drop_from_memory(dir: &Path) -> io::Result<()> {
    match umount2(dir, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
