//! Mounting a container's file systems on kernels before 5.12, which lack `mount_setattr`.
//!
//! libcontainer makes every mount with that call. Where the kernel does not have it, the shim
//! takes the mounts out of the configuration and leaves them in a [`Plan`] beside it. `/dev` is
//! mounted by the shim itself, because libcontainer puts the devices into it next. The others
//! need the container's namespaces (`/proc` shows the processes of whoever mounts it): they are
//! made by this program again, which libcontainer runs there as a hook, in the moment before the
//! container's root becomes its own.
//!
//! The means are of 5.2, but for the one to change what a bind mount permits: it is attached
//! first and remounted then, while nothing of the container runs yet.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libcontainer::syscall::syscall::{Syscall, create_syscall};
use libcontainer::syscall::{SyscallError, linux};
use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};
use oci_spec::runtime::Mount;
use serde::{Deserialize, Serialize};

use super::server::paths::{IN_ROOT, directory, make_dirs, open_at};
use options::Options;

mod options;

/// The verb of this program's hook.
pub(super) const VERB: &str = "mount";
/// The plan, in a container's bundle.
pub(super) const PLAN: &str = "mounts.json";
/// Why the plan failed, beside it.
pub(super) const ERROR: &str = "mounts.error";

/// What is to be mounted, in order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub rootfs: String,
    pub mounts: Vec<Mount>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum MountError {
    #[error("cannot {action} {path:?}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("mount option {0:?} is not known")]
    Option(String),
    #[error("the mount on {0:?} has no type or no source")]
    Incomplete(PathBuf),
}

type Result<T> = std::result::Result<T, MountError>;

/// Whether the kernel lacks what libcontainer mounts with.
pub(super) fn is_needed() -> bool {
    // SAFETY: no descriptor and no description: the call fails before it looks at anything.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            -1,
            c"".as_ptr(),
            0,
            std::ptr::null::<libc::c_void>(),
            0,
        )
    };
    answer < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS)
}

/// The hook: `arguments` name the bundle.
pub(super) fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(bundle) = arguments.next().map(PathBuf::from) else {
        return ExitCode::FAILURE;
    };
    let Err(error) = carry_out(&bundle) else {
        return ExitCode::SUCCESS;
    };
    let mut words = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    // libcontainer passes on no more than the exit code.
    let _ = fs::write(bundle.join(ERROR), words);
    ExitCode::FAILURE
}

fn carry_out(bundle: &Path) -> Result<()> {
    let file = bundle.join(PLAN);
    let text = fs::read(&file).map_err(failed("read", &file))?;
    let plan: Plan = serde_json::from_slice(&text)
        .map_err(io::Error::other)
        .map_err(failed("read", &file))?;
    let mounter = Mounter::new(Path::new(&plan.rootfs))?;
    for wanted in &plan.mounts {
        match wanted.typ().as_deref() {
            // On v1 the shim has made a view, which is bound like anything else.
            Some("cgroup") => mounter.file_system("cgroup2", wanted)?,
            _ => mounter.mount(wanted)?,
        }
    }
    Ok(())
}

/// Mounts below one root, which no link leads out of.
pub(super) struct Mounter {
    root: OwnedFd,
    syscall: Box<dyn Syscall>,
}

impl Mounter {
    pub fn new(root: &Path) -> Result<Self> {
        Ok(Self {
            root: directory(root).map_err(failed("open", root))?,
            syscall: create_syscall(),
        })
    }

    pub fn mount(&self, wanted: &Mount) -> Result<()> {
        match wanted.typ().as_deref() {
            Some("bind") => self.bind(wanted),
            Some(typ) => self.file_system(typ, wanted),
            None => Err(MountError::Incomplete(wanted.destination().clone())),
        }
    }

    /// What a mount is to cover; made, where it is not there.
    pub fn place(&self, wanted: &Mount) -> Result<OwnedFd> {
        if wanted.typ().as_deref() == Some("bind") {
            let source = source(wanted)?;
            let found = fs::metadata(source).map_err(failed("read", source))?;
            if !found.is_dir() {
                return self.file(wanted.destination());
            }
        }
        self.directory(wanted.destination())
    }

    fn bind(&self, wanted: &Mount) -> Result<()> {
        let source = source(wanted)?;
        let place = self.place(wanted)?;
        let options = Options::parse(wanted)?;
        let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
        if options.recursive {
            flags |= libc::AT_RECURSIVE as u32;
        }
        let text = source.to_str().ok_or_else(|| {
            failed("read", source)(io::Error::from(io::ErrorKind::InvalidFilename))
        })?;
        let tree = self
            .syscall
            .open_tree(libc::AT_FDCWD, Some(text), flags)
            .map_err(refused("bind", source))?;
        self.attach(&tree, &place, wanted.destination())?;
        let remounted = if options.readonly_below {
            readonly_below(&tree)
        } else {
            restrict(&by_number(&tree), options.flags())
        };
        remounted.map_err(failed("restrict", wanted.destination()))
    }

