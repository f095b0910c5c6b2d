//! Creating one entry: content, owner, mode, attributes and times.

use std::{
    ffi::OsStr,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat,
        chownat, fchmod, fchown, fsetxattr, futimens, linkat, lsetxattr, makedev, mkdirat, mknodat,
        openat, symlinkat, utimensat,
    },
    io::Errno,
};
use tar::EntryType;

use super::{
    Unpacker, split,
    tree::{self, descriptor_path, is_directory, is_whiteout, remove, set_opaque, stat},
};
use crate::image::{
    error::{ImageError, Result},
    tarball::{Member, TarReader},
};

/// Seconds and nanoseconds.
pub(super) type Mtime = (i64, u32);

/// Who is changed by [`Unpacker::set_xattrs`].
enum Target<'a> {
    Open(&'a OwnedFd),
    Named(&'a OwnedFd, &'a OsStr),
}

impl Unpacker<'_> {
    pub(super) fn root_directory(&mut self, member: &Member) -> Result<()> {
        let root = self
            .tree
            .directory(Path::new(""))
            .map_err(|e| self.write_error(member, e))?;
        self.directory_metadata(member, &root, PathBuf::new())
    }

    /// The parent hides what lower layers have in it.
    pub(super) fn opaque(&mut self, member: &Member, parents: &[&[u8]]) -> Result<()> {
        let parent = self.open_parent(member, parents)?;
        set_opaque(&parent).map_err(|error| self.write_error(member, error))
    }

    /// `name` of the layers below is deleted.
    pub(super) fn whiteout(
        &mut self,
        member: &Member,
        parents: &[&[u8]],
        name: &[u8],
    ) -> Result<()> {
        let parent = self.open_parent(member, parents)?;
        let name = OsStr::from_bytes(name);
        let result = match stat(&parent, name) {
            Ok(None) => tree::make_whiteout(&parent, name),
            // Deletions concern lower layers only, so what this layer has stays.
            Ok(Some(found)) if is_directory(&found) => {
                open_directory(&parent, name).and_then(|directory| set_opaque(&directory))
            }
            Ok(Some(_)) => Ok(()),
            Err(error) => Err(error),
        };
        result.map_err(|error| self.write_error(member, error))
    }

    pub(super) fn create<R: Read>(
        &mut self,
        member: &Member,
        parents: &[&[u8]],
        name: &[u8],
        reader: &mut TarReader<R>,
    ) -> Result<()> {
        if member.kind == EntryType::GNUSparse {
            return Err(self.bad_entry(member, "sparse files are not supported"));
        }
        let parent = self.open_parent(member, parents)?;
        let name = OsStr::from_bytes(name);
        let was_deleted = self.make_room(member, &parent, name)?;
        match member.kind {
            EntryType::Regular | EntryType::Continuous => {
                self.regular(member, &parent, name, reader)
            }
            EntryType::Directory => {
                self.make_directory(member, &parent, name, parents, was_deleted)
            }
            EntryType::Symlink => self.symlink(member, &parent, name),
            EntryType::Link => self.hard_link(member, &parent, name),
            EntryType::Char => self.node(member, &parent, name, FileType::CharacterDevice),
            EntryType::Block => self.node(member, &parent, name, FileType::BlockDevice),
            EntryType::Fifo => self.node(member, &parent, name, FileType::Fifo),
            other => {
                let kind = other.as_byte().escape_ascii().to_string();
                Err(self.bad_entry(
                    member,
                    &format!("entries of type '{kind}' are not supported"),
                ))
            }
        }
    }

    /// Sets what changes whenever something is created inside: the directories' times.
    pub(super) fn finish_directories(&mut self) -> Result<()> {
        for (path, mtime) in std::mem::take(&mut self.directory_times).into_iter().rev() {
            // A later entry may have replaced the directory.
            if let Ok(directory) = self.tree.directory(&path) {
                futimens(&directory, &timestamps(mtime)).map_err(|e| {
                    ImageError::io("set time of", self.tree.path().join(&path), e.into())
                })?;
            }
        }
        Ok(())
    }

    fn open_parent(&mut self, member: &Member, parents: &[&[u8]]) -> Result<OwnedFd> {
        let mut created = Vec::new();
        let parent = self.tree.parent(parents, |path| created.push(path));
        let parent = parent.and_then(OwnedFd::try_clone);
        self.entries += created.len() as u64;
        self.result.implicit.extend(created);
        parent.map_err(|error| self.write_error(member, error))
    }

    /// Removes what the entry replaces. True if that was a deletion mark.
    fn make_room(&mut self, member: &Member, parent: &OwnedFd, name: &OsStr) -> Result<bool> {
        let found = stat(parent, name).map_err(|error| self.write_error(member, error))?;
        let Some(found) = found else {
            return Ok(false);
        };
        if is_directory(&found) && member.kind == EntryType::Directory {
            return Ok(false);
        }
        if member.kind == EntryType::Link && self.links_to_itself(member, &found) {
            return Err(self.bad_entry(member, "it is a hard link to itself"));
        }
        self.tree.forget();
        remove(parent, name, &found).map_err(|error| self.write_error(member, error))?;
        Ok(is_whiteout(&found))
    }

    /// Replacing a file by a link to the same file would lose it.
    fn links_to_itself(&self, member: &Member, found: &rustix::fs::Stat) -> bool {
        let Ok((directory, name)) = self.link_target(member) else {
            return false;
        };
        stat(&directory, OsStr::from_bytes(name)).is_ok_and(|target| {
            target.is_some_and(|t| t.st_ino == found.st_ino && t.st_dev == found.st_dev)
        })
    }

    fn regular<R: Read>(
        &mut self,
        member: &Member,
        parent: &OwnedFd,
        name: &OsStr,
        reader: &mut TarReader<R>,
    ) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(
            parent,
            name,
            flags | OFlags::NOFOLLOW,
            Mode::RUSR | Mode::WUSR,
        )
        .map_err(|error| self.write_error(member, error.into()))?;
        let mut file = std::fs::File::from(file);
        let mut left = member.size;
        while left > 0 {
            let want = left.min(self.buffer.len() as u64) as usize;
            let read = match reader.read(&mut self.buffer[..want]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.tar_error(error.into())),
            };
            let written = file.write_all(&self.buffer[..read]);
            written.map_err(|error| self.write_error(member, error))?;
            left -= read as u64;
        }
        self.result.bytes += member.size;
        let file = OwnedFd::from(file);
        // In this order: a change of owner clears setuid bits and capabilities.
        let result = owner(member)
            .and_then(|(uid, gid)| Ok(fchown(&file, Some(uid), Some(gid))?))
            .and_then(|()| Ok(fchmod(&file, mode(member))?));
        result.map_err(|error| self.write_error(member, error))?;
        self.set_xattrs(member, Target::Open(&file))?;
        let result = futimens(&file, &timestamps((member.mtime_s, member.mtime_ns)));
        result.map_err(|error| self.write_error(member, error.into()))
    }

    fn make_directory(
        &mut self,
        member: &Member,
        parent: &OwnedFd,
        name: &OsStr,
        parents: &[&[u8]],
        was_deleted: bool,
    ) -> Result<()> {
        let made = match mkdirat(parent, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => open_directory(parent, name),
            Err(error) => Err(error.into()),
        };
        let directory = made.map_err(|error| self.write_error(member, error))?;
        if was_deleted {
            set_opaque(&directory).map_err(|error| self.write_error(member, error))?;
        }
        let mut path: PathBuf = parents.iter().map(|c| OsStr::from_bytes(c)).collect();
        path.push(name);
        self.result.implicit.remove(&path);
        self.directory_metadata(member, &directory, path)
    }

    fn directory_metadata(
        &mut self,
        member: &Member,
        directory: &OwnedFd,
        path: PathBuf,
    ) -> Result<()> {
        let result = owner(member)
            .and_then(|(uid, gid)| Ok(fchown(directory, Some(uid), Some(gid))?))
            .and_then(|()| Ok(fchmod(directory, mode(member))?));
        result.map_err(|error| self.write_error(member, error))?;
        self.set_xattrs(member, Target::Open(directory))?;
        self.directory_times
            .push((path, (member.mtime_s, member.mtime_ns)));
        Ok(())
    }

    fn symlink(&mut self, member: &Member, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let target = OsStr::from_bytes(&member.link);
        // Where it points does not matter here: only a container follows it, inside its root.
        let result = symlinkat(target, parent, name).map_err(io::Error::from);
        result.map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT) => self.bad_entry(member, "its link target is empty"),
            _ => self.write_error(member, error),
        })?;
        self.tree.forget();
        self.set_owner_and_time(member, parent, name)
    }

    fn hard_link(&mut self, member: &Member, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let (directory, target) = self.link_target(member)?;
        let target = OsStr::from_bytes(target);
        match linkat(&directory, target, parent, name, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::PERM) => Err(self.bad_entry(member, "a directory cannot be hard-linked")),
            Err(error) => Err(self.write_error(member, error.into())),
        }
    }

    /// The directory and the name in it that a hard link points to, inside the layer.
    fn link_target<'m>(&self, member: &'m Member) -> Result<(OwnedFd, &'m [u8])> {
        let components = split(&member.link).map_err(|reason| {
            self.bad_entry(
                member,
                &reason.replacen("it points", "its hard link points", 1),
            )
        })?;
        let Some((name, parents)) = components.split_last() else {
            return Err(self.bad_entry(member, "its hard link names nothing"));
        };
        let path: PathBuf = parents.iter().map(|c| OsStr::from_bytes(c)).collect();
        let directory = self
            .tree
            .directory(&path)
            .map_err(|e| self.write_error(member, e))?;
        Ok((directory, name))
    }

    fn node(
        &mut self,
        member: &Member,
        parent: &OwnedFd,
        name: &OsStr,
        kind: FileType,
    ) -> Result<()> {
        let (major, minor) = member.device;
        let device = makedev(major, minor);
        let result = owner(member).and_then(|(uid, gid)| {
            mknodat(parent, name, kind, Mode::RUSR, device)?;
            chownat(
                parent,
                name,
                Some(uid),
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
            Ok(chmodat(parent, name, mode(member), AtFlags::empty())?)
        });
        result.map_err(|error| self.write_error(member, error))?;
        self.set_owner_and_time(member, parent, name)
    }

    fn set_owner_and_time(
        &mut self,
        member: &Member,
        parent: &OwnedFd,
        name: &OsStr,
    ) -> Result<()> {
        let no_follow = AtFlags::SYMLINK_NOFOLLOW;
        let times = timestamps((member.mtime_s, member.mtime_ns));
        let result = owner(member).and_then(|(uid, gid)| {
            if member.kind == EntryType::Symlink {
                chownat(parent, name, Some(uid), Some(gid), no_follow)?;
            }
            Ok(utimensat(parent, name, &times, no_follow)?)
        });
        result.map_err(|error| self.write_error(member, error))?;
        self.set_xattrs(member, Target::Named(parent, name))
    }

    /// Sets capabilities, access lists and user attributes. Others belong to the machine
    /// that made the image (security labels) or would steer overlayfs.
    fn set_xattrs(&mut self, member: &Member, target: Target<'_>) -> Result<()> {
        for (key, value) in &member.xattrs {
            if !is_for_containers(key) {
                self.result.skipped_xattrs += 1;
                continue;
            }
            let key = OsStr::from_bytes(key);
            let result = match &target {
                Target::Open(file) => fsetxattr(file, key, value, XattrFlags::empty()),
                Target::Named(parent, name) => {
                    let path = descriptor_path(parent, name);
                    lsetxattr(path, key, value, XattrFlags::empty())
                }
            };
            match result {
                Ok(()) => {}
                // The disk, or this kind of file, cannot have it.
                Err(Errno::NOTSUP | Errno::PERM) => self.result.skipped_xattrs += 1,
                Err(error) => return Err(self.write_error(member, error.into())),
            }
        }
        Ok(())
    }
}

fn is_for_containers(key: &[u8]) -> bool {
    let user = key.starts_with(b"user.") && !key.starts_with(b"user.overlay.");
    user || key == b"security.capability" || key.starts_with(b"system.posix_acl_")
}

fn open_directory(parent: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

fn owner(member: &Member) -> io::Result<(Uid, Gid)> {
    // The highest number means "unchanged" to the kernel.
    if member.uid == u32::MAX || member.gid == u32::MAX {
        return Err(Errno::INVAL.into());
    }
    Ok((Uid::from_raw(member.uid), Gid::from_raw(member.gid)))
}

fn mode(member: &Member) -> Mode {
    Mode::from_raw_mode(member.mode)
}

fn timestamps((seconds, nanos): Mtime) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: i64::from(nanos),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
