//! Reading a stack of layers as overlayfs would show it, without mounting it.
//!
//! Needed for `/etc/passwd` of an image and for the directories that a layer does not
//! describe. Links are followed inside the stack only; the kernel is told not to follow any
//! by itself, so a container that changes its writable layer meanwhile gains nothing.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::{File, Metadata},
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fgetxattr, openat2, readlinkat, statat},
    io::Errno,
};

use super::{
    error::{ImageError, Result},
    unpack::OPAQUE_XATTR,
};

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// Layer directories, top first.
pub(crate) struct LayerView {
    layers: Vec<(PathBuf, OwnedFd)>,
}

/// What a path is in the stack.
enum Found {
    /// In these layers, top first.
    Directory(Vec<usize>),
    Link(OsString),
    /// In this layer.
    Other(usize),
}

impl LayerView {
    pub fn new(layers: Vec<PathBuf>) -> Result<Self> {
        let open = |path: PathBuf| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match rustix::fs::open(&path, flags, Mode::empty()) {
                Ok(directory) => Ok((path, directory)),
                Err(error) => Err(ImageError::io("open layer", path, error.into())),
            }
        };
        let layers = layers.into_iter().map(open).collect::<Result<_>>()?;
        Ok(Self { layers })
    }

    /// The content of a regular file of at most `limit` bytes; None if there is no such file.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        let failed = |error: io::Error| ImageError::io("read from image", path, error);
        let Some((real, found)) = self.resolve(path).map_err(failed)? else {
            return Ok(None);
        };
        let Found::Other(layer) = found else {
            return Ok(None);
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(
            self.open(layer, &real, flags)
                .map_err(|e| failed(e.into()))?,
        );
        if !file.metadata().map_err(failed)?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(failed(io::Error::other(format!(
                "it is larger than {limit} bytes"
            ))));
        }
        Ok(Some(bytes))
    }

    /// Owner, mode and time of a directory; None if there is none.
    pub fn directory_metadata(&self, path: &Path) -> Result<Option<Metadata>> {
        let failed = |error: io::Error| ImageError::io("look up in image", path, error);
        let Some((real, Found::Directory(layers))) = self.resolve(path).map_err(failed)? else {
            return Ok(None);
        };
        let Some(&top) = layers.first() else {
            return Ok(None);
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = self.open(top, &real, flags).map_err(|e| failed(e.into()))?;
        File::from(directory).metadata().map(Some).map_err(failed)
    }

    /// Follows links inside the stack. The path returned has none.
    fn resolve(&self, path: &Path) -> io::Result<Option<(PathBuf, Found)>> {
        let mut pending: VecDeque<OsString> = names(path);
        let mut real = PathBuf::new();
        // The directories on the way, so that `..` leads back to where it came from.
        let mut stack = vec![(0..self.layers.len()).collect::<Vec<usize>>()];
        let mut links = 0;
        while let Some(name) = pending.pop_front() {
            if name == ".." {
                if stack.len() > 1 {
                    stack.pop();
                    real.pop();
                }
                continue;
            }
            let Some(here) = stack.last() else {
                return Ok(None);
            };
            let candidate = real.join(&name);
            match self.lookup(here, &candidate)? {
                None => return Ok(None),
                Some(Found::Directory(layers)) => {
                    stack.push(layers);
                    real = candidate;
                }
                Some(Found::Link(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = Path::new(&target);
                    if target.is_absolute() {
                        stack.truncate(1);
                        real = PathBuf::new();
                    }
                    for name in names(target).into_iter().rev() {
                        pending.push_front(name);
                    }
                }
                Some(found @ Found::Other(_)) => {
                    return Ok(pending.is_empty().then_some((candidate, found)));
                }
            }
        }
        Ok(stack.pop().map(|layers| (real, Found::Directory(layers))))
    }

    /// Looks `path`, whose parents are plain directories, up in `layers`, top first.
    fn lookup(&self, layers: &[usize], path: &Path) -> io::Result<Option<Found>> {
        let mut directories = Vec::new();
        for &layer in layers {
            let entry = match self.open(
                layer,
                path,
                OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            ) {
                Ok(entry) => entry,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(error) => return Err(error.into()),
            };
            let stat = statat(&entry, "", AtFlags::EMPTY_PATH)?;
            let other = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    directories.push(layer);
                    if self.is_opaque(layer, path)? {
                        break;
                    }
                    continue;
                }
                FileType::CharacterDevice if stat.st_rdev == 0 => None,
                FileType::Symlink => {
                    let target = readlinkat(&entry, "", Vec::new())?;
                    Some(Found::Link(OsString::from_vec(target.into_bytes())))
                }
                _ => Some(Found::Other(layer)),
            };
            if directories.is_empty() {
                return Ok(other);
            }
            break;
        }
        Ok((!directories.is_empty()).then_some(Found::Directory(directories)))
    }

    fn is_opaque(&self, layer: usize, path: &Path) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = self.open(layer, path, flags)?;
        let mut value = [0u8; 4];
        match fgetxattr(&directory, OPAQUE_XATTR, &mut value) {
            Ok(length) => Ok(value.get(..length) == Some(b"y")),
            Err(_) => Ok(false),
        }
    }

    fn open(&self, layer: usize, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let Some((_, directory)) = self.layers.get(layer) else {
            return Err(Errno::NOENT);
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        loop {
            match openat2(directory, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsStr::from_bytes(b"..").to_owned()),
            _ => None,
        })
        .collect()
}