    fn file_system(&self, typ: &str, wanted: &Mount) -> Result<()> {
        let place = self.place(wanted)?;
        let options = Options::parse(wanted)?;
        let made = || -> std::result::Result<OwnedFd, SyscallError> {
            let fs = self.syscall.fsopen(Some(typ), 0)?;
            let set = |key: &str, value: &str| {
                let kind = linux::FSCONFIG_SET_STRING as u32;
                self.syscall
                    .fsconfig(fs.as_fd(), kind, Some(key), Some(value), 0)
            };
            set("source", typ)?;
            for option in &options.data {
                match option.split_once('=') {
                    Some((key, value)) => set(key, value)?,
                    None => {
                        let kind = linux::FSCONFIG_SET_FLAG as u32;
                        self.syscall
                            .fsconfig(fs.as_fd(), kind, Some(option), None, 0)?;
                    }
                }
            }
            let create = linux::FSCONFIG_CMD_CREATE as u32;
            self.syscall.fsconfig(fs.as_fd(), create, None, None, 0)?;
            self.syscall.fsmount(fs.as_fd(), 0, Some(options.attr))
        };
        let made = made().map_err(refused("make the file system on", wanted.destination()))?;
        self.attach(&made, &place, wanted.destination())
    }

    fn attach(&self, tree: &OwnedFd, place: &OwnedFd, name: &Path) -> Result<()> {
        let flags = linux::MOVE_MOUNT_F_EMPTY_PATH | linux::MOVE_MOUNT_T_EMPTY_PATH;
        self.syscall
            .move_mount(tree.as_fd(), None, place.as_fd(), None, flags)
            .map_err(refused("mount on", name))
    }

    fn directory(&self, path: &Path) -> Result<OwnedFd> {
        let open = || open_at(&self.root, path, libc::O_PATH | libc::O_DIRECTORY, IN_ROOT);
        if let Ok(found) = open() {
            return Ok(found);
        }
        make_dirs(&self.root, path, IN_ROOT, 0o755)
            .and_then(|()| open())
            .map_err(failed("create", path))
    }

    fn file(&self, path: &Path) -> Result<OwnedFd> {
        let open = || open_at(&self.root, path, libc::O_PATH, IN_ROOT);
        if let Ok(found) = open() {
            return Ok(found);
        }
        let above = self.directory(path.parent().unwrap_or(Path::new("/")))?;
        let name = path.file_name().unwrap_or_default();
        File::create_new(Path::new(&by_number(&above)).join(name))
            .and_then(|_| open())
            .map_err(failed("create", path))
    }
}

fn source(wanted: &Mount) -> Result<&Path> {
    let source = wanted.source().as_deref();
    source.ok_or_else(|| MountError::Incomplete(wanted.destination().clone()))
}

fn by_number(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Adds to what one mount forbids already.
fn restrict(path: &str, flags: MsFlags) -> io::Result<()> {
    if flags.is_empty() {
        return Ok(());
    }
    let flags = flags | in_force(path)? | MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>)?;
    Ok(())
}

fn in_force(path: &str) -> io::Result<MsFlags> {
    let known = statvfs(path)?.flags();
    let pairs = [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    let held = pairs.iter().filter(|(seen, _)| known.contains(*seen));
    Ok(held.map(|(_, flag)| *flag).collect())
}

/// Makes a mount and all below it read-only.
fn readonly_below(tree: &OwnedFd) -> io::Result<()> {
    let top = fs::read_link(by_number(tree))?;
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    for point in points.map(unescape) {
        if Path::new(&point).starts_with(&top) && Path::new(&point) != top {
            restrict(&point, MsFlags::MS_RDONLY)?;
        }
    }
    restrict(&by_number(tree), MsFlags::MS_RDONLY)
}

/// The mount table writes spaces and the like as a backslash and three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).map(|digits| u8::from_str_radix(digits, 8));
        match code {
            Some(Ok(byte)) if byte.is_ascii() => {
                plain.push(char::from(byte));
                plain.push_str(&part[3..]);
            }
            _ => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MountError {
    let path = path.to_owned();
    move |source| MountError::Io {
        action,
        path,
        source,
    }
}

fn refused(action: &'static str, path: &Path) -> impl FnOnce(SyscallError) -> MountError {
    let failed = failed(action, path);
    move |error| match error {
        SyscallError::Nix(errno) => failed(errno.into()),
        other => failed(io::Error::other(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_the_mount_table_is_read_as_it_was_written() {
        assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
        assert_eq!(unescape(r"/plain"), "/plain");
        assert_eq!(unescape(r"/odd\9"), r"/odd\9");
    }
}
