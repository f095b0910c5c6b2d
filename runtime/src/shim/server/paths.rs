//! Paths that a container's content has a say in, resolved without being led astray.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, fchownat};

use super::users::Users;
use super::{Attempt, Outcome, Shim, refuse};
use crate::oci::Binds;
use crate::shim::wire::Cause;
use crate::spec::{ContainerSpec, MountKind, Propagation, Rootfs};

/// A mount's options must fit in a page; above this, paths are passed as descriptors.
const OVERLAY_OPTIONS_LIMIT: usize = 3_800;

/// Follow links, but never out of the starting directory.
const BENEATH: u64 = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
/// Follow links as if the starting directory were the root.
pub(in crate::shim) const IN_ROOT: u64 = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;

impl Shim {
    /// Mounts or names the root file system, and makes the working directory in it.
    pub(super) fn rootfs(
        &self,
        spec: &ContainerSpec,
        bundle: &Path,
        users: Option<&Users>,
    ) -> Outcome<String> {
        let cwd = Path::new(&spec.cwd);
        if !cwd.is_absolute() {
            return refuse(format!("working directory {cwd:?} is not absolute"));
        }
        let work_in = |root: &Path, owner: Option<u32>| -> Outcome<()> {
            let handle = directory(root).attempt(|| format!("open root file system {root:?}"))?;
            make_owned_dirs(&handle, cwd, IN_ROOT, 0o755, owner)
                .attempt(|| format!("create working directory {:?}", spec.cwd))
        };
        let target = bundle.join("rootfs");
        let root = match &spec.rootfs {
            Rootfs::Dir(path) => {
                let root = PathBuf::from(path);
                work_in(&root, None)?;
                let Some(users) = users else {
                    return Ok(path.clone());
                };
                fs::create_dir_all(&target)?;
                users.bind(&root, &target)?;
                target
            }
            Rootfs::Overlay { lower, upper, work } => {
                fs::create_dir_all(&target)?;
                let mounted = match users {
                    None => overlay(lower, upper, work, &target),
                    Some(users) => users
                        .layers(lower, &bundle.join("layers"))
                        .and_then(|lower| {
                            users.take_over(Path::new(upper))?;
                            overlay(&lower, upper, work, &target)
                        }),
                };
                mounted.attempt(|| format!("mount the image of container {}", spec.name))?;
                let owner = users.map(|users| users.outside(0)).transpose()?;
                work_in(&target, owner)?;
                target
            }
        };
        Ok(root.display().to_string())
    }

    /// Resolves sub-paths, and secludes sources where a container mixes both propagations.
    pub(super) fn binds(
        &self,
        spec: &ContainerSpec,
        bundle: &Path,
        users: Option<&Users>,
    ) -> Outcome<Binds> {
        let follows = |kind: &MountKind| {
            matches!(
                kind,
                MountKind::Bind {
                    propagation: Propagation::HostToContainer,
                    ..
                }
            )
        };
        let follows_host = spec.mounts.iter().any(|mount| follows(&mount.kind));
        let mut binds = Binds {
            sources: Vec::new(),
            follows_host,
        };
        for (number, wanted) in spec.mounts.iter().enumerate() {
            let MountKind::Bind {
                source, sub_path, ..
            } = &wanted.kind
            else {
                binds.sources.push(None);
                continue;
            };
            let secluded = follows_host && !follows(&wanted.kind);
            if sub_path.is_none() && !secluded && users.is_none() {
                binds.sources.push(None);
                continue;
            }
            let found = resolve(source, sub_path.as_deref(), !wanted.readonly).attempt(|| {
                format!(
                    "resolve {:?} in {source:?}",
                    sub_path.as_deref().unwrap_or(".")
                )
            });
            let cause = match sub_path {
                Some(_) => Cause::SubPath,
                None => Cause::Work,
            };
            let found = found.map_err(|refusal| refusal.caused_by(cause))?;
            let stage = stage(&found, &bundle.join("binds"), number, secluded, users)
                .attempt(|| format!("stage the mount on {:?}", wanted.destination))?;
            binds.sources.push(Some(stage.display().to_string()));
        }
        Ok(binds)
    }
}

