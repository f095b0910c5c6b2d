//! How soon a process comes into another cgroup.

use rustix::fd::OwnedFd;
use rustix::io;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

/// While this is held, processes come into other cgroups at once. Without it, each first move
/// after a pause waits until every processor has been through its scheduler: many milliseconds of
/// a container's start and of each process that is executed in one.
///
/// The kernel does so for as long as any hierarchy has the option `favordynmods` (Control Group
/// v2, "Mounting"); 6.18, once asked, goes on until it boots. The one here has no controllers and is
/// mounted nowhere: the host's own stay as they are, and it is gone when the daemon ends.
#[derive(Debug)]
pub struct SwiftMoves {
    _hierarchy: OwnedFd,
}

impl SwiftMoves {
    /// Asks the kernel for them. Takes as long as one slow move.
    ///
    /// # Errors
    /// Kernels before 6.0 do not know the option; some have no such hierarchies.
    pub fn hold() -> io::Result<Self> {
        let context = fsopen("cgroup", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_flag(&context, "none")?;
        fsconfig_set_string(&context, "name", "kabuki")?;
        fsconfig_set_flag(&context, "favordynmods")?;
        fsconfig_create(&context)?;
        let _hierarchy = fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )?;
        Ok(Self { _hierarchy })
    }
}
