//! File system operations that cannot leave one directory.
//!
//! `openat2` with `RESOLVE_IN_ROOT` makes the kernel resolve `..`, absolute links and linked
//! parents as if the directory were the file system's root. Everything else works on
//! (directory descriptor, one plain name) and never follows that name.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, XattrFlags, fchmod, fsetxattr,
        mkdirat, mknodat, openat2, statat, unlinkat,
    },
    io::Errno,
};

use crate::image::error::{ImageError, Result};

pub(crate) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
/// What a directory without an entry of its own looks like, if no layer below knows better.
const IMPLICIT_MODE: Mode = Mode::from_raw_mode(0o755);

/// A directory as the root of its own world.
pub(crate) struct Tree {
    path: PathBuf,
    root: OwnedFd,
    /// The directory that was used last: archives list directories in order.
    last: Option<(PathBuf, OwnedFd)>,
}

impl Tree {
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let root = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| ImageError::io("open", path, error.into()))?;
        Ok(Self {
            path: path.to_owned(),
            root,
            last: None,
        })
    }

    /// Where the tree is, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory that exists, for use as a parent.
    pub fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        Ok(self.resolve(path, flags)?)
    }

    /// Opens the directory made of `components`, creating what is missing. Reports each
    /// created directory.
    pub fn parent(
        &mut self,
        components: &[&[u8]],
        mut created: impl FnMut(PathBuf),
    ) -> io::Result<&OwnedFd> {
        let path: PathBuf = components.iter().map(|c| OsStr::from_bytes(c)).collect();
        if self.last.as_ref().is_none_or(|(last, _)| *last != path) {
            let directory = match self.directory(&path) {
                Ok(directory) => directory,
                Err(error) if may_be_missing(&error) => {
                    self.make_parents(components, &mut created)?
                }
                Err(error) => return Err(error),
            };
            self.last = Some((path, directory));
        }
        match &self.last {
            Some((_, directory)) => Ok(directory),
            None => Err(Errno::NOENT.into()),
        }
    }

    /// Forgets the remembered directory, because paths may lead elsewhere now.
    pub fn forget(&mut self) {
        self.last = None;
    }

    fn make_parents(
        &self,
        components: &[&[u8]],
        created: &mut impl FnMut(PathBuf),
    ) -> io::Result<OwnedFd> {
        let mut path = PathBuf::new();
        let mut directory = self.directory(&path)?;
        for component in components {
            path.push(OsStr::from_bytes(component));
            directory = match self.directory(&path) {
                Ok(next) => next,
                Err(error) if may_be_missing(&error) => {
                    let name = OsStr::from_bytes(component);
                    let was_deleted = stat(&directory, name)?.is_some_and(|s| is_whiteout(&s));
                    if was_deleted {
                        unlinkat(&directory, name, AtFlags::empty())?;
                    }
                    mkdirat(&directory, name, IMPLICIT_MODE)?;
                    let next = self.directory(&path)?;
                    fchmod(&next, IMPLICIT_MODE)?;
                    if was_deleted {
                        set_opaque(&next)?;
                    }
                    created(path.clone());
                    next
                }
                Err(error) => return Err(error),
            };
        }
        Ok(directory)
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        loop {
            match openat2(&self.root, path, flags, Mode::empty(), resolve) {
                // The kernel could not prove that a concurrent rename kept us inside.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }
}

/// The name itself, not what it links to. None if there is none.
pub(crate) fn stat(directory: &OwnedFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(crate) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

pub(crate) fn make_whiteout(directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let mode = Mode::empty();
    Ok(mknodat(
        directory,
        name,
        FileType::CharacterDevice,
        mode,
        0,
    )?)
}

pub(crate) fn set_opaque(directory: &OwnedFd) -> io::Result<()> {
    Ok(fsetxattr(
        directory,
        OPAQUE_XATTR,
        b"y",
        XattrFlags::empty(),
    )?)
}

/// Removes whatever `name` is, with all that is in it.
pub(crate) fn remove(directory: &OwnedFd, name: &OsStr, found: &Stat) -> io::Result<()> {
    if is_directory(found) {
        // The standard library's removal does not follow links.
        return std::fs::remove_dir_all(descriptor_path(directory, name));
    }
    Ok(unlinkat(directory, name, AtFlags::empty())?)
}

/// A path to `name` in an open directory for calls that take paths only.
pub(crate) fn descriptor_path(directory: &OwnedFd, name: &OsStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name)
}

fn may_be_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

/// A path to an open file or directory for calls that take paths only.
pub(crate) fn open_descriptor_path(file: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