fn overlay(lower: &[String], upper: &str, work: &str, target: &Path) -> Outcome<()> {
    if lower.is_empty() {
        return refuse("the image has no layers");
    }
    let plain = |path: &String| !path.contains([':', ',', '\\']);
    let named = format!(
        "lowerdir={},upperdir={upper},workdir={work}",
        lower.join(":")
    );
    let all_plain = lower.iter().all(plain) && plain(&upper.to_owned()) && plain(&work.to_owned());
    if all_plain && named.len() <= OVERLAY_OPTIONS_LIMIT {
        return mount_overlay(&named, target);
    }
    let open = |path: &String| directory(Path::new(path)).attempt(|| format!("open {path:?}"));
    let layers = lower.iter().map(open).collect::<Outcome<Vec<_>>>()?;
    let (upper, work) = (open(&upper.to_owned())?, open(&work.to_owned())?);
    let by_number = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let lower: Vec<String> = layers.iter().map(by_number).collect();
    let numbered = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        by_number(&upper),
        by_number(&work)
    );
    mount_overlay(&numbered, target)
}

fn mount_overlay(options: &str, target: &Path) -> Outcome<()> {
    mount(
        Some("overlay"),
        target,
        Some("overlay"),
        MsFlags::empty(),
        Some(options),
    )?;
    Ok(())
}

pub(in crate::shim) fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    Ok(File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)?
        .into())
}

/// A volume, or what a sub-path of it leads to; a directory missing there is made.
fn resolve(source: &str, sub_path: Option<&str>, create: bool) -> io::Result<OwnedFd> {
    let Some(sub_path) = sub_path.filter(|path| !path.is_empty()) else {
        return Ok(File::options()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open(source)?
            .into());
    };
    let volume = directory(Path::new(source))?;
    let path = Path::new(sub_path);
    match open_at(&volume, path, libc::O_PATH, BENEATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
            make_dirs(&volume, path, BENEATH, 0o750)?;
            open_at(&volume, path, libc::O_PATH, BENEATH)
        }
        other => other,
    }
}

/// Makes `path` below `root`, following links as `how` says.
pub(in crate::shim) fn make_dirs(
    root: &OwnedFd,
    path: &Path,
    how: u64,
    mode: u32,
) -> io::Result<()> {
    make_owned_dirs(root, path, how, mode, None)
}

/// As [`make_dirs`]; what is made belongs to `owner`, where one is given.
fn make_owned_dirs(
    root: &OwnedFd,
    path: &Path,
    how: u64,
    mode: u32,
    owner: Option<u32>,
) -> io::Result<()> {
    let mut parent = root.try_clone()?;
    let mut so_far = PathBuf::new();
    for part in path.components() {
        let name = match part {
            Component::Normal(name) => name,
            Component::RootDir | Component::CurDir => continue,
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "path leads upwards",
                ));
            }
        };
        so_far.push(name);
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        parent = match open_at(root, &so_far, flags, how) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match mkdirat(&parent, name, Mode::from_bits_truncate(mode)) {
                    Ok(()) => {
                        let (uid, gid) = (owner.map(Uid::from_raw), owner.map(Gid::from_raw));
                        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
                        fchownat(&parent, name, uid, gid, flags)?;
                    }
                    Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                open_at(root, &so_far, flags, how)?
            }
            other => other?,
        };
    }
    Ok(())
}

pub(in crate::shim) fn open_at(
    dir: &OwnedFd,
    path: &Path,
    flags: i32,
    resolve: u64,
) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: all zeroes is a valid `open_how`.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = resolve;
    let size = std::mem::size_of::<libc::open_how>();
    // SAFETY: descriptor, path and description are valid and outlive the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            dir.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Binds what was resolved to a place that nobody else can change meanwhile.
fn stage(
    found: &OwnedFd,
    dir: &Path,
    number: usize,
    secluded: bool,
    users: Option<&Users>,
) -> Outcome<PathBuf> {
    fs::create_dir_all(dir)?;
    let target = dir.join(number.to_string());
    let source = format!("/proc/self/fd/{}", found.as_raw_fd());
    if fs::metadata(&source)?.is_dir() {
        fs::create_dir_all(&target)?;
    } else {
        File::create(&target)?;
    }
    match users {
        Some(users) => users.bind(Path::new(&source), &target)?,
        None => {
            let (none, bind) = (None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC);
            mount(Some(source.as_str()), &target, none, bind, none)?;
        }
    }
    if secluded {
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        mount(None::<&str>, &target, None::<&str>, private, None::<&str>)?;
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_path_may_follow_links_but_not_out_of_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        std::os::unix::fs::symlink("data", dir.path().join("inner")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("outer")).unwrap();
        let source = dir.path().to_str().unwrap();
        assert!(resolve(source, Some("inner"), false).is_ok());
        for bad in ["outer", "../x", "outer/passwd", "/etc"] {
            assert!(resolve(source, Some(bad), true).is_err(), "{bad}");
        }
        assert!(resolve(source, Some("new/deep"), true).is_ok());
        assert!(dir.path().join("new/deep").is_dir());
    }
}
